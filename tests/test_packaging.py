"""What others get: sdist and wheel are made from tracked files alone, and work in an empty
environment."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(1200)]

PROGRAMS = Path(__file__).resolve().parent / "programs"
BUILD_USER = """
from Cython.Build import cythonize
from setuptools import setup
setup(ext_modules=cythonize("amounts.pyx"))
"""
RUN_USER = """
import amounts
from fastilp import Prepare
make = lambda amount: bytes(Prepare(
    amount=amount, expires_at=1_900_000_000_000, execution_condition=bytes(32),
    destination="g.a", data=b""))
print(amounts.total([make(3), b"no packet", make(4)]))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program that must succeed, away from this checkout; return what it printed."""
    unwanted = ("PYTHONPATH", "FASTILP_DEBUG", "FASTILP_SANITIZE", "FASTILP_COVERAGE")
    env = {key: value for key, value in os.environ.items() if key not in unwanted}
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def dist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`python -m build` in a copy of what git has, with LMDB as the wheels carry it."""
    source = tmp_path_factory.mktemp("source")
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=checkout)
    for name in filter(lambda name: (checkout / name).is_file(), names.splitlines()):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(checkout / name, source / name)
    cache = checkout / ".cache" / "lmdb"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTILP_LMDB", "bundled")
        # What is looked at is what a wheel holds, not how fast it is.
        patch.setenv("FASTILP_QUICK", "1")
        patch.setenv("FASTILP_CACHE", str(cache))
        run(sys.executable, "-m", "build", cwd=source)
    return source / "dist"


@pytest.fixture(scope="module")
def python(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    [wheel] = dist.glob("*.whl")
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    return folder / "bin" / "python"


def declared(checkout: Path) -> set[str]:
    """Every file that users of types, of Cython or of C need."""
    wanted = [
        path for kind in ("*.pxd", "*.pyi", "*.h") for path in (checkout / "fastilp").rglob(kind)
    ]
    return {str(path.relative_to(checkout)) for path in wanted} | {"fastilp/py.typed"}


def compiled_modules(checkout: Path) -> set[str]:
    """Their paths without a suffix."""
    found = (checkout / "fastilp").rglob("*.pyx")
    return {str(path.relative_to(checkout).with_suffix("")) for path in found}


def test_sdist_has_sources_and_nothing_generated(checkout: Path, dist: Path) -> None:
    [sdist] = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    modules = {f"{name}.pyx" for name in compiled_modules(checkout)}
    assert (declared(checkout) | modules | {"tools/lmdb_provider.py", "LICENSE"}) - names == set()
    c_files = {name for name in names if name.endswith(".c")}
    assert c_files and {name.removesuffix("c") + "pyx" for name in c_files} & modules == set()
    assert [name for name in names if "mdb.c" in name or name.startswith("build/")] == []


def test_wheel_has_declarations_and_no_sources(checkout: Path, dist: Path) -> None:
    [wheel] = dist.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert declared(checkout) - names == set()
    assert [name for name in names if name.endswith((".c", ".pyx", ".html"))] == []
    compiled = {name.split(".")[0] for name in names if name.endswith(".so")}
    assert compiled == compiled_modules(checkout)


def test_embedding_program_in_an_empty_environment(python: Path, tmp_path: Path) -> None:
    expected = "alice -5 bob 5\n"
    assert run(python, PROGRAMS / "embedding.py", cwd=tmp_path) == expected
    assert run(python, PROGRAMS / "embedding.py", tmp_path / "data", cwd=tmp_path) == expected


def test_command_line_of_the_wheel(python: Path, tmp_path: Path) -> None:
    assert "packet" in run(python.parent / "fastilp", "--help", cwd=tmp_path)


def test_a_cython_user_cimports_the_shipped_declarations(python: Path, tmp_path: Path) -> None:
    run(python, "-m", "pip", "install", "--quiet", "Cython>=3.2,<4", "setuptools", cwd=tmp_path)
    shutil.copy2(PROGRAMS / "amounts.pyx", tmp_path)
    (tmp_path / "setup.py").write_text(BUILD_USER)
    run(python, "setup.py", "build_ext", "--inplace", cwd=tmp_path)
    assert run(python, "-c", RUN_USER, cwd=tmp_path) == "7\n"
