//go:build !race

package process

// Race reports whether the tests and the exporter are built with the race detector.
const Race = false
