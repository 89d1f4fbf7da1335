#!/usr/bin/env bash
# Make a stand-in for python:3.11-slim-bookworm where no image registry can be reached: a minimal
# Debian with its own Python, from Debian's packages. Needs root. Usage: base.sh NAME
set -euo pipefail
name=$1

container=$(buildah from scratch)
trap 'buildah rm "$container" >/dev/null' EXIT
root=$(buildah mount "$container")

debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$root" >/dev/null

# What Debian's slim images leave out too.
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* \
    "$root"/var/cache/debconf/*-old "$root"/var/cache/ldconfig/*
find "$root"/usr/share/doc -mindepth 2 ! -name copyright ! -type d -delete
rm -rf "$root"/usr/share/{info,locale,man}/*
# Devices are the runtime's.
rm -rf "$root"/dev/*
# The machine that builds is nobody's business.
: >"$root"/etc/hostname
: >"$root"/etc/resolv.conf

buildah config --cmd /usr/bin/python3 "$container"
buildah commit --quiet "$container" "$name"
