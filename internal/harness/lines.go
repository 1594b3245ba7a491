package harness

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Lines is a slog.Handler that keeps all lines.
type Lines struct {
	mu    sync.Mutex
	lines []string // LEVEL message key=value...
}

// Logger returns a logger that writes to them.
func (l *Lines) Logger() *slog.Logger { return slog.New(l) }

// Enabled implements slog.Handler.
func (l *Lines) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs is there for slog.Handler.
func (l *Lines) WithAttrs([]slog.Attr) slog.Handler { panic("not used") }

// WithGroup is there for slog.Handler.
func (l *Lines) WithGroup(string) slog.Handler { panic("not used") }

// Handle implements slog.Handler.
func (l *Lines) Handle(_ context.Context, record slog.Record) error {
	line := record.Level.String() + " " + record.Message
	record.Attrs(func(attr slog.Attr) bool {
		line += " " + attr.String()
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// All returns the lines so far.
func (l *Lines) All() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// Told returns those that are not for debugging.
func (l *Lines) Told() []string {
	return slices.DeleteFunc(l.All(), func(line string) bool { return strings.HasPrefix(line, "DEBUG") })
}

// Check fails unless these are parts of the lines that Told returns, one of each.
func (l *Lines) Check(t testing.TB, parts ...string) {
	t.Helper()
	told := l.Told()
	ok := len(told) == len(parts)
	for i := range parts {
		ok = ok && strings.Contains(told[i], parts[i])
	}
	if !ok {
		t.Errorf("logs %q, want lines about %q", told, parts)
	}
}
