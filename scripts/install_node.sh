#!/bin/sh
# Sees to it that there is a Node.js for the tests' FeatureServer; without one they are skipped.
set -eu
command -v npm >/dev/null 2>&1 && exit 0
sh scripts/apt_install.sh nodejs npm ||
    echo "no npm: the tests against a FeatureServer will be skipped (apt-get install nodejs npm)"
