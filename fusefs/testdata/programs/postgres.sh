# PostgreSQL makes a cluster, works on it, is killed, recovers, and checks itself.
# needs su
# long
PATH=$PATH:$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)
for p in initdb pg_ctl pgbench pg_amcheck psql; do command -v $p >/dev/null || { echo "skip: no $p"; exit 0; }; done
id postgres >/dev/null 2>&1 || { echo "skip: no user postgres"; exit 0; }
dir=$PWD
mkdir db sock
chown postgres db sock
chmod 700 db
as() { su postgres -s /bin/sh -c "cd $dir && PATH=$PATH && export PGHOST=$dir/sock PGDATA=$dir/db PGDATABASE=postgres && $1"; }
start="pg_ctl -w -t 120 -l db/log -o \"-c listen_addresses='' -c unix_socket_directories=$dir/sock -c shared_buffers=16MB\" start >/dev/null"
trap 'as "pg_ctl -m immediate stop" >/dev/null 2>&1 || true' EXIT
as "initdb --data-checksums -A trust >/dev/null"
as "$start"
as "pgbench -q -i -s 2 2>/dev/null"
as "pgbench -n -c 4 -j 2 -T ${SECONDS_EACH:-3} >/dev/null 2>&1"
as "(pgbench -n -c 4 -j 2 -T 60 >/dev/null 2>&1 &)"
as "pgbench -n -c 2 -T 2 >/dev/null 2>&1" || true
kill -9 $(head -n 1 db/postmaster.pid)
# The others of it go when they notice; the shared memory is free then.
as "for i in \$(seq 60); do $start && exit 0; rm -f db/postmaster.pid; sleep 1; done; cat db/log; exit 1"
as "psql -v ON_ERROR_STOP=1 -qAtc 'create extension amcheck' -c 'vacuum full' -c 'reindex database postgres' -c 'checkpoint'"
as "pg_amcheck --heapallindexed --parent-check -d postgres"
test "$(as "psql -qAtc 'select (select sum(abalance) from pgbench_accounts)=(select sum(bbalance) from pgbench_branches) and (select sum(tbalance) from pgbench_tellers)=(select sum(delta) from pgbench_history)'")" = t
as "pg_ctl -w -m fast stop >/dev/null"
as "pg_checksums --check >/dev/null"
