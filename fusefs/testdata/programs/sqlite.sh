# SQLite in each of its journal modes, with its own locks between processes, and its check of everything.
# needs sqlite3
for mode in delete truncate persist memory off wal; do
	db=$mode.db
	test "$(sqlite3 $db "pragma journal_mode=$mode")" = $mode
	sqlite3 $db 'create table t(k integer primary key, v blob); create index i on t(v)'
	for p in 1 2 3 4; do
		for i in $(seq 4); do
			sqlite3 -cmd '.timeout 60000' $db "pragma journal_mode=$mode; begin immediate;
				with recursive c(n) as (select 1 union all select n+1 from c where n<50) insert into t(v) select randomblob(300) from c; commit" >/dev/null
		done &
	done
	for p in $(jobs -p); do wait $p; done
	test "$(sqlite3 $db 'select count(*) from t')" = 800
	# Without a journal a rollback is not defined.
	test $mode = off || sqlite3 $db "pragma journal_mode=$mode; pragma mmap_size=100000000; begin; update t set v=randomblob(2000) where k%3=0; rollback" >/dev/null
	sqlite3 $db "pragma journal_mode=$mode; delete from t where k%2=0; vacuum" >/dev/null
	test "$(sqlite3 $db 'pragma integrity_check')" = ok
	sqlite3 $db .dump | sqlite3 "$HOST/$mode.db"
	test "$(sqlite3 $db 'select count(*) from t')" = 400
done
