# tar, cpio and rsync bring a tree with everything that a file can have here and back, without a difference.
# needs tar cpio rsync setfattr getfattr setfacl getfacl diff go
src=$HOST/src
mkdir -p "$src"
cp -a "$(go env GOROOT)/src/archive" "$src/tree"
cd "$src"
ln tree/tar/common.go hard
ln -s tree/tar soft
ln -s /nowhere dangling
mkfifo fifo
mknod zero c 1 5
mknod disk b 7 300
printf 'x' >"odd
name"
truncate -s 10M sparse; printf end >>sparse
mkdir -m 2775 setgid; mkdir -m 1777 sticky
cp /bin/true suid; chown 5:6 suid; chmod 4755 suid
setfattr -n user.note -v hello tree/tar/reader.go
setfattr -n trusted.note -v 0x00ff00 tree
setfacl -m u:7:rw,g:8:r hard
setfacl -d -m u:7:rwx setgid
# rsync does not set the time of a directory that is right to the second.
find . -depth -exec touch -h -d '2020-02-03 04:05:06.789012345' {} +
touch -d '1969-01-01 00:00:00.123456789' tree/tar/writer.go
touch -h -d '2100-01-01 00:00:00.000000001' soft
cd - >/dev/null

# What two trees differ in, names, types, owners, modes, times, links, devices, content, attributes, ACLs.
list() {
	(cd "$1" && find . ! -type d -printf '%p %y %m %U:%G %n %s %T@ %l\n' -o -printf '%p %y %m %U:%G %T@\n' | LC_ALL=C sort
	find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
	find . -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m - -e hex --absolute-names
	find . ! -type l -print0 | LC_ALL=C sort -z | xargs -0 getfacl -n --absolute-names; stat -c '%t:%T' zero disk)
}
same() { list "$1" >"$HOST/1"; list "$2" >"$HOST/2"; diff "$HOST/1" "$HOST/2"; }

rsync -aHAX --numeric-ids "$src/" rsynced/
same "$src" rsynced
rsync -aHAX --numeric-ids rsynced/ "$HOST/rsynced/"
same "$src" "$HOST/rsynced"
test -z "$(rsync -aHAXnic --numeric-ids --delete "$src/" rsynced/)"
echo more >>rsynced/tree/tar/strconv.go
rsync -aHAX --inplace --numeric-ids --delete "$src/" rsynced/
same "$src" rsynced

tar -C "$src" --xattrs --xattrs-include='*' --acls --numeric-owner -cf a.tar .
mkdir tarred
tar -C tarred --xattrs --xattrs-include='*' --acls --numeric-owner -xpf a.tar
same "$src" tarred
tar -C tarred --xattrs --xattrs-include='*' --acls --numeric-owner -cf "$HOST/b.tar" .
mkdir "$HOST/tarred"
tar -C "$HOST/tarred" --xattrs --xattrs-include='*' --acls --numeric-owner -xpf "$HOST/b.tar"
same "$src" "$HOST/tarred"
tar -C "$src" -Scf s.tar sparse
tar -df s.tar -C "$src"

# cpio knows no attributes, whole seconds only, and no times of links.
plain() { (cd "$1" && find . -type l -printf '%p %l\n' -o ! -type d -printf '%p %y %m %U:%G %n %s %Ts %l\n' -o -printf '%p %y %m %U:%G\n' | sed 's/\.[0-9]*$//' | LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum); }
touch -h -d 2001-01-01 "$src/tree/tar/writer.go" "$src/soft"
(cd "$src" && find . -depth -print0 | cpio -0 --quiet -o -H newc) >a.cpio
mkdir cpioed
(cd cpioed && cpio --quiet -idm --no-preserve-owner <../a.cpio; cpio --quiet -idmu <../a.cpio)
plain "$src" | grep -v sparse >"$HOST/1"; plain cpioed | grep -v sparse >"$HOST/2"; diff "$HOST/1" "$HOST/2"
cmp "$src/sparse" cpioed/sparse
(cd cpioed && find . -depth -print0 | cpio -0 --quiet -pdm "$PWD/../passed")
plain cpioed >"$HOST/1"; plain passed >"$HOST/2"; diff "$HOST/1" "$HOST/2"
rm -rf rsynced tarred cpioed passed
