# The tests of Go's own packages about files, with their temporary files here. Every FUSE file can be polled, so
# that TestNonpollableDeadline does not find one that cannot.
# needs go
# long
export GOFLAGS=-count=1 GOTMPDIR=$HOST
cd "$(go env GOROOT)/src"
here=$OLDPWD
go test -exec "env TMPDIR=$here GOTMPDIR=$here" -skip TestNonpollableDeadline os path/filepath io/fs archive/tar os/exec io/ioutil cmd/go/internal/lockedfile/internal/filelock 2>&1
