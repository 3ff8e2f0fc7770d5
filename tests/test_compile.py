"""Cython has nothing to say about what is compiled: no warning, no performance hint (a hint in a
`nogil` function means that it takes the GIL to look for an exception)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "fastilp").rglob("*.pyx"))


def directives() -> dict[str, object]:
    """The directives of setup.py, which cannot be imported: it would build."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "DIRECTIVES":
            return dict(ast.literal_eval(node.value or ast.Dict([], [])))
    raise AssertionError("setup.py has no DIRECTIVES")


def complaints(source: Path, folder: Path, target: Path) -> str:
    options = [f"-X{name}={value}" for name, value in directives().items()]
    command = [sys.executable, "-m", "cython", "-w", folder, *options, source, "-o", target]
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    return result.stdout + result.stderr


@pytest.mark.parametrize("source", MODULES, ids=lambda path: path.name)
def test_cython_has_no_complaint(source: Path, tmp_path: Path) -> None:
    assert complaints(source.relative_to(ROOT), ROOT, tmp_path / "module.c") == ""


def test_a_performance_hint_is_a_complaint(tmp_path: Path) -> None:
    source = tmp_path / "hint.pyx"
    source.write_text("cdef void f() nogil:\n    pass\ncdef void g() nogil:\n    f()\n")
    assert "performance hint" in complaints(source, tmp_path, tmp_path / "hint.c")
