#!/usr/bin/env bash
# Makes, as root and without a registry of images, what `docker pull python:3.11-slim` would give:
# Debian with a Python 3.11. For the image's proof; see _image_proof.py beside this file.
#
# Usage: _base.sh NAME         an image called localhost/NAME in buildah's storage
set -euo pipefail
name=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# python3-distutils by name: debootstrap does not find the provider of a virtual package.
debootstrap --variant=minbase --include=ca-certificates,python3.11,python3.11-venv,python3-distutils \
  bookworm "$folder/root" > "$folder/log" 2>&1 || { tail -n 20 "$folder/log" >&2; exit 1; }
rm -rf "$folder"/root/var/cache/apt/* "$folder"/root/var/lib/apt/lists/* "$folder"/root/debootstrap
ln -sf python3.11 "$folder/root/usr/bin/python3"
ln -sf python3.11 "$folder/root/usr/bin/python"

container=$(buildah --storage-driver vfs from scratch)
buildah --storage-driver vfs add --quiet "$container" "$folder/root" / > /dev/null
buildah --storage-driver vfs commit --quiet --rm "$container" "localhost/$name" > /dev/null
