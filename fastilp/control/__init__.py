"""The control plane: ordinary Python that writes tables into the switch and answers what it hands
up.

May import _core, storage, errors and types; never transports or endpoints.
"""
