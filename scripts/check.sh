#!/bin/sh
# Run the checks that need no server: format, lint, import rules, types, unit tests. `make check`
# runs it, and `make test` first of all; the venv must be on the PATH.
# Argument 1 (optional): a folder for the test times as JUnit XML.
set -eu
echo "ruff";          ruff check . && ruff format --check --quiet .
echo "import-linter"; lint-imports --no-cache >/dev/null || lint-imports --no-cache

# mypy has one process, and without a cache it takes as long as the unit tests.
types=$(mktemp)
mypy >"$types" 2>&1 &
mypy=$!
trap 'kill "$mypy" 2>/dev/null || true; rm -f "$types"' EXIT
echo "pytest: unit tests, and mypy beside them"
WORKERS=${WORKERS:-2} sh scripts/pytest_parallel.sh tests/unit ${1:+--junitxml="$1/unit.xml"}
wait "$mypy" || { cat "$types"; exit 1; }
