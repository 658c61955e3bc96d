#!/bin/sh
# Every check there is, the cheap ones first; the first that fails ends it. Run by `make test`, with
# the venv on the PATH.
set -eu
times=$(mktemp -d)
trap 'rm -rf "$times"' EXIT
sh scripts/check.sh "$times"

echo "pytest: tests with servers, in parallel"
# One worker more than two cores have use for: a test waits for its server or its clock now and then.
WORKERS=${WORKERS:-3} sh scripts/pytest_parallel.sh \
    tests/acceptance tests/faults tests/integration --junitxml="$times/parallel.xml"

echo "pytest: tests that need the machine to themselves, one at a time"
# Of the files that have some alone: the imports of the others take half a minute.
python -m pytest -q -m "serial and not long" --junitxml="$times/serial.xml" \
    $(grep -rl --include="test_*.py" "pytest.mark.serial" tests)

python scripts/slowest_tests.py "$times"/*.xml
