#!/bin/sh
# Explore a campaign in shards, as many at once as there are cores, and merge what they found.
# usage: campaign.sh HOLDFAST DIR SHARDS [option of crash campaign]...
# A shard whose result is in DIR is not run again: after a stop, the same command goes on. Another
# program, number of shards or option begins anew.
set -eu
holdfast=$1 dir=$2 shards=$3
shift 3
dir=$dir/$(printf '%s\n' "$shards" "$@" | cat - "$holdfast" | cksum | cut -d ' ' -f 1)
mkdir -p "$dir"
one='
	holdfast=$1 dir=$2 shards=$3 i=$4
	shift 4
	[ ! -s "$dir/$i.json" ] || exit 0
	status=0
	"$holdfast" crash campaign --json -j 1 --shard "$i/$shards" --out "$dir/violations" "$@" >"$dir/$i.part" || status=$?
	case $status in 0 | 1) mv "$dir/$i.part" "$dir/$i.json" ;; *) exit "$status" ;; esac
'
cores=$(getconf _NPROCESSORS_ONLN)
# What a shard that failed or was stopped lacks is for merge to say.
if command -v parallel >/dev/null 2>&1 && parallel --version 2>/dev/null | grep -q '^GNU parallel'; then
	seq "$shards" | ONE=$one parallel --bar -j "$cores" --env ONE -q sh -c 'eval "$ONE"' shard "$holdfast" "$dir" "$shards" '{}' "$@" || true
else
	seq "$shards" | xargs -P "$cores" -I '{}' sh -c "$one" shard "$holdfast" "$dir" "$shards" '{}' "$@" || true
fi
cat "$dir"/[0-9]*.json | "$holdfast" crash merge -
