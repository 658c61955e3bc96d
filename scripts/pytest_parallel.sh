#!/bin/sh
# Runs tests that are independent of each other, on WORKERS processes; the arguments are pytest's.
set -eu
# With more threads for PyTorch or BLAS the workers would only get in each other's way.
export OMP_NUM_THREADS=1
# A file is not divided: its tests share what is dear to make, such as a county or a server. Files
# start in the order of the folders, in which the slow ones come first, and not by their number of
# tests: so no worker is left alone with a long one at the end.
exec python -m pytest -q -m "not long and not serial" --numprocesses "$WORKERS" \
    --dist loadfile --no-loadscope-reorder "$@"
