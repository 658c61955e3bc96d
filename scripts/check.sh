#!/bin/sh
# The checks that need no server: format, lint, import rules, types, unit tests. Run by `make check`
# and, before anything slower, by `make test`; the venv is on the PATH.
# Argument 1: a folder that gets the times of the tests as JUnit XML; none are kept without it.
set -eu
echo "ruff";          ruff check . && ruff format --check --quiet .
echo "import-linter"; lint-imports --no-cache >/dev/null || lint-imports --no-cache

# mypy has one process, and takes as long as the unit tests do where it has no cache yet.
types=$(mktemp)
mypy >"$types" 2>&1 &
mypy=$!
trap 'kill "$mypy" 2>/dev/null || true; rm -f "$types"' EXIT
echo "pytest: unit tests, and mypy beside them"
WORKERS=${WORKERS:-2} sh scripts/pytest_parallel.sh tests/unit ${1:+--junitxml="$1/unit.xml"}
wait "$mypy" || { cat "$types"; exit 1; }
