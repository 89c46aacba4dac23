package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// parseSize reads a size: bytes, or a number and one of k m g t p e, base 1024.
func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "kmgtpeKMGTPE")
	suffix := strings.ToLower(s[len(digits):])
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || len(suffix) > 1 {
		return 0, fmt.Errorf("size %q: want a number of bytes, or a number and one of k m g t p e", s)
	}
	if suffix != "" {
		shift := 10 * (1 + strings.Index("kmgtpe", suffix))
		if n > math.MaxInt64>>shift {
			return 0, fmt.Errorf("size %q is too large", s)
		}
		n <<= shift
	}
	return int64(n), nil
}

// sizeFlag is a pflag.Value of the size grammar.
type sizeFlag struct{ n int64 }

func (f *sizeFlag) String() string     { return strconv.FormatInt(f.n, 10) }
func (f *sizeFlag) Type() string       { return "size" }
func (f *sizeFlag) Set(s string) error { n, err := parseSize(s); f.n = n; return err }

// human prints a number of bytes as ls -h does: rounded up, with one digit behind the point
// below 10.
func human(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10)
	}
	x := float64(n)
	for _, unit := range "KMGTPE" {
		x /= 1024
		if tenths := math.Ceil(x * 10); tenths < 100 {
			return fmt.Sprintf("%.1f%c", tenths/10, unit)
		}
		if math.Ceil(x) < 1024 || unit == 'E' {
			return fmt.Sprintf("%.0f%c", math.Ceil(x), unit)
		}
	}
	return ""
}
