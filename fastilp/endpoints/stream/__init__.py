"""STREAM (RFC 29): money and data between two ends, over packets of the connectors between them."""
