#!/usr/bin/env bash
# Fetch the pinned chart library and copy what the status page serves of it, unchanged.
# Usage: build.sh [DIRECTORY]; by default where the page finds it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${1:-$here/../../atom_platform/status/static/vendor}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/package-lock.json" "$work"
# By the lock's hashes; no script of a package runs.
(cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --silent)

mkdir -p "$target"
uplot=$work/node_modules/uplot
install -m 644 "$uplot/dist/uPlot.iife.min.js" "$uplot/dist/uPlot.min.css" "$target"
install -m 644 "$uplot/LICENSE" "$target/uPlot.LICENSE"
