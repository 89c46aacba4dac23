# The tests of Go's own packages about files, with their temporary files here.
# needs go
# long
export TMPDIR=$PWD GOTMPDIR=$HOST GOFLAGS=-count=1 GOCACHE=$HOST/cache
cd "$(go env GOROOT)/src"
go test os path/filepath io/fs archive/tar archive/zip os/exec io/ioutil cmd/go/internal/lockedfile/internal/filelock -skip 'TestNonpollableDeadline' 2>&1
