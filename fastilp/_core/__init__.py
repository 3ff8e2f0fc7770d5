"""The compiled data plane. Nothing is imported here: each module of it stands alone."""
