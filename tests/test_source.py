"""Tidiness of what is tracked by git: sizes, words, stubs, and files that have no place in a
repository."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
LINE_LENGTH_MAX = 100

CYTHON = {".pyx", ".pxd"}
CODE = {".py", ".pyi", ".c", ".h", ".sh", *CYTHON}
PROSE = {".md", ".toml", ".yaml", ".yml", ".json", ".lock", ".txt", ".cfg", ".mjs", ".js", ".cjs"}

# Spelled in halves, so that this file does not find itself.
BANNED_WORDS = re.compile(
    "|".join([r"\bTO" r"DO\b", r"\bFIX" r"ME\b", r"\bXX" r"X\b", r"NotImplemented" r"Error"])
)
# 128-bit arithmetic outside C is truncated by Cython without a word.
WIDE_INTEGER = re.compile(r"\b(?:unsigned\s+)?__" r"u?int128(?:_t)?\b")
REGISTRIES = re.compile(
    r"py" r"pi\.org|python" r"hosted\.org|registry\." r"npmjs|npm" r"js\.com|yarn" r"pkg\.com"
    r"|crates" r"\.io|proxy\." r"golang|(?:deb|security)\." r"debian|repo1?\." r"maven"
)  # fmt: skip
DOWNLOAD = re.compile(
    r"(?:https?|ftp|git)://[^\s\"')>]+\.(?:tar\.\w+|tgz|whl|zip|deb|crate|jar|git)\b"
)
GENERATED = re.compile(
    r"\.(?:so|o|a|pyc|pyo|mdb|whl|gz)$|^fastilp/_core/[^/]+\.html$"
    r"|(?:^|/)(?:__pycache__|node_modules|build|dist|\.venv|\.cache|[^/]+\.egg-info|\.\w+_cache)/"
)


def tracked() -> list[Path]:
    """What git tracks, or would if it were added now."""
    output = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    paths = [ROOT / name for name in output.split("\0") if name]
    return [path for path in paths if path.is_file()]


FILES = tracked()
SOURCES = [path for path in FILES if path.suffix in CODE]
TEXTS = [path for path in FILES if path.suffix in CODE | PROSE or path.name in ("Makefile", "run")]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=name_of)


def python_functions(text: str) -> list[tuple[str, int]]:
    """Name and number of lines of every function."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in nodes]


def cython_functions(text: str) -> list[tuple[str, int]]:
    """The same for Cython, by indentation: a body ends at the first line that is not deeper than
    its head."""
    lines = text.splitlines()
    found = []
    head = re.compile(r"^(\s*)(?:async\s+)?(?:def|c(?:p?)def(?!\s+class))\b[^=]*?(\w+)\s*\(")
    for start, line in enumerate(lines):
        match = head.match(line)
        if match is None:
            continue
        depth, end, body = len(match[1]), start, False
        for index in range(start, len(lines)):
            text_of_line = lines[index].strip()
            indent = len(lines[index]) - len(lines[index].lstrip())
            if body and text_of_line and indent <= depth:
                break
            body = body or text_of_line.endswith(":")
            if not body and (
                index > start and indent <= depth and not text_of_line.startswith(")")
            ):
                break  # a declaration, which has no body
            end = index if text_of_line else end
        found.append((match[2], end - start + 1))
    return found


def c_functions(text: str) -> list[tuple[str, int]]:
    """The same for C: a body lies between a `{` that ends a line and a `}` in the first column."""
    found, start, name = [], 0, ""
    for number, line in enumerate(text.splitlines()):
        match = re.match(r"^[a-z_].*?(\w+)\s*\(", line)
        if match:
            start, name = number, match[1]
        if line.startswith("}") and name:
            found.append((name, number - start + 1))
            name = ""
    return found


@each(SOURCES)
def test_file_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= FILE_LINES_MAX


@each([path for path in SOURCES if path.suffix != ".sh"])
def test_functions_are_short(path: Path) -> None:
    read = (
        c_functions
        if path.suffix in (".c", ".h")
        else cython_functions
        if path.suffix in CYTHON
        else python_functions
    )
    long = [found for found in read(path.read_text()) if found[1] > FUNCTION_LINES_MAX]
    assert long == []


@each(SOURCES)
def test_lines_are_short_and_clean(path: Path) -> None:
    lines = path.read_text().splitlines()
    # As ruff has it: a remark to a checker must stay on its line.
    shown = [re.sub(r"\s+# (?:type: ignore|noqa|fmt: ).*$", "", line) for line in lines]
    long = [number for number, line in enumerate(shown, 1) if len(line) > LINE_LENGTH_MAX]
    assert long == [], "lines over 100 columns"
    assert [number for number, line in enumerate(lines, 1) if line != line.rstrip()] == [], (
        "blanks at the end"
    )


@each(TEXTS)
def test_no_banned_words(path: Path) -> None:
    assert BANNED_WORDS.findall(path.read_text()) == []


@each(TEXTS)
def test_no_registry_and_no_download(path: Path) -> None:
    """Which index serves a package is the machine's affair; lock files with addresses do not work
    elsewhere."""
    text = path.read_text()
    assert REGISTRIES.findall(text) + DOWNLOAD.findall(text) == []


@each([path for path in SOURCES if path.name != "counter.h"])
def test_wide_integers_stay_in_counter_h(path: Path) -> None:
    assert WIDE_INTEGER.findall(path.read_text()) == []


@each([path for path in SOURCES if path.suffix == ".pyx" and "tests" not in path.parts])
def test_compiled_module_has_a_stub(path: Path) -> None:
    assert path.with_suffix(".pyi").exists()


def test_nothing_generated_is_tracked() -> None:
    names = [name_of(path) for path in FILES]
    assert [name for name in names if GENERATED.search(name)] == []
    compiled = [
        path
        for path in FILES
        if path.suffix in (".c", ".cpp") and path.with_suffix(".pyx").exists()
    ]
    assert compiled == []


def test_the_measures_measure() -> None:
    """Each of them on a text that breaks it: a gate that cannot fail is none."""
    body = "    pass\n" * 80
    assert python_functions("def f():\n" + body) == [("f", 81)]
    assert cython_functions("cdef int f(\n    int a,\n) noexcept nogil:\n" + body) == [("f", 83)]
    assert cython_functions("cdef int f(int a) nogil\n\n\ncdef int g(int b):\n    return b\n") == [
        ("f", 1),
        ("g", 2),
    ]
    assert cython_functions("cdef class A(B):\n    cdef int f(self):\n        return 1\n") == [
        ("f", 2)
    ]
    assert c_functions("static int f(int a)\n{\n" + body + "}\n") == [("f", 83)]
    assert BANNED_WORDS.search("# " + "TO" + "DO later")
    assert WIDE_INTEGER.search("unsigned " + "__int" + "128 x")
    assert REGISTRIES.search("https://" + "py" + "pi.org/simple")
    assert DOWNLOAD.search("https://example.test/a-1.0.tar" + ".gz")
    assert GENERATED.search("fastilp/_core/x.so") and GENERATED.search("a/node_modules/b.js")
