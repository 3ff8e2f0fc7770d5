"""What answers or originates Prepares inside the process, attached as in-process links.

May import _core, storage, errors and types; never transports or control.
"""
