#!/bin/sh
# Regenerate requirements.lock and deploy/runpod.lock from pyproject.toml (argument 1: the virtual
# environment).
set -eu
compile() {
    "$venv/bin/pip-compile" --quiet --strip-extras --upgrade --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe "$@" pyproject.toml
}
venv=$1
compile --extra dev --output-file requirements.lock
# Drop the project itself, which its own extras name, and the local versions of PyTorch builds
# (2.13.0+cpu), which exist on some platforms only.
sed -i -e '/^lotline /d' -e 's/^\(torch==[0-9.]*\)+[a-z0-9]*/\1/' requirements.lock

# What the extra runpod adds. It stays out of the other environment: the SDK brings uvloop and
# httptools, which the servers of the review panel would use as soon as they are installed.
all=$(mktemp)
trap 'rm -f "$all"' EXIT
compile --extra runpod --constraint requirements.lock --output-file "$all"
grep -v '^lotline ' "$all" | sed 's/^\(torch==[0-9.]*\)+[a-z0-9]*/\1/' | grep -vxFf requirements.lock >deploy/runpod.lock
