#!/bin/sh
# Makes the virtual environment (argument 1) with the versions of requirements.lock.
set -eu
venv=$1
python=${PYTHON:-python3}

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 2; }

# Installs Debian packages where that is possible without asking, else says what to type.
install_debian() {
    if ! command -v apt-get >/dev/null 2>&1; then return 1; fi
    if [ "$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else return 1; fi
    say "installing $* with apt"
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "$@" >/dev/null
}

if ! command -v "$python" >/dev/null 2>&1; then
    install_debian python3 python3-venv || fail "no $python: install Python 3.11 or newer (apt-get install python3 python3-venv), or say PYTHON=/path/to/python"
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old: Lotline needs Python 3.11 or newer; say PYTHON=/path/to/python"
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    minor=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    install_debian "$minor" || fail "Python's venv module is missing: apt-get install $minor"
fi

say "making $venv (a few minutes the first time: PyTorch is large)"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --upgrade "pip>=25"
"$venv/bin/python" -m pip install --quiet --requirement requirements.lock
"$venv/bin/python" -m pip install --quiet --no-deps --editable .
