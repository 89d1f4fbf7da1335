#!/usr/bin/env bash
# Write what the service is made of: dist/atom-platform.cdx.json (CycloneDX), and from it the list of
# licences in docs/licences.md. Read from an environment that holds the production lock and no more.
set -euo pipefail
cd "$(dirname "$0")/../.."

environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
.venv/bin/python -m venv --without-pip "$environment"
.venv/bin/pip --python "$environment/bin/python" --quiet --disable-pip-version-check \
    install --require-hashes -r requirements.txt

mkdir -p dist
.venv/deploy/bin/cyclonedx-py environment "$environment/bin/python" \
    --pyproject pyproject.toml --mc-type application --output-reproducible \
    --output-format JSON --output-file dist/atom-platform.cdx.json
.venv/bin/python -m deploy.release.licences dist/atom-platform.cdx.json >docs/licences.md
