#!/bin/sh
# Create the virtual environment (argument 1) with the versions of requirements.lock.
set -eu
venv=$1
python=${PYTHON:-python3}

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 2; }

if ! command -v "$python" >/dev/null 2>&1; then
    sh scripts/apt_install.sh python3 python3-venv || fail "$python not found: install Python 3.11 or newer (apt-get install python3 python3-venv), or set PYTHON=/path/to/python"
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old: Lotline needs Python 3.11 or newer; set PYTHON=/path/to/python"
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    minor=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    sh scripts/apt_install.sh "$minor" || fail "Python's venv module is missing: run apt-get install $minor"
fi

say "creating $venv (takes a few minutes the first time: PyTorch is large)"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --requirement requirements.lock
"$venv/bin/python" -m pip install --quiet --no-deps --editable .
