#!/usr/bin/env bash
# Time the making of an image from a directory, beside the tools that are installed: tar, cp,
# mke2fs -d, mksquashfs, go-diskfs.
# usage: benchimage.sh HOLDFAST [RUNS]
#
# Three sources: the Go tree, 100,000 files of 4 KiB, one file of 2 GiB. The tools take turns, RUNS
# times (5), each time beginning with another one: who comes first was at a disadvantage. The slow ones,
# mksquashfs and go-diskfs, run once, and not on the large file. The source is in the page cache. holdfast and mke2fs end when the image is on the
# medium, the others before: "synced" counts the time until it is, for all. Medians.
set -euo pipefail
holdfast=$(realpath "$1") runs=${2:-5}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
diskfs=$work/go-diskfs
(cd "$here/../../testdata/bench/go-diskfs" && go build -o "$diskfs" . 2>/dev/null) || echo "go-diskfs: cannot be built, left out"

# once NAME COMMAND... appends seconds, seconds until synced, KiB of memory and size of the image.
once() {
	local name=$1
	shift
	rm -rf image
	sync
	local t0=$EPOCHREALTIME
	if ! /usr/bin/time -o peak -f %M timeout 300 "$@" >log 2>&1; then
		echo "$name: $(tail -n 1 log)" >&2
		return
	fi
	local t1=$EPOCHREALTIME
	sync -f .
	local t2=$EPOCHREALTIME
	echo "$name $(awk "BEGIN { print $t1 - $t0, $t2 - $t0 }") $(tail -n 1 peak) $(du -sB1 image | cut -f 1)" >>times
}

# tool NAME SOURCE MIB makes an image once.
tool() {
	local source=$2
	case $1 in
	holdfast) once holdfast "$holdfast" mkfs -q --from "$source" image ;;
	tar) once tar tar cf image "$source" ;;
	cp) once cp cp "$source/file" image ;;
	mke2fs) once mke2fs mke2fs -q -t ext4 -N 120000 -d "$source" image "${3}M" ;;
	mksquashfs) once mksquashfs mksquashfs "$source" image -quiet -no-progress ;;
	go-diskfs) once go-diskfs "$diskfs" "$source" image "$3" ;;
	esac
}

# beside SOURCE MIB COMPARED runs every tool on the source; ratios are to COMPARED.
beside() {
	local source=$1 mib=$2 base=$3
	tar cf - "$source" 2>/dev/null | cat >/dev/null # warm
	: >times
	local tools=(holdfast tar) n turn k
	[ "$base" != cp ] || tools+=(cp)
	! command -v mke2fs >/dev/null || tools+=(mke2fs)
	n=${#tools[@]}
	for turn in $(seq "$runs"); do
		for k in $(seq "$n"); do
			tool "${tools[(turn + k) % n]}" "$source" "$mib"
		done
	done
	if [ "$base" != cp ]; then
		! command -v mksquashfs >/dev/null || tool mksquashfs "$source" "$mib"
		[ ! -x "$diskfs" ] || tool go-diskfs "$source" "$mib"
	fi
	printf '%-12s %8s %8s %8s %9s %9s\n' "" seconds synced "x $base" "peak MiB" "image MB"
	for name in holdfast "$base" $(cut -d ' ' -f 1 times | sort -u); do
		case " ${shown:-} " in *" $name "*) continue ;; esac
		shown="${shown:-} $name"
		grep "^$name " times | sort -n -k 2 | awk -v name="$name" -v base="$(median "$base")" '
			{ s[NR] = $2; d[NR] = $3; m = $4 > m ? $4 : m; z = $5 }
			END { if (NR) { i = int((NR + 1) / 2); printf "%-12s %8.2f %8.2f %8.2f %9.0f %9.0f\n", name, s[i], d[i], s[i] / base, m / 1024, z / 1e6 } }'
	done
	shown=
}

median() { grep "^$1 " times | cut -d ' ' -f 2 | sort -n | awk '{ s[NR] = $1 } END { print s[int((NR + 1) / 2)] }'; }

goroot=$(go env GOROOT)
echo "the Go tree: $(find "$goroot" -type f | wc -l) files"
beside "$goroot" 600 tar
mkdir small
for d in $(seq 100); do
	mkdir "small/$d"
	head -c 4096000 /dev/urandom | split -a 4 -d -b 4096 - "small/$d/file"
done
echo "100,000 files of 4 KiB"
beside small 1500 tar
rm -rf small
mkdir large
head -c 2G /dev/urandom >large/file
echo "one file of 2 GiB"
beside large 2300 cp
