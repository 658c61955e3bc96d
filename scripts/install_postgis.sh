#!/bin/sh
# Install PostgreSQL with PostGIS, unless it is installed or DATABASE_URL is set.
set -eu
[ -z "${DATABASE_URL:-}" ] || exit 0
find='from pipeline.store.embedded.programs import find_programs; find_programs()'
.venv/bin/python -c "$find" 2>/dev/null && exit 0
sh scripts/apt_install.sh postgresql-postgis && exit 0
echo "error: PostgreSQL with PostGIS not found: install it (Debian, Ubuntu: sudo apt-get install" \
    "postgresql-postgis; macOS: brew install postgis), or set DATABASE_URL" >&2
exit 2
