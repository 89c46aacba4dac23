#!/usr/bin/env bash
# The main job on real input: an image from a directory tree, listed, checked, and a rename explored over every crash, three ways.
# usage: demo.sh HOLDFAST
set -euo pipefail
holdfast=$(realpath "$1")
here=$(cd "$(dirname "$0")/../.." && pwd)
tree=$(go env GOROOT)/src/archive
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
run() {
	say "holdfast $*"
	"$holdfast" "$@"
}
cd "$dir"
cp -a "$tree" archive
printf 'An image from %s files of the Go source tree:\n' "$(find archive -type f | wc -l)"
run mkfs --from archive archive.img
run ls -l archive.img:/tar
run tree -L 1 archive.img
run fsck -fn archive.img
run mv archive.img:/tar/reader.go archive.img:/zip/
say "holdfast cat archive.img:/zip/reader.go | cmp - archive/tar/reader.go"
"$holdfast" cat archive.img:/zip/reader.go | cmp - archive/tar/reader.go && echo "the same bytes"
cp "$here/testdata/workloads/rename_across.hf" .
say "cat rename_across.hf"
cat rename_across.hf
run crash explore rename_across.hf
cp "$here/testdata/workloads/rename_once.hf" .
printf '\nThe same kind of rename three ways: what a crash at each point may leave.\n'
run crash compare rename_once.hf
