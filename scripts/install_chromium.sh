#!/bin/sh
# Install Chromium, in which tests use the review panel; without it they are skipped.
set -eu
command -v chromium >/dev/null 2>&1 && exit 0
sh scripts/apt_install.sh chromium ||
    echo "chromium not found: tests in a browser are skipped (to run them: apt-get install chromium)"
