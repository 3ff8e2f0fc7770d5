"""Where LMDB comes from when `fastilp._core.store` is built. Imported by setup.py, imports no part
of fastilp.

The system's liblmdb is taken where pkg-config finds a fit one. Otherwise LMDB is built into the
extension, static and hidden, from the sources that the pinned sdist of PyPI's `lmdb` carries:
nothing of it is kept in this repository. FASTILP_LMDB=system or bundled forces one, FASTILP_CACHE
names the folder for the sdist.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

VERSION_MIN = (0, 9, 24)
# 1.0 writes another data format, which 0.9 cannot read.
VERSION_END = (1, 0, 0)
# ITS#9278, taken back by ITS#10095: a closing process destroys mutexes that others still use.
VERSIONS_RACY = ((0, 9, 26), (0, 9, 31))

SDIST_VERSION = "3.0.0"
SDIST_SHA256 = "06dda0723545e14d56ac7dcd6f582d9922c2ed5e16f1c3f8d0e670a96ec2ee65"
# `lib` is LMDB 0.9.36; `lib1`, beside it in the sdist, is 1.0.
SDIST_FOLDER = f"lmdb-{SDIST_VERSION}"
SDIST_SOURCES = ("lib/mdb.c", "lib/midl.c")
SDIST_FILES = (*SDIST_SOURCES, "lib/lmdb.h", "lib/midl.h")


class LMDBMissing(SystemExit):
    """No LMDB could be had; the text says what would help."""


def add_to(ext: Any, compiler: Any, root: Path, build: Path) -> None:
    """Make the extension compile and link with LMDB."""
    wish = os.environ.get("FASTILP_LMDB", "")
    if wish not in ("", "system", "bundled"):
        raise LMDBMissing(f"FASTILP_LMDB is {wish!r}; it must be 'system', 'bundled' or unset")
    if wish != "bundled" and use_system(ext, required=wish == "system"):
        return
    ext.include_dirs.insert(0, str(unpack(fetch(root), build) / "lib"))
    ext.extra_objects += build_objects(compiler, build)


def use_system(ext: Any, *, required: bool) -> bool:
    text = pkg_config("--modversion")
    if text is None:
        if required:
            raise LMDBMissing(
                "FASTILP_LMDB=system, but pkg-config finds no lmdb: "
                "install liblmdb-dev and pkg-config"
            )
        return False
    version = tuple(int(part) for part in text.split(".")[:3])
    if not VERSION_MIN <= version < VERSION_END:
        if required:
            raise LMDBMissing(
                f"FASTILP_LMDB=system, but the system's LMDB is {text}; "
                "it must be >= 0.9.24 and < 1.0"
            )
        return False
    if VERSIONS_RACY[0] <= version <= VERSIONS_RACY[1]:
        print(
            f"warning: LMDB {text} has a race when several processes open one environment "
            "(ITS#10095); FASTILP_LMDB=bundled takes a newer one",
            file=sys.stderr,
        )
    ext.extra_compile_args += (pkg_config("--cflags") or "").split()
    ext.extra_link_args += (pkg_config("--libs") or "-llmdb").split()
    return True


def pkg_config(question: str) -> str | None:
    try:
        answer = subprocess.run(
            [os.environ.get("PKG_CONFIG", "pkg-config"), question, "lmdb"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def fetch(root: Path) -> Path:
    """Return the pinned sdist, fetched with pip if the cache has none."""
    cache = Path(os.environ.get("FASTILP_CACHE") or root / "build" / "cache")
    sdist = cache / f"{SDIST_FOLDER}.tar.gz"
    if not sdist.exists():
        download(cache)
    digest = hashlib.sha256(sdist.read_bytes()).hexdigest()
    if digest != SDIST_SHA256:
        raise LMDBMissing(
            f"{sdist} has sha256 {digest}, not {SDIST_SHA256}: remove it and build again"
        )
    return sdist


def download(cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    pinned = cache / "lmdb.txt"
    pinned.write_text(f"lmdb=={SDIST_VERSION} --hash=sha256:{SDIST_SHA256}\n")
    command = [
        sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet",
        # The hash is checked before anything of the sdist runs. pip insists on asking an sdist for
        # its metadata; in this environment, and with LMDB_FORCE_SYSTEM, that prints a few lines of
        # text and compiles nothing.
        "--require-hashes", "--requirement", str(pinned), "--no-deps", "--no-binary", "lmdb",
        "--no-build-isolation", "--dest", str(cache),
    ]  # fmt: skip
    result = subprocess.run(command, env=os.environ | {"LMDB_FORCE_SYSTEM": "1"}, check=False)
    if result.returncode != 0:
        raise LMDBMissing(
            "LMDB is missing: pkg-config finds none (>= 0.9.24, < 1.0) and its source could not "
            "be fetched. Install liblmdb-dev and pkg-config, or put "
            f"{SDIST_FOLDER}.tar.gz (the sdist of lmdb {SDIST_VERSION}) into {cache}"
        )


def unpack(sdist: Path, build: Path) -> Path:
    folder = build / SDIST_FOLDER
    with tarfile.open(sdist) as archive:
        for name in SDIST_FILES:
            target = folder / name
            if target.exists():
                continue
            member = archive.extractfile(f"{SDIST_FOLDER}/{name}")
            if member is None:
                raise LMDBMissing(f"{sdist} has no {name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(member.read())
    return folder


def build_objects(compiler: Any, build: Path) -> list[str]:
    """Compile LMDB: hidden, so that another copy of it in the process (py-lmdb's) is never mixed up
    with ours."""
    folder = build / SDIST_FOLDER
    objects = [folder / name.replace(".c", ".o") for name in SDIST_SOURCES]
    if not all(path.exists() for path in objects):
        for name in SDIST_SOURCES:
            # Not our code: its warnings are not ours either.
            compiler.compile(
                [str(folder / name)],
                output_dir=".",
                extra_postargs=["-O2", "-g", "-w", "-fvisibility=hidden"],
            )
    return [str(path) for path in objects]
