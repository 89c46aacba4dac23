//go:build !linux

package transfer

import (
	"errors"
	"os"
	"time"

	"holdfast/volume"
)

func attrOf(info os.FileInfo) hostAttr { return plainAttr(info) }

func (x *exporter) linkTimes(string, time.Time, time.Time) error { return nil }

func (x *exporter) mknod(volume.Attr, string) error { return errors.ErrUnsupported }
