#!/bin/sh
# Writes requirements.lock anew from pyproject.toml (argument 1: the virtual environment).
set -eu
"$1/bin/pip-compile" --quiet --all-extras --strip-extras --upgrade --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe \
    --output-file requirements.lock pyproject.toml
# The extras name the project itself. And a build that is told apart by a local version
# (2.13.0+cpu) exists on some machines only.
sed -i -e '/^lotline /d' -e 's/^\(torch==[0-9.]*\)+[a-z0-9]*/\1/' requirements.lock
