package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"factory_exporter/factoryapi/fakeapi"
)

// users runs the command as a process, with a file as its stderr.
func users(t *testing.T, stderr *os.File, args ...string) (stdout string, exit int) {
	t.Helper()
	command := exec.Command(program, append([]string{"users"}, args...)...) // which scripts call as well
	command.Stderr = stderr
	out, err := command.Output()
	if err != nil && command.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), command.ProcessState.ExitCode()
}

func TestUsersShowProgressOnATerminalOnly(t *testing.T) {
	api, server := usageAPI(t, 350)
	args := withKey(t, "--factory.url="+api, "--factory.max-retries=0", "--format=csv")
	const begin, erased = "\r100 members read\x1b[K", "\r\x1b[K"

	terminal, shown := openTerminal(t)
	stdout, exit := users(t, terminal, args...)
	if got := shown(); exit != 0 || !strings.HasPrefix(got, begin) || !strings.Contains(got, "350 members read") || !strings.HasSuffix(got, erased) {
		t.Errorf("exit %d, the terminal shows %q", exit, got)
	}
	if strings.Count(stdout, "\n") != 351 || strings.Contains(stdout, "members read") {
		t.Errorf("stdout has %d lines", strings.Count(stdout, "\n"))
	}

	server.Inject(fakeapi.Fault{Page: 3, Serve: fakeapi.Status(403)})
	terminal, shown = openTerminal(t)
	stdout, exit = users(t, terminal, args...)
	if got := shown(); exit != 1 || stdout != "" || !strings.Contains(got, "200 members read") || !strings.Contains(got, erased+"factory_exporter: error: cannot list the members") {
		t.Errorf("exit %d, stdout %q, the terminal shows %q", exit, stdout, got)
	}

	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_, exit = users(t, file, args...)
	text, err := os.ReadFile(file.Name())
	if err != nil || exit != 1 || strings.Count(string(text), "\n") != 1 || !strings.HasPrefix(string(text), "factory_exporter: error: ") {
		t.Errorf("exit %d, error %v, stderr %q", exit, err, text)
	}
}

// openTerminal returns a terminal, and a function that closes it and returns what it
// was shown.
func openTerminal(t *testing.T) (terminal *os.File, shown func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var number, unlock uint32
	control := func(request uintptr, value *uint32) {
		raw, err := master.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var errno syscall.Errno
		if err := raw.Control(func(fd uintptr) {
			_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(value)))
		}); err != nil || errno != 0 {
			t.Fatal(err, errno)
		}
	}
	control(syscall.TIOCSPTLCK, &unlock)
	control(syscall.TIOCGPTN, &number)
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	text := make(chan string)
	go func() {
		all, _ := io.ReadAll(master) // ends with an error when the terminal is closed
		text <- string(all)
	}()
	return terminal, func() string {
		terminal.Close()
		got := <-text
		master.Close()
		return got
	}
}
