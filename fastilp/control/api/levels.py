"""Log levels at run time, in the directives of Interledger.rs. Imports nothing of fastilp."""

import logging
import re

_LEVELS = {
    "off": logging.CRITICAL + 10,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    # There is nothing below it here.
    "trace": logging.DEBUG,
}
# Names that Interledger.rs uses for itself.
_OURS = re.compile(r"^(interledger|ilp)(\b|_)")
_DIRECTIVES_MAX = 20


def set_levels(text: str) -> None:
    """`level`, or `target=level`, or several with commas. Raises ValueError, and then nothing has
    changed."""
    directives = [part.strip() for part in text.split(",")]
    if len(directives) > _DIRECTIVES_MAX:
        raise ValueError(f"at most {_DIRECTIVES_MAX} directives")
    for target, level in [_parsed(directive) for directive in directives]:
        logging.getLogger(target).setLevel(level)


def _parsed(directive: str) -> tuple[str, int]:
    target, equals, name = directive.rpartition("=")
    level = _LEVELS.get(name.strip().lower())
    known = ", ".join(_LEVELS)
    if level is None or (equals and not re.fullmatch(r"[\w.:]{1,100}", target.strip())):
        shown = directive[:100]
        raise ValueError(f"{shown!r} is no directive: a level ({known}), or target=level")
    target = target.strip().replace("::", ".")
    return ("fastilp" if _OURS.match(target) else target), level
