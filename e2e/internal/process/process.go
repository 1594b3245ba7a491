// Package process builds the exporter, and runs programs for tests.
package process

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"
)

// Patience is how long a test waits for what is bound to happen. A busy machine may need
// it.
const Patience = time.Minute

// Main builds the exporter, gives its path to prepare, and runs the tests of a package.
func Main(m *testing.M, prepare func(exporter string) error) {
	dir, err := os.MkdirTemp("", "factory_exporter-")
	code := 1
	if err == nil {
		var exporter string
		if exporter, err = BuildExporter(dir); err == nil {
			err = prepare(exporter)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// BuildExporter builds the exporter the way it is released, into a directory, and returns
// the path of the program. With the race detector in the tests, it is in the exporter as
// well. The tests call BuildExporter from any package of this module.
func BuildExporter(dir string) (string, error) {
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "factory_exporter")
	source, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", list, err)
	}
	program := filepath.Join(dir, "factory_exporter")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if race {
		build.Args = append(build.Args, "-race")
		build.Env = os.Environ()
	}
	build.Args = append(build.Args, ".")
	build.Dir = strings.TrimSpace(string(source))
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", build, err, output)
	}
	return program, nil
}

// Process is a program that was started.
type Process struct {
	Stdout, Stderr *Output
	// Address is the host and port that the program listens on. It is empty after Start.
	Address string

	cmd    *exec.Cmd
	exited chan struct{} // closed after the program has ended
}

// Start starts a program. Its environment is that of the test, without variables of the
// exporter, and with those in env ("NAME=value"). At the end of the test the program is
// stopped as by Stop, unless it has ended before. If the test failed, the end of its output
// is shown, and the rest is left in files.
func Start(t testing.TB, env []string, program string, args ...string) *Process {
	t.Helper()
	return StartLoggingTo(t, nil, env, program, args...)
}

// StartLoggingTo is Start for a program whose log goes to a file of the test.
func StartLoggingTo(t testing.TB, log *os.File, env []string, program string, args ...string) *Process {
	t.Helper()
	p := &Process{cmd: exec.Command(program, args...), exited: make(chan struct{})}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "FACTORY_") {
			p.cmd.Env = append(p.cmd.Env, variable)
		}
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	var stdout, stderr *os.File
	p.Stdout, stdout = newOutput(t)
	defer stdout.Close()
	p.Stderr, stderr = newOutput(t)
	defer stderr.Close()
	p.cmd.Stdout, p.cmd.Stderr = stdout, cmp.Or(log, stderr)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // ProcessState has the result
	}()
	t.Cleanup(func() {
		end := p.Stdout.end() + p.Stderr.end() // without what it writes when it stops
		if !p.Exited() {
			p.Stop(t)
		}
		if t.Failed() {
			t.Logf("%s\n%s", p.cmd, end)
		}
	})
	return p
}

// Serve starts a program as Start does, on a free port of the loopback interface, and
// waits until it serves. The program is one that has --web.listen-address and the log of
// the exporter toolkit: the exporter, Prometheus or Alertmanager.
func Serve(t testing.TB, env []string, program string, args ...string) *Process {
	t.Helper()
	p := Start(t, env, program, append([]string{"--web.listen-address=127.0.0.1:0"}, args...)...)
	Eventually(t, func() error {
		ended := p.Exited() // before the output is looked at
		if p.Address = servesOn(p.Stderr.String()); p.Address != "" {
			return nil
		}
		if ended {
			t.Fatalf("%s: %s", program, p.cmd.ProcessState)
		}
		return fmt.Errorf("%s does not serve", program)
	})
	return p
}

var address = regexp.MustCompile(`\baddress=(\S+)`)

// servesOn returns the address in the last log line before a program serves: "TLS is disabled." or "TLS is enabled.". Other lines may have other addresses, such
// as the one that the program was told.
func servesOn(log string) string {
	for line := range strings.Lines(log) {
		if found := address.FindStringSubmatch(line); found != nil && strings.Contains(line, `"TLS is `) && strings.HasSuffix(line, "\n") {
			return found[1]
		}
	}
	return ""
}

// URL is the URL of the program's first page, without the slash at its end.
func (p *Process) URL() string { return "http://" + p.Address }

// Signal sends a signal to the program.
func (p *Process) Signal(t testing.TB, signal os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Errorf("%s: %v", p.cmd.Path, err)
	}
}

// Exited reports whether the program has ended.
func (p *Process) Exited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Wait waits until the program has ended, and returns its exit code, which is -1 if a
// signal ended it. A program that does not end within Patience is killed, and fails the
// test.
func (p *Process) Wait(t testing.TB) int {
	t.Helper()
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		t.Errorf("%s does not end within %s", p.cmd.Path, Patience)
		_ = p.cmd.Process.Kill() // it may end meanwhile
		<-p.exited
	}
	return p.cmd.ProcessState.ExitCode()
}

// Stop asks the program to end with SIGTERM, and waits until it has. Another exit code
// than 0 fails the test.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	if code := p.Wait(t); code != 0 {
		t.Errorf("%s: %s", p.cmd.Path, p.cmd.ProcessState)
	}
}

// Usage is what a running program takes up. It is read from /proc, and so known on Linux
// alone.
type Usage struct {
	CPU                    time.Duration // in user and system mode, since the start
	Resident, PeakResident uint64        // bytes of memory
	Files                  int           // open file descriptors
}

// Usage returns what the program takes up now.
func (p *Process) Usage(t testing.TB) Usage {
	t.Helper()
	proc, err := procfs.NewProc(p.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	stat, err1 := proc.Stat()
	status, err2 := proc.NewStatus()
	files, err3 := proc.FileDescriptorsLen()
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return Usage{
		CPU:          time.Duration(stat.CPUTime() * float64(time.Second)),
		Resident:     status.VmRSS,
		PeakResident: status.VmHWM,
		Files:        files,
	}
}

// Output is a file that a program writes to. What the program wrote before it did
// something else is there by then, which would not be so with a pipe.
type Output struct{ path string }

// newOutput returns an Output, and the file to give to the program and to close then.
func newOutput(t testing.TB) (*Output, *os.File) {
	t.Helper()
	file, err := os.CreateTemp("", "factory_exporter-output-") //nolint:usetesting // it is kept if the test fails
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			os.Remove(file.Name())
		}
	})
	return &Output{file.Name()}, file
}

// end is the last lines of the output, and where all of it is. It is empty if there is none.
func (o *Output) end() string {
	const most = 20
	lines := slices.Collect(strings.Lines(o.String()))
	if len(lines) == 0 {
		return ""
	}
	last := lines[max(0, len(lines)-most):]
	return fmt.Sprintf("the last %d of %d lines of %s:\n%s", len(last), len(lines), o.path, strings.Join(last, ""))
}

// String returns all of the output.
func (o *Output) String() string {
	text, err := os.ReadFile(o.path)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Eventually asks again and again until check returns nil. It ends the test with the last
// error if that takes longer than Patience.
func Eventually(t testing.TB, check func() error) {
	t.Helper()
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-timer.C:
			t.Fatalf("not within %s: %v", Patience, err)
		}
	}
}
