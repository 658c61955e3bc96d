#!/bin/sh
# Build the documentation site in out/site. `make docs` runs it, with the venv on the PATH.
set -eu
# A local copy of mermaid draws the diagrams, so that the site works offline.
mermaid=11.17.2
if [ ! -f out/mermaid/$mermaid.min.js ] && command -v npm >/dev/null 2>&1; then
    mkdir -p out/mermaid
    (cd out/mermaid && npm pack --silent mermaid@$mermaid >/dev/null &&
        tar xzf mermaid-$mermaid.tgz package/dist/mermaid.min.js &&
        mv package/dist/mermaid.min.js $mermaid.min.js && rm -r package mermaid-$mermaid.tgz) ||
        echo "npm cannot fetch mermaid: browsers load it from a CDN"
fi
NO_MKDOCS_2_WARNING=1 mkdocs build --quiet
echo "out/site/index.html"
