"""The command line `fastilp`: one module per command, loaded by name when it is called."""
