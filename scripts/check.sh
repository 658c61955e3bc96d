#!/bin/sh
# Run the checks that need no server: format, lint, types, import rules, unit tests. `make check`
# runs it, and `make test` first of all; the venv must be on the PATH.
# Argument 1 (optional): a folder for the test times as JUnit XML.
set -eu
echo "ruff";          ruff check . && ruff format --check --quiet .
echo "mypy";          mypy
echo "import-linter"; lint-imports --no-cache >/dev/null || lint-imports --no-cache
echo "pytest: unit tests"
sh scripts/pytest_parallel.sh tests/unit ${1:+--junitxml="$1/unit.xml"}
