# fio writes in every way that it knows here, and verifies what it reads.
# needs fio
job() { fio --name=j --filename=f --size=8m --verify=crc32c --verify_fatal=1 --do_verify=1 --output="$HOST/fio" "$@" || { cat "$HOST/fio"; exit 1; }; rm f; }
job --rw=write --bs=128k
job --rw=randwrite --bs=4k --fsync=64
job --rw=randwrite --bs=512-64k --bsrange=512-64k
job --rw=randwrite --bs=4k --direct=1
job --rw=randwrite --bs=4k --ioengine=mmap
job --rw=randwrite --bs=8k --ioengine=pvsync2 --numjobs=1 --sync=1 --size=1m
job --rw=randwrite --bs=16k --ioengine=posixaio --iodepth=8
job --rw=randwrite --bs=16k --ioengine=io_uring --iodepth=16
job --rw=write --bs=64k --fallocate=native
job --rw=randwrite --bs=4k --fdatasync=16 --overwrite=1
fio --name=many --directory=. --numjobs=4 --nrfiles=20 --size=4m --rw=randwrite --bs=4k --verify=md5 --verify_fatal=1 --output="$HOST/fio" || { cat "$HOST/fio"; exit 1; }
job --rw=randwrite --bs=16k --ioengine=libaio --direct=1 --iodepth=16
