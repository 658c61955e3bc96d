#!/bin/sh
# Install Debian packages (the arguments) if that needs no password; else exit with 1.
set -eu
command -v apt-get >/dev/null 2>&1 || exit 1
if [ "$(id -u)" = 0 ]; then sudo=
elif sudo -n true 2>/dev/null; then sudo="sudo -n"
else exit 1
fi
echo "installing $* with apt"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { $sudo apt-get update -qq &&
       $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
     } >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
