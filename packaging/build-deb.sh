#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Builds the Debian packages walfs and libwal-dev from this source tree:
#
#	build-deb.sh DIRECTORY		puts them there
#
# It works on a copy, in which packaging/debian stands where dpkg-buildpackage looks for it; the tree stays as it is. Needs the packages build-essential, debhelper, and
# those that packaging/debian/control names. DEB_BUILD_OPTIONS=nocheck leaves the unit tests out.
set -eu

output=${1:?usage: build-deb.sh DIRECTORY}
top=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$output"
output=$(cd "$output" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/walfs"
tar -C "$top" --exclude=./build --exclude=./.git -cf - . | tar -C "$work/walfs" -xf -
cp -r "$top/packaging/debian" "$work/walfs/debian"
cd "$work/walfs"
dpkg-buildpackage -us -uc -b
cp "$work"/*.deb "$work"/*.buildinfo "$work"/*.changes "$output/"
