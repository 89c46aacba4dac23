# stress-ng: every stressor of file systems, one after the other, verifying.
# needs stress-ng
# long
stress-ng --class filesystem --sequential 1 -t 1 --verify --temp-path "$PWD" --timestamp --metrics-brief --oom-avoid 2>&1
