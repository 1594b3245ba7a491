package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	kitlog "github.com/go-kit/log"
	"github.com/prometheus/exporter-toolkit/web"
	sloggokit "github.com/tjhop/slog-gokit"
)

// newLogger makes the one logger of the program. The bridge to slog adds time and
// caller itself, and filters by level.
func newLogger(w io.Writer, level slog.Level, format string) *slog.Logger {
	newKitLogger := kitlog.NewLogfmtLogger
	if format == "json" {
		newKitLogger = kitlog.NewJSONLogger
	}
	return slog.New(sloggokit.NewGoKitHandler(newKitLogger(newLogWriter(w)), level))
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
	line = hideKeys(bytes.Clone(line)) // the caller uses its own again
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

// hideKeys shortens what looks like an API key to fk-... .
func hideKeys(text []byte) []byte {
	if !bytes.Contains(text, []byte(keyPrefix)) {
		return text
	}
	keys := regexp.MustCompile(`(^|[^A-Za-z0-9])` + keyPrefix + `[A-Za-z0-9_.~+/=-]+`)
	return keys.ReplaceAll(text, []byte("${1}"+keyPrefix+"..."))
}

// onceAMinute returns a logger that logs an error only if it has logged none with the
// same message for a minute. What is not an error goes to logger as it is.
func onceAMinute(logger *slog.Logger) *slog.Logger {
	return slog.New(rareErrors{logger.Handler(), &messages{logged: map[string]time.Time{}}})
}

type rareErrors struct {
	slog.Handler
	errors *messages
}

// messages are those logged so far. There are few, as they have fixed texts.
type messages struct {
	mu     sync.Mutex
	logged map[string]time.Time
}

func (h rareErrors) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError && !h.errors.due(r.Message) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h rareErrors) WithAttrs(attrs []slog.Attr) slog.Handler {
	return rareErrors{h.Handler.WithAttrs(attrs), h.errors}
}

func (h rareErrors) WithGroup(name string) slog.Handler {
	return rareErrors{h.Handler.WithGroup(name), h.errors}
}

func (m *messages) due(message string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if last, ok := m.logged[message]; ok && now.Sub(last) < time.Minute {
		return false
	}
	m.logged[message] = now
	return true
}

// lineLogger returns a logger for packages that want one of the standard library. It
// hands each line to handle.
func lineLogger(handle lineWriter) *log.Logger { return log.New(handle, "", 0) }

type lineWriter func(line string)

func (w lineWriter) Write(line []byte) (int, error) {
	w(strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}

// serverLog returns a logger for an http.Server. What keeps the server from answering is
// an error. What a client did wrong is not: anybody who scans ports can do it.
func serverLog(logger *slog.Logger, webConfigFile string) *log.Logger {
	return lineLogger(func(line string) {
		switch {
		case strings.HasPrefix(line, "http: Accept error: "):
			logger.Error("Cannot accept connections", "err", line)
		case strings.HasPrefix(line, "http: panic serving ") || strings.HasPrefix(line, "http2: panic serving "):
			logger.Error("A panic ended a request", "err", line)
		case strings.HasPrefix(line, "http: TLS handshake error "):
			// The server reads its certificate at each handshake. The line alone does not
			// tell whose fault it is.
			if err := web.Validate(webConfigFile); err != nil {
				logger.Error("Cannot use the file of --web.config.file", "file", webConfigFile, "err", err)
				return
			}
			fallthrough
		default:
			logger.Debug("The HTTP server reports", "err", line)
		}
	})
}
