package userlist_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
	"factory_exporter/internal/userlist"
)

func TestAFileIsReplacedWhenTheListIsComplete(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "list.csv"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("old\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	api := serve(fakeapi.Generate(150, 1, time.Now())...)
	api.Inject(fakeapi.Fault{Page: 2, Times: 1, Serve: fakeapi.Status(403)})
	for _, lines := range []int{1, 151} { // the first time it fails
		stdout, stderr, err := list(t, api, userlist.Options{Format: "csv", Output: link})
		text, _ := os.ReadFile(file)
		if (err == nil) != (lines > 1) || stdout != "" || stderr != "" || bytes.Count(text, []byte("\n")) != lines {
			t.Errorf("error %v, stdout %q, stderr %q, the file has %d lines, want %d", err, stdout, stderr, bytes.Count(text, []byte("\n")), lines)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
			t.Errorf("beside the file and the link there is something else: %v, error %v", entries, err)
		}
	}
	info, err := os.Stat(file)
	if target, _ := os.Readlink(link); err != nil || info.Mode() != 0o600 || target != file {
		t.Errorf("mode %v, the link leads to %q, error %v", info.Mode(), target, err)
	}
}

func TestAFileThatCannotBeReplacedIsRefusedBeforeAnythingIsAsked(t *testing.T) {
	dir := t.TempDir()
	dangling := filepath.Join(dir, "link")
	if err := os.Symlink("nowhere", dangling); err != nil {
		t.Fatal(err)
	}
	api := serve()
	for path, want := range map[string]string{
		dir:                              "is a directory",
		dangling:                         "leads nowhere",
		"/dev/null":                      "not a regular file",
		filepath.Join(dir, "no", "list"): "no such file",
	} {
		_, _, err := list(t, api, userlist.Options{Output: path})
		if err == nil || !strings.Contains(err.Error(), "--output="+path) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q and %q", err, path, want)
		}
	}
	if requests := api.Stats().Requests; requests > 0 {
		t.Errorf("%d requests", requests)
	}
}

func TestATerminalShowsHowFarItIs(t *testing.T) {
	api := serve(fakeapi.Generate(350, 1, time.Now())...)
	client := harness.Client(t, api, factoryapi.Config{})
	var list strings.Builder
	print := func(options userlist.Options) (shown string, err error) {
		terminal, text := openTerminal(t)
		list.Reset()
		err = newList(t, options).Print(t.Context(), client, nil, &list, terminal)
		return text(), err
	}
	got, err := print(userlist.Options{NeverSignedIn: true, Format: "json"})
	last := fmt.Sprintf("\r\x1b[K%d of 350 members\r\n", strings.Count(list.String(), "\n"))
	if err != nil || !strings.HasPrefix(got, "\r100 members read\x1b[K") || !strings.Contains(got, "350 members read") || !strings.HasSuffix(got, last) {
		t.Errorf("error %v, the terminal shows %q", err, got)
	}
	if got, err := print(userlist.Options{Quiet: true}); err != nil || got != "" {
		t.Errorf("error %v, the terminal shows %q beside log lines", err, got)
	}
	api.Inject(fakeapi.Fault{Page: 3, Serve: fakeapi.Status(403)})
	if got, err := print(userlist.Options{}); err == nil || !strings.HasSuffix(got, "200 members read\x1b[K\r\x1b[K") {
		t.Errorf("error %v, the terminal shows %q", err, got)
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
