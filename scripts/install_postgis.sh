#!/bin/sh
# Sees to it that this machine has a PostgreSQL with PostGIS, unless DATABASE_URL names one.
set -eu
[ -z "${DATABASE_URL:-}" ] || exit 0
.venv/bin/python -c 'from pipeline.store.programs import find_programs; find_programs()' 2>/dev/null && exit 0

advice="install PostgreSQL with PostGIS (Debian, Ubuntu: apt-get install postgresql-postgis; macOS: brew install postgis), or set DATABASE_URL"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "error: $advice" >&2
    exit 2
fi
if [ "$(id -u)" = 0 ]; then sudo=
elif sudo -n true 2>/dev/null; then sudo="sudo -n"
else
    echo "error: $advice" >&2
    exit 2
fi
echo "installing PostgreSQL with PostGIS with apt"
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends postgresql-postgis >/dev/null
