"""Typed records over the core's store. May import `_core`, errors and types."""
