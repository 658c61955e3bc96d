#!/bin/sh
# Install Node.js, which the tests' FeatureServer needs; without it those tests are skipped.
set -eu
command -v npm >/dev/null 2>&1 && exit 0
sh scripts/apt_install.sh nodejs npm ||
    echo "npm not found: tests against a FeatureServer are skipped (to run them: apt-get install nodejs npm)"
