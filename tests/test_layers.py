"""Which module of the core may cimport which: strictly down, in the order of docs/architecture.md.

import-linter sees Python files only; this looks at the `cimport` lines of .pyx and .pxd, and at
what compiled modules import in Python.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "fastilp" / "_core"

# Directly below each module. What is below a module's neighbour is below the module too.
BELOW: dict[str, set[str]] = {
    "switch": {"terminal", "gate", "ledger"},
    "terminal": {"admission", "inflight", "token"},
    "token": {"status"},
    "admission": {"output", "policy", "forwarding", "rates"},
    "output": {"noted"},
    "noted": {"tables", "inflight"},
    "tables": {
        "account_settings",
        "choices",
        "ledger",
        "connection_batch",
        "connection_btp",
        "policy",
        "forwarding",
        "rates",
    },
    "http_in": {"link", "http_socket", "codec_http"},
    "http_out": {"link", "http_socket", "codec_http"},
    "http_socket": {"poller", "codec_http", "arena"},
    "poller": {"limits", "prefetch"},
    "gate": {"arena"},
    "connection_batch": {"link"},
    "connection_btp": {"link"},
    "link": {"codec_batch", "codec_btp", "codec_http", "books", "prefetch"},
    "ledger": {"books", "account_record", "store", "forwarding", "rates", "condition", "counter"},
    "books": {"account_record", "store", "counter", "status", "prefetch"},
    "inflight": {"store", "forwarding", "rates", "condition"},
    "policy": {"store", "forwarding", "rates", "condition", "counter"},
    "store": {"directory", "store_state", "status"},
    "store_state": {"lmdb"},
    "forwarding": {"prefix_log", "row", "address", "status", "prefetch"},
    "rates": {"counter", "status"},
    "condition": {"status"},
    "codec_batch": {"packet"},
    "codec_btp": {"packet", "codec_websocket"},
    "codec_websocket": {"status"},
    "codec_http": {"packet"},
    "stream": {"packet", "stream_frames"},
    "stream_frames": set(),
    "packet": {"oer", "timestamp", "address"},
    "oer": {"row", "arena"},
    "timestamp": {"row", "arena"},
    "address": {"row", "arena"},
    "row": {"arena"},
    "arena": {"status"},
    "status": {"limits"},
    "counter": set(),
    "lmdb": set(),
    "directory": set(),
    "account_record": set(),
    "account_settings": {"packet", "rates"},
    "choices": set(),
    "limits": set(),
    "prefetch": set(),
    "prefix_log": set(),
}

CIMPORT = re.compile(
    r"^\s*(?:from\s+(?P<source>[\w.]+)\s+cimport\s+\(?(?P<names>[^#\n]*)"
    r"|cimport\s+(?P<plain>[^#\n]+))",
    re.MULTILINE,
)
IMPORT = re.compile(
    r"^\s*(?:from\s+(fastilp[\w.]*|\.[\w.]*)\s+import\b|import\s+(fastilp[\w.]*))", re.MULTILINE
)


def files() -> list[Path]:
    modules = [path for path in CORE.glob("*.py") if path.name != "__init__.py"]
    return sorted([*CORE.glob("*.pyx"), *CORE.glob("*.pxd"), *modules])


def below(module: str) -> set[str]:
    """Everything that `module` may cimport."""
    found: set[str] = set()
    waiting = list(BELOW[module])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += BELOW[name]
    return found


def cimports(text: str) -> set[str]:
    """Names of the core's modules that a source cimports, in whatever spelling."""
    found: set[str] = set()
    for match in CIMPORT.finditer(text):
        source = match["source"] or ""
        if match["plain"]:
            wanted = [part.split()[0] for part in match["plain"].split(",")]
        elif source in ("fastilp._core", "."):
            wanted = [
                f"fastilp._core.{part.split()[0]}"
                for part in match["names"].strip(" )\\").split(",")
                if part
            ]
        elif source.startswith("."):
            wanted = ["fastilp._core" + source]
        else:
            wanted = [source]
        found |= {name.split(".")[2] for name in wanted if name.startswith("fastilp._core.")}
    return found


def test_the_table_has_no_circle() -> None:
    assert [module for module in BELOW if module in below(module)] == []


def test_every_module_is_in_the_table() -> None:
    assert {path.stem for path in files()} - set(BELOW) == set()


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_cimports_point_down(path: Path) -> None:
    own = {path.stem} if path.suffix == ".pyx" else set()
    wrong = cimports(path.read_text()) - below(path.stem) - own
    assert wrong == set(), f"{path.name} must not cimport {sorted(wrong)}"


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_nothing_is_included_as_text(path: Path) -> None:
    assert re.findall(r'^\s*include\s+["\']', path.read_text(), re.MULTILINE) == []


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_compiled_modules_import_errors_only(path: Path) -> None:
    """And those compiled modules below them: a class that is cimported may be imported as well."""
    for groups in IMPORT.findall(path.read_text()):
        name = groups[0] or groups[1]
        core = name.removeprefix("fastilp._core.") in below(path.stem)
        assert name == "fastilp.errors" or core, f"{path.name} must not import {name}"


@pytest.mark.parametrize("name", ["errors", "types"])
def test_the_ground_floor_imports_nothing_of_ours(name: str) -> None:
    path = ROOT / "fastilp" / f"{name}.py"
    nodes = ast.walk(ast.parse(path.read_text())) if path.exists() else []
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and not (node.module or "").startswith("fastilp")
        if isinstance(node, ast.Import):
            assert not [alias for alias in node.names if alias.name.startswith("fastilp")]


def test_the_reader_of_cimports_sees_every_spelling() -> None:
    text = """
from fastilp._core.a cimport x, y
from fastilp._core.b cimport (
    z,
)
cimport fastilp._core.c
cimport fastilp._core.d as other
from fastilp._core cimport e, f as g
from .h cimport z
from . cimport i
from libc.stdint cimport uint8_t
    from fastilp._core.j cimport late
"""
    assert cimports(text) == set("abcdefhij")
