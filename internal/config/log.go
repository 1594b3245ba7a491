package config

import (
	"bytes"
	"io"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"

	kitlog "github.com/go-kit/log"
	sloggokit "github.com/tjhop/slog-gokit"

	"factory_exporter/internal/apikey"
	"factory_exporter/internal/server"
)

// NewLogger makes the one logger of the program, which writes to w. The bridge to slog
// adds time and caller itself, and filters by level. Go's own log goes to it as well.
func (c *Config) NewLogger(w io.Writer) *slog.Logger {
	newKitLogger := kitlog.NewLogfmtLogger
	if c.logFormat == "json" {
		newKitLogger = kitlog.NewJSONLogger
	}
	logger := slog.New(sloggokit.NewGoKitHandler(newKitLogger(newLogWriter(w)), c.logLevel))
	log.SetFlags(0)
	log.SetOutput(server.LineWriter(func(line string) {
		text, _, _ := strings.Cut(line, `"`) // net/http quotes what a server sends that nobody asked for
		logger.Debug("Go's libraries report", "text", text)
	}))
	return logger
}

// logTimeout is how long a line may take to be written until lines are lost.
const logTimeout = time.Second

// logWriter writes log lines without API keys, one line at a time. While whoever reads
// the log does not take a line, further lines are lost, so that the log stops nothing.
type logWriter struct {
	w io.Writer

	mu      sync.Mutex
	written chan struct{} // closed when the line before was written
}

func newLogWriter(w io.Writer) *logWriter {
	l := &logWriter{w: w, written: make(chan struct{})}
	close(l.written)
	return l
}

// Write writes one line. It never fails.
func (l *logWriter) Write(line []byte) (int, error) {
	n := len(line)
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.written:
	default:
		return n, nil
	}
	line = apikey.Hide(bytes.Clone(line)) // the caller uses its own again
	written := make(chan struct{})
	l.written = written
	go func() {
		defer close(written)
		_, _ = l.w.Write(line) // a reader that has gone loses it
	}()
	select {
	case <-written:
	case <-time.After(logTimeout):
	}
	return n, nil
}
