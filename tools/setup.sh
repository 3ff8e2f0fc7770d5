#!/usr/bin/env bash
# Makes .venv ready: `tools/setup.sh run` for what a node needs, `tools/setup.sh dev` for tests and
# gates as well; `tools/setup.sh system` only looks after the machine's tools (compiler, Python),
# `tools/setup.sh partners` after programs of others that tests talk to, or are skipped without.
# Where something cannot be had it says what, and what to do.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-run}

fail() {
    printf '\nfastilp: %s\n' "$@" >&2
    exit 1
}

pick_python() {
    local name
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
}

missing_packages() {
    local python
    python=$(pick_python)
    command -v cc >/dev/null || command -v gcc >/dev/null || echo gcc libc6-dev
    command -v make >/dev/null || echo make
    command -v git >/dev/null || echo git
    # What the documents tell people to type, and tests type.
    command -v curl >/dev/null || echo curl
    if [ -z "$python" ]; then
        echo python3 python3-venv python3-dev
        return
    fi
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    [ -e "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] ||
        echo python3-dev
}

machine() {
    local missing
    missing=$(missing_packages | tr '\n' ' ')
    [ -n "${missing// /}" ] || return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "fastilp: installing $missing"
        # With pkg-config and liblmdb-dev the store links the system's LMDB.
        missing="$missing pkg-config liblmdb-dev"
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086
        { apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing; } \
            </dev/null >/dev/null || fail "apt-get could not install: $missing"
    else
        fail "this machine lacks: $missing" \
            "install it, on Debian or Ubuntu with: apt-get install $missing"
    fi
    [ -n "$(pick_python)" ] || fail "Python 3.11 or newer is needed (PYTHON=... names one)"
}

partners() {
    local missing=
    command -v redis-server >/dev/null || missing="redis-server"
    command -v electrum >/dev/null || missing="$missing electrum"
    [ -n "$missing" ] || return 0
    # RUNLEVEL: they are not to be started, now or with the machine.
    # shellcheck disable=SC2086
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && {
        apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
            apt-get install -qq -y --no-install-recommends $missing
    } </dev/null >/dev/null 2>&1 || echo "fastilp: tests are skipped for want of $missing"
}

environment() {
    export PIP_ROOT_USER_ACTION=ignore
    local pip=(.venv/bin/python -m pip --disable-pip-version-check)
    if ! .venv/bin/python -c '' 2>/dev/null; then
        echo "fastilp: making .venv"
        rm -rf .venv
        "$(pick_python)" -m venv .venv || fail "python -m venv failed; see above"
    fi
    local hint="packages could not be installed: is a Python package index reachable (pip config)?"
    echo "fastilp: installing packages into .venv"
    "${pip[@]}" install --quiet --upgrade pip </dev/null || fail "$hint"
    "${pip[@]}" install --quiet --group "$1" </dev/null || fail "$hint"
    echo "fastilp: compiling the core, about a minute"
    # --no-build-isolation: with the Cython just installed, so that `make build` finds it all built.
    # With engines: `fastilp testnet` runs without another step.
    # setuptools warns about every editable install; there is nothing to do about it.
    export PYTHONWARNINGS=ignore
    "${pip[@]}" install --quiet --no-build-isolation --editable '.[ethereum,xrp]' </dev/null ||
        fail "the build or the installation of the packages it needs failed; see above"
}

[ "$what" = partners ] || machine
case $what in
system) ;;
partners) partners ;;
run) environment build ;;
dev) environment dev ;;
*) fail "usage: tools/setup.sh run|dev|system|partners" ;;
esac
