#!/bin/sh
# Install PgBouncer, in front of which some tests use the database; without it they are skipped.
set -eu
PATH="$PATH:/usr/sbin"
command -v pgbouncer >/dev/null 2>&1 && exit 0
sh scripts/apt_install.sh pgbouncer ||
    echo "pgbouncer not found: tests behind a connection pooler are skipped (to run them: apt-get install pgbouncer)"
