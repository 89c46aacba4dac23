package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// dateFormats are what parseDate takes, in the local zone where none is said.
var dateFormats = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05.999999999 -0700", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999 MST",
	"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02", "20060102",
	time.RFC1123Z, time.RFC1123, time.UnixDate, time.ANSIC,
}

// parseDate reads a time as touch -d takes it: now, @SECONDS[.FRACTION], or one of dateFormats.
func parseDate(s string, now time.Time) (time.Time, error) {
	if s == "now" {
		return now, nil
	}
	if text, ok := strings.CutPrefix(s, "@"); ok {
		whole, frac, _ := strings.Cut(text, ".")
		sec, err := strconv.ParseInt(whole, 10, 64)
		digits := (frac + "000000000")[:9]
		nsec, ferr := strconv.ParseUint(digits, 10, 32)
		if err == nil && ferr == nil && len(frac) <= 9 {
			if strings.HasPrefix(whole, "-") && nsec > 0 {
				sec, nsec = sec-1, 1e9-nsec
			}
			return time.Unix(sec, int64(nsec)), nil
		}
	}
	for _, f := range dateFormats {
		if t, err := time.ParseInLocation(f, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("not a time: want now, @SECONDS or YYYY-MM-DD [HH:MM[:SS]] [ZONE]")
}

// parseStamp reads [[CC]YY]MMDDhhmm[.ss], as touch -t takes it.
func parseStamp(s string, now time.Time) (time.Time, error) {
	digits, sec, dot := strings.Cut(s, ".")
	bad := fmt.Errorf("not a time: want [[CC]YY]MMDDhhmm[.ss]")
	if dot && len(sec) != 2 || strings.Trim(digits+sec, "0123456789") != "" {
		return time.Time{}, bad
	}
	switch len(digits) {
	case 8:
		digits = now.Format("2006") + digits
	case 10: // POSIX: 69 to 99 are of the last century
		century := "20"
		if digits >= "69" {
			century = "19"
		}
		digits = century + digits
	}
	if !dot {
		sec = "00"
	}
	t, err := time.ParseInLocation("20060102150405", digits+sec, time.Local)
	if err != nil || len(digits) != 12 {
		return time.Time{}, bad
	}
	return t, nil
}
