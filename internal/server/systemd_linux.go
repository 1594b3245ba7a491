package server

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// CheckSockets returns an error if a descriptor that systemd passed is not a socket that
// connections can be accepted on. exporter-toolkit takes it for one.
func CheckSockets() error {
	const first = 3 // SD_LISTEN_FDS_START
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil // they are for another process
	}
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS")) // exporter-toolkit says that there is none
	for fd := first; fd < first+n; fd++ {
		kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
		accepts, _ := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN) // as the first error
		if err != nil || kind != syscall.SOCK_STREAM || accepts == 0 {
			return fmt.Errorf("descriptor %d is not a listening stream socket: the socket unit needs ListenStream= and Accept=no", fd)
		}
	}
	return nil
}
