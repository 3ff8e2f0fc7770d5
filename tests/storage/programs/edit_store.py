"""Puts one raw value into a store's database with py-lmdb: edit_store.py PATH DATABASE KEY
VALUE, the last two in hex."""

import sys

import lmdb

path, database, key, value = sys.argv[1:]
with lmdb.open(path, max_dbs=8, map_size=1 << 30) as env:
    handle = env.open_db(database.encode())
    with env.begin(write=True) as txn:
        txn.put(bytes.fromhex(key), bytes.fromhex(value), db=handle)
