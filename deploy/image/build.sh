#!/usr/bin/env bash
# Build the image with whichever builder there is. Usage: build.sh [NAME [FURTHER BUILDER OPTIONS…]]
#
# BUILDER=docker|podman|buildah   which one (default: the first of them that works)
# PYTHON_IMAGE=…                  another base, best with its digest
# BUILD_CA=/path/bundle.crt       certificates that the build trusts; they do not go into the image
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' atom_platform/__init__.py)
revision=$(git describe --always --dirty --abbrev=12 --exclude '*')
# Times in the image are the commit's: two builds of one commit are one image.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

name=${1:-atom-platform:$version}
shift || true
options=(
    --tag "$name"
    --build-arg "VERSION=$version"
    --build-arg "REVISION=$revision"
    --build-arg "CREATED=$(date --utc --date "@$SOURCE_DATE_EPOCH" +%FT%TZ)"
    --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH"
    ${PYTHON_IMAGE:+--build-arg "PYTHON_IMAGE=$PYTHON_IMAGE"}
    "$@"
)

works() {
    case $1 in
        docker) docker info >/dev/null 2>&1 ;; # the command alone is not a daemon
        *) command -v "$1" >/dev/null ;;
    esac
}

if [[ -z ${BUILDER:-} ]]; then
    for BUILDER in docker podman buildah none; do
        works "$BUILDER" && break
    done
fi

case $BUILDER in
    docker)
        # A secret is not for this, and docker mounts nothing else: there, put BUILD_CA into the base.
        docker buildx build --output "type=docker,rewrite-timestamp=true" "${options[@]}" .
        ;;
    podman | buildah)
        # The docker format, because OCI's knows no HEALTHCHECK.
        "$BUILDER" build --format docker --timestamp "$SOURCE_DATE_EPOCH" \
            ${BUILD_CA:+--volume "$BUILD_CA:/etc/ssl/certs/ca-certificates.crt:ro"} \
            "${options[@]}" .
        ;;
    *)
        echo "no builder: install docker, podman or buildah" >&2
        exit 1
        ;;
esac
