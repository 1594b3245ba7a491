//go:build !race

package process

// race reports whether the tests and the exporter are built with the race detector.
const race = false
