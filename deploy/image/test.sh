#!/usr/bin/env bash
# Build the image and run it: what `make image-test` does. Needs root, and Debian's packages
# buildah, debootstrap, iproute2, podman and runc.
#
# The base is made from Debian's packages, so that no image registry is asked. The tests run in a
# network namespace of their own, which has loopback and nothing else.
set -euo pipefail
cd "$(dirname "$0")/../.."

for program in buildah debootstrap ip podman runc; do
    command -v "$program" >/dev/null || missing+=" $program"
done
if [[ -n ${missing:-} || $EUID -ne 0 ]]; then
    echo "image-test needs root and:${missing:- nothing more}" >&2
    [[ -n ${CI:-} ]] && exit 1
    exit 0 # a laptop without them skips it, and has been told
fi

export BUILDAH_ISOLATION=chroot CONTAINERS_STORAGE_CONF=$PWD/deploy/image/storage.conf
export PYTHON_IMAGE=localhost/atom-python:3.11-bookworm ATOM_IMAGE=localhost/atom-platform:test
# Where a company's certificates are the machine's, the build must know them too.
export BUILD_CA=${BUILD_CA:-/etc/ssl/certs/ca-certificates.crt}

buildah inspect --type image "$PYTHON_IMAGE" >/dev/null 2>&1 || deploy/image/base.sh "$PYTHON_IMAGE"
SECONDS=0
BUILDER=buildah deploy/image/build.sh "$ATOM_IMAGE" --quiet
echo "built in $SECONDS s"

rebuild=tests/service/image/test_rebuild.py # needs the network
unshare --net --mount -- bash -c \
    "ip link set lo up && exec .venv/bin/python -m pytest tests/service/image --ignore $rebuild"
.venv/bin/python -m pytest "$rebuild"
