"""fastilp: an Interledger (ILPv4) connector with a compiled core."""
