// Package holdfast is the root of the module; it holds no code, only the tests that speak
// of the whole: the import policy and the numbering of invariants. The program is in
// cmd/holdfast, the library in volume.
package holdfast
