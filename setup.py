"""Builds the compiled parts: one extension for each `fastilp/_core/*.pyx`, the data plane, and each
`fastilp/loadtest/*.pyx`, the load generator, found on disk.

Everything else about the package is in pyproject.toml. Environment variables choose the variant;
each has a build folder of its own (generated C, objects, libraries), because neither Cython nor
distutils notices that only a flag or a directive changed, and would hand out the other variant's:

FASTILP_DEBUG=1      -O0, assertions, bounds checks, FASTILP_CORE_DEBUG
FASTILP_QUICK=1      -O0, to see soon whether it builds
FASTILP_SANITIZE=1   AddressSanitizer and UndefinedBehaviorSanitizer
FASTILP_COVERAGE=1   line tracing for coverage's Cython plugin
FASTILP_ANNOTATE=1   Cython's HTML beside the generated C
FASTILP_LMDB=system|bundled   force one provider of LMDB (tools/lmdb_provider.py)
"""

import hashlib
import os
import platform
import shutil
import sys
from pathlib import Path

import Cython
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))

import lmdb_provider  # noqa: E402  (lies beside this file, which no build backend puts on the path)

FOLDERS = (Path("fastilp/_core"), Path("fastilp/loadtest"))
# Modules with sources in plain C beside the one that Cython writes.
PLAIN_C = {"condition": "sha256_*.c", "store": "store_*.c", "engine": "load_*.c"}
VARIANTS = ("debug", "quick", "sanitize", "coverage", "annotate")

DIRECTIVES: dict[str, object] = {
    "language_level": 3,
    "binding": True,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "auto_pickle": False,
    "autotestdict": False,
    "embedsignature": False,
}


def chosen(name: str) -> bool:
    return os.environ.get(f"FASTILP_{name.upper()}", "") not in ("", "0")


VARIANT = "-".join([name for name in VARIANTS if chosen(name)] or ["release"])
if os.environ.get("FASTILP_LMDB"):
    VARIANT += "-" + os.environ["FASTILP_LMDB"]
BUILD = Path("build") / VARIANT


def directives() -> dict[str, object]:
    changed: dict[str, object] = {}
    if chosen("debug"):
        changed |= {"boundscheck": True, "initializedcheck": True}
    if chosen("coverage"):
        changed |= {"linetrace": True}
    return DIRECTIVES | changed


def compile_flags() -> list[str]:
    flags = ["-Wall", "-Wextra", "-Wsign-compare"]
    if (ROOT / ".git").exists():
        # Only in a checkout: a compiler newer than ours must not stop somebody's `pip install`.
        flags += ["-Werror"]
    if platform.machine() == "x86_64":
        # Wheels run on any x86-64; kernels for newer ones are chosen at import, function by
        # function.
        flags += ["-march=x86-64", "-mtune=generic"]
    if chosen("debug"):
        flags += ["-O0", "-g3", "-UNDEBUG", "-DFASTILP_CORE_DEBUG=1"]
    elif chosen("quick"):
        flags += ["-O0"]
    else:
        flags += ["-O1" if chosen("sanitize") else "-O3"]
    if chosen("sanitize"):
        flags += ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g"]
    if chosen("coverage"):
        flags += ["-DCYTHON_TRACE=1", "-DCYTHON_TRACE_NOGIL=1", "-DCYTHON_USE_SYS_MONITORING=0"]
    return flags


def link_flags() -> list[str]:
    return ["-fsanitize=address,undefined"] if chosen("sanitize") else []


def extension(source: Path) -> Extension:
    folder = source.parent
    plain = folder.glob(PLAIN_C[source.stem]) if source.stem in PLAIN_C else ()
    sources = [str(source), *sorted(str(path) for path in plain)]
    return Extension(
        ".".join(source.with_suffix("").parts),
        sources,
        include_dirs=[str(folder)],
        depends=["setup.py", *sorted(str(path) for path in folder.glob("*.h"))],
        libraries=["pthread"],
        extra_compile_args=compile_flags(),
        extra_link_args=link_flags(),
    )


def recipe() -> str:
    """What the generated C depends on beside its sources."""
    text = (ROOT / "setup.py").read_bytes() + Cython.__version__.encode()
    return hashlib.sha256(text).hexdigest()


def same_file(new: Path, old: Path) -> bool:
    if not old.exists():
        return False
    a, b = new.stat(), old.stat()
    return (a.st_size, int(a.st_mtime)) == (b.st_size, int(b.st_mtime))


class BuildCore(build_ext):  # type: ignore[misc]
    """build_ext that runs Cython itself (into the variant's folder) and adds LMDB to the store."""

    def finalize_options(self) -> None:
        super().finalize_options()
        if self.inplace or self.editable_mode:
            # `pip install -e .` would build in a folder that it throws away, and then all over
            # again.
            folder = BUILD / f"inplace-{sys.implementation.cache_tag}"
            self.build_lib, self.build_temp = str(folder / "lib"), str(folder / "temp")

    def run(self) -> None:
        self.cythonize_all()
        super().run()

    def cythonize_all(self) -> None:
        stamp = BUILD / "recipe"
        stale = not stamp.exists() or stamp.read_text() != recipe()
        self.force = bool(self.force or stale)
        compiled = cythonize(
            [Extension(ext.name, ext.sources[:1]) for ext in self.extensions],
            # Cython.Coverage looks for the C beside the source, and nowhere else.
            build_dir=None if chosen("coverage") else str(BUILD / "cython"),
            compiler_directives=directives(),
            nthreads=2,
            force=self.force,
            annotate=chosen("annotate") or chosen("debug"),
        )
        # Only the sources are taken over: setuptools has already noted its own things on our
        # objects.
        for ext, made in zip(self.extensions, compiled, strict=True):
            ext.sources = made.sources + [one for one in ext.sources if one.endswith(".c")]
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(recipe())

    def build_extensions(self) -> None:
        for ext in self.extensions:
            if ext.name.endswith("._core.store"):
                lmdb_provider.add_to(ext, self.compiler, ROOT, BUILD)
        super().build_extensions()

    def copy_file(self, infile: str, outfile: str, *args: object, **kwargs: object) -> object:
        """Copy a built module into the tree if it is another one, be it older (a change of
        variant). The old file is unlinked, not written over: a running process may have it
        mapped."""
        if not same_file(Path(infile), Path(outfile)):
            Path(outfile).unlink(missing_ok=True)
            shutil.copy2(infile, outfile)
        return outfile, True


setup(
    ext_modules=[
        extension(path) for folder in FOLDERS for path in sorted(folder.glob("*.pyx"))
    ],
    cmdclass={"build_ext": BuildCore},
    options={"build": {"build_base": str(BUILD)}, "build_ext": {"parallel": 2}},
)
