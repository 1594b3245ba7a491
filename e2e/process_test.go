package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that is bound to happen, on a busy machine.
const patience = time.Minute

// eventually asks again and again until check returns nil, and fails the test with its last error if that
// takes too long.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("not within %s: %v", patience, err)
		}
	}
}

// process is a program that runs.
type process struct {
	name   string
	cmd    *exec.Cmd
	log    logBuffer
	exited chan struct{} // closed when it has
}

// start starts a program. At the end of the test it is killed, and its log shown if the test failed.
func start(t *testing.T, env []string, program string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program, args...), exited: make(chan struct{})}
	p.name = p.cmd.Args[0]
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // ProcessState tells
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.exited
		if t.Failed() {
			t.Logf("%s:\n%s", p.cmd, p.log.String())
		}
	})
	return p
}

var listeningOn = regexp.MustCompile(`msg="Listening on".* address=(\S+)`)

// address waits until the program listens, and returns where.
func (p *process) address(t *testing.T) string {
	t.Helper()
	var address string
	eventually(t, func() error {
		select {
		case <-p.exited:
			t.Fatalf("%s: %s", p.name, p.cmd.ProcessState)
		default:
		}
		found := listeningOn.FindStringSubmatch(p.log.String())
		if found == nil {
			return fmt.Errorf("%s does not listen", p.name)
		}
		address = found[1]
		return nil
	})
	return address
}

// stop asks the program to end, and waits until it has, which must be a success.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatalf("%s does not end", p.name)
	}
	if !p.cmd.ProcessState.Success() {
		t.Fatalf("%s: %s", p.name, p.cmd.ProcessState)
	}
}

// logBuffer is a buffer that may be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
