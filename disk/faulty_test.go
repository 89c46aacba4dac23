package disk

import "testing"

// scripted is a faulty device over under with the rules of a script.
func scripted(t testing.TB, under Device, script string) *Faulty {
	t.Helper()
	rules, err := ParseFaults(script)
	if err != nil {
		t.Fatal(err)
	}
	return NewFaulty(under, sectorSize, FaultOptions{Rules: rules})
}
