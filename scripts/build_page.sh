#!/bin/sh
# Build the page of the review panel, unless it is newer than its sources. A wheel has it built.
set -eu
cd "$(dirname "$0")/../pipeline/review/page"
if [ -f built/sheet.js ] && [ -f built/dashboard.js ] &&
    [ -z "$(find src package.json package-lock.json tsconfig.json -newer built/panel.js -print -quit)" ]; then
    exit 0
fi
sh ../../../scripts/install_node.sh
if ! command -v npm >/dev/null 2>&1; then
    echo "error: the page of the review panel needs Node.js and npm to be built: apt-get install nodejs npm" >&2
    exit 2
fi
echo "building the page of the review panel"
npm ci --silent --no-audit --no-fund
npm run --silent check
npm run --silent build -- --log-level=warning
