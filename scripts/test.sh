#!/bin/sh
# Every check there is, the cheap ones first; the first that fails ends it. Run by `make test`, with
# the venv on the PATH.
set -eu
times=$(mktemp -d)
trap 'rm -rf "$times"' EXIT
sh scripts/check.sh "$times"
echo "pytest: tests that share nothing, in parallel"
sh scripts/pytest_parallel.sh tests/acceptance tests/faults tests/integration \
    --junitxml="$times/parallel.xml"
echo "pytest: tests that need the machine to themselves"
# Only the files that have some are read: that spares half a minute of imports.
python -m pytest -q -m "serial and not long" --junitxml="$times/serial.xml" \
    $(grep -rl --include="test_*.py" "pytest.mark.serial" tests)
python scripts/slowest_tests.py "$times"/*.xml
