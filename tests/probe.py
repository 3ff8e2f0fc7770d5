"""Compiles a few lines of Cython inside a test, for functions of the core that Python cannot call.

Uses the shipped .pxd files, as a stranger's extension would. Imports nothing of fastilp.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

CHECKOUT = Path(__file__).resolve().parent.parent
SETUP = """
from Cython.Build import cythonize
from setuptools import setup
setup(ext_modules=cythonize({name!r}, include_path=[{checkout!r}], language_level=3, quiet=True))
"""


def compiled(source: str, folder: Path) -> ModuleType:
    """The module `probe` made of `source`, built in `folder`."""
    (folder / "probe.pyx").write_text(source)
    (folder / "setup.py").write_text(SETUP.format(name="probe.pyx", checkout=str(CHECKOUT)))
    done = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=folder,
        env=os.environ | {"CFLAGS": "-O0"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [library] = folder.glob("*.so")
    spec = importlib.util.spec_from_file_location("probe", library)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
