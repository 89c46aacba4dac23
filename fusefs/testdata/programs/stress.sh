# stress-ng: each stressor of file systems by itself, verifying. What fails on the host too is no fault of ours.
# needs stress-ng
# long
bad=0
for s in $(stress-ng --class 'filesystem?' 2>&1 | sed 's/.*stressors: //'); do
	# These are about the machine, not about a directory: sync(2), and events of every mount, which also wait for us.
	case $s in bind-mount | binderfs | fanotify | io | iomix) continue ;; esac
	try() { timeout -k 5 120 stress-ng --$s 1 -t 1 --verify --temp-path "$1" --oom-avoid >"$HOST/out" 2>&1; }
	if try "$PWD"; then continue; fi
	cp "$HOST/out" "$HOST/mounted"
	mkdir -p "$HOST/tmp"
	if try "$HOST/tmp"; then echo "$s:"; cat "$HOST/mounted"; bad=1; else echo "$s fails on the host too"; fi
done
test -z "$(ls -A .)" || { ls -lA .; bad=1; }
exit $bad
