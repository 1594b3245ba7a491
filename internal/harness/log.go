package harness

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Log keeps what a program or a logger writes. It can be read meanwhile.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Logger returns a logger that writes lines of all levels.
func (l *Log) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Write never fails.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// String returns what was written since the last Reset.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Reset forgets what was written.
func (l *Log) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

// Check fails unless these are parts of the logger's lines that are not for debugging, one
// of each.
func (l *Log) Check(t testing.TB, parts ...string) {
	t.Helper()
	debug := func(line string) bool { return strings.Contains(line, " level=DEBUG ") }
	told := slices.DeleteFunc(slices.Collect(strings.Lines(l.String())), debug)
	if !slices.EqualFunc(told, parts, strings.Contains) {
		t.Errorf("logs %q, want lines about %q", told, parts)
	}
}

// Writer is an [io.Writer] that is one function.
type Writer func([]byte) (int, error)

func (w Writer) Write(b []byte) (int, error) { return w(b) }
