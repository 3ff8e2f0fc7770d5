"""A whole settlement network on this machine, for people to play with: a ledger, two engines, two
nodes. Started as programs, and asked over HTTP, as anybody would."""
