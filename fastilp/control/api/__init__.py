"""The admin HTTP API: an ASGI application over the control plane, in the dialect of Interledger.rs.

Imports control, storage, _core, errors and types; never transports. docs/api.md describes it.
"""
