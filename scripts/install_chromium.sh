#!/bin/sh
# Install a Chromium, in which tests use the review panel; without it they are skipped. The one
# without windows takes a fifth of the time for a page; some distributions have the whole one only.
set -eu
command -v chromium-headless-shell >/dev/null 2>&1 && exit 0
sh scripts/apt_install.sh chromium-headless-shell 2>/dev/null && exit 0
command -v chromium >/dev/null 2>&1 && exit 0
sh scripts/apt_install.sh chromium ||
    echo "chromium not found: tests in a browser are skipped (to run them: apt-get install chromium)"
