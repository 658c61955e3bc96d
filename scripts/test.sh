#!/bin/sh
# Run all checks, the fast ones first; stop at the first failure. `make test` runs it, with the venv
# on the PATH.
set -eu
times=$(mktemp -d)
trap 'rm -rf "$times"' EXIT
sh scripts/check.sh "$times"

echo "pytest: independent tests, in parallel"
# Two workers more than cores: a test often waits for its server or its clock.
WORKERS=${WORKERS:-4} sh scripts/pytest_parallel.sh \
    tests/acceptance tests/faults tests/integration --junitxml="$times/parallel.xml"

echo "pytest: tests that need the machine exclusively"
# Collect only files that have such tests: this saves half a minute of imports.
python -m pytest -q -m "serial and not long" --junitxml="$times/serial.xml" \
    $(grep -rl --include="test_*.py" "pytest.mark.serial" tests)

python scripts/slowest_tests.py "$times"/*.xml
