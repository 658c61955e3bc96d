#!/bin/sh
# Regenerate requirements.lock from pyproject.toml (argument 1: the virtual environment).
set -eu
"$1/bin/pip-compile" --quiet --all-extras --strip-extras --upgrade --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe \
    --output-file requirements.lock pyproject.toml
# Drop the project itself, which its own extras name, and the local versions of PyTorch builds
# (2.13.0+cpu), which exist on some platforms only.
sed -i -e '/^lotline /d' -e 's/^\(torch==[0-9.]*\)+[a-z0-9]*/\1/' requirements.lock
