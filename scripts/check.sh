#!/bin/sh
# Every check there is, the cheap ones first. Run by `make test`, with the venv on the PATH.
set -eu
echo "ruff";          ruff check . && ruff format --check --quiet .
echo "mypy";          mypy
echo "import-linter"; lint-imports --no-cache >/dev/null || lint-imports --no-cache
echo "pytest"
python -m pytest -m "not long" --durations=10
