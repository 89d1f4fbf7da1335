#!/usr/bin/env bash
# Build the wheel and the source archive into dist/, with the commit's time in them.
set -euo pipefail
cd "$(dirname "$0")/../.."

trap 'rm -rf atom_platform.egg-info' EXIT # what the source archive leaves behind
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) .venv/deploy/bin/python -m build --outdir dist
