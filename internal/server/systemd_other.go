//go:build !linux

package server

// CheckSockets has nothing to check where there is no systemd.
func CheckSockets() error { return nil }
