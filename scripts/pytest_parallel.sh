#!/bin/sh
# Run independent tests in several processes (WORKERS=). The arguments are those of pytest.
set -eu
# Each worker has one core: more threads of PyTorch or BLAS would only compete for it.
export OMP_NUM_THREADS=1
# A file is not split, because its tests share expensive fixtures, such as a county or a server.
# Files start in folder order, slow folders first, not by their number of tests: otherwise one worker
# might run a slow file alone at the end.
exec python -m pytest -q -m "not long and not serial" --numprocesses "$WORKERS" \
    --dist loadfile --no-loadscope-reorder "$@"
