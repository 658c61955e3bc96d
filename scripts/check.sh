#!/bin/sh
# The checks that need no server: format, lint, types, import rules, unit tests. Run by `make check`
# and, before anything slower, by `make test`; the venv is on the PATH.
# Argument 1: a folder that gets the times of the tests as JUnit XML; none are kept without it.
set -eu
echo "ruff";          ruff check . && ruff format --check --quiet .
echo "mypy";          mypy
echo "import-linter"; lint-imports --no-cache >/dev/null || lint-imports --no-cache
echo "pytest: unit tests"
sh scripts/pytest_parallel.sh tests/unit ${1:+--junitxml="$1/unit.xml"}
