"""Opens the store PATH and keeps it until standard input ends."""

import sys

from fastilp._core.store import Store

store = Store(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
