#!/bin/sh
# Runs tests that are independent of each other on several worker processes (WORKERS=, 2 without it).
# The arguments are pytest's; without -m, all that are not long or serial.
set -eu
# A worker has a core to itself: more threads of PyTorch or BLAS would only get in each other's way.
export OMP_NUM_THREADS=1
# A file is not divided: its tests share what is dear to make, such as a county or a server. Files
# start in the order of the folders, in which the slow ones come first, and not by their number of
# tests: so no worker is left alone with a long one at the end.
exec python -m pytest -q -m "not long and not serial" --numprocesses "${WORKERS:-2}" \
    --dist loadfile --no-loadscope-reorder "$@"
