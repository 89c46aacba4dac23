package layout

// Time is a moment: seconds since 1970 and nanoseconds (0 to 999,999,999).
type Time struct {
	Sec  int64
	Nsec uint32
}
