package server

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
)

// onceAMinute returns a logger that logs an error only if it has logged none with the
// same message for a minute. What is not an error goes to logger as it is.
func onceAMinute(logger *slog.Logger) *slog.Logger {
	return slog.New(rareErrors{logger.Handler(), new(sync.Mutex), map[string]time.Time{}})
}

type rareErrors struct {
	slog.Handler
	mu     *sync.Mutex
	logged map[string]time.Time // by message. There are few, as they have fixed texts.
}

func (h rareErrors) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError && !h.due(r.Message) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h rareErrors) WithAttrs(attrs []slog.Attr) slog.Handler {
	return rareErrors{h.Handler.WithAttrs(attrs), h.mu, h.logged}
}

func (h rareErrors) WithGroup(name string) slog.Handler {
	return rareErrors{h.Handler.WithGroup(name), h.mu, h.logged}
}

func (h rareErrors) due(message string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if last, ok := h.logged[message]; ok && now.Sub(last) < time.Minute {
		return false
	}
	h.logged[message] = now
	return true
}

// lineLogger returns a logger for packages that want one of the standard library.
func lineLogger(handle LineWriter) *log.Logger { return log.New(handle, "", 0) }

// LineWriter hands on each line that a logger of the standard library writes.
type LineWriter func(line string)

func (w LineWriter) Write(line []byte) (int, error) {
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
