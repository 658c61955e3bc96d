#!/bin/sh
# Create the virtual environment (argument 1) with the versions of requirements.lock.
set -eu
venv=$1
python=${PYTHON:-python3}

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 2; }

# The programs of a virtual environment begin with its path, in double quotes of a shell.
case $PWD in
    *[\`\$\"\\:]* | *"
"*) fail "the folder $PWD has one of the characters \` \$ \" \\ : or a line break in its path, which the programs of a virtual environment would run as commands: move the clone to another folder" ;;
esac
# A path that begins with a dash would be an option.
case $python in -*) fail "PYTHON=$python is not the path of a program: set PYTHON=/path/to/python3" ;; esac

if ! command -v "$python" >/dev/null 2>&1; then
    sh scripts/apt_install.sh python3 python3-venv || fail "$python not found: install Python 3.11 or newer (apt-get install python3 python3-venv), or set PYTHON=/path/to/python"
fi
if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
    found=$("$python" --version 2>&1 | tail -n 1)
    # `python3` may be a newer one than those that the pinned packages are built for.
    for other in python3.13 python3.12 python3.11; do
        [ -z "${PYTHON:-}" ] || [ "${PYTHON:-}" = python3 ] || break
        command -v "$other" >/dev/null 2>&1 && "$other" -c 'import ensurepip, venv' 2>/dev/null && python=$other && break
    done
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null ||
        fail "$found does not fit: Lotline's pinned packages need Python 3.11, 3.12 or 3.13; install one of them, or set PYTHON=/path/to/python3.13"
    say "$found does not fit; using $("$python" --version)"
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    minor=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    sh scripts/apt_install.sh "$minor" || fail "Python's venv module is missing: run apt-get install $minor"
fi

say "creating $venv (takes a few minutes the first time: PyTorch is large)"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --requirement requirements.lock
"$venv/bin/python" -m pip install --quiet --no-deps --editable .
# The SDK of serverless workers has a folder of its own, which only what needs it has on its path:
# it brings uvloop and httptools, which uvicorn would use in all servers.
"$venv/bin/python" -m pip install --quiet --no-deps --target "$venv/runpod" --requirement deploy/runpod.lock
