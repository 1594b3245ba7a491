package config

import (
	"errors"
	"log"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/internal/harness"
)

func TestTheLogGoesOnWhoeverReadsIt(t *testing.T) {
	cfg := parse(t)
	synctest.Test(t, func(t *testing.T) {
		reader, writer := net.Pipe()
		logger := cfg.NewLogger(writer)
		takes := func(message string) time.Duration {
			begin := time.Now()
			logger.Info(message) //nolint:sloglint // one of several
			return time.Since(begin)
		}
		read := func(want string) {
			line := make([]byte, 1000)
			n, err := reader.Read(line)
			if text := string(line[:n]); err != nil || !strings.Contains(text, want) || !strings.HasSuffix(text, "\n") {
				t.Errorf("the log has %q and error %v, want %q", text, err, want)
			}
		}

		go read("first")
		if took := takes("first"); took != 0 {
			t.Errorf("a line took %s", took)
		}
		// The reader does not read any more, and then it does.
		if took := takes("second"); took != time.Second {
			t.Errorf("the first line that nobody reads took %s, want a second", took)
		}
		for range 100 {
			if took := takes("lost"); took != 0 {
				t.Errorf("a line that is lost took %s", took)
			}
		}
		read("second")
		synctest.Wait()
		go read("third")
		takes("third")

		reader.Close()
		if took := takes("fourth"); took != 0 {
			t.Errorf("a line without a reader took %s", took)
		}
	})
}

func TestTheLogHasTheLevelThatIsAskedFor(t *testing.T) {
	for level, want := range map[string]int{"debug": 4, "info": 3, "warn": 2, "error": 1} {
		var out strings.Builder
		logger := parse(t, "--log.level="+level).NewLogger(&out)
		for _, of := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			logger.Log(t.Context(), of, "A line")
		}
		if got := strings.Count(out.String(), "\n"); got != want {
			t.Errorf("%s: %d lines, want %d:\n%s", level, got, want, out.String())
		}
	}
}

// net/http writes there what a server sends that nobody asked for, with the beginning of it.
func TestGosOwnLogIsAtDebugAndQuotesNothing(t *testing.T) {
	for level, want := range map[string]int{"debug": 1, "info": 0} {
		var out strings.Builder
		parse(t, "--log.level="+level).NewLogger(&out)
		log.Printf("Unsolicited response starting with %q; err=%v", `{"email":"ada@acme.example"}`, errors.New("ada@acme.example"))
		if text := out.String(); strings.Count(text, "level=debug") != want || strings.Count(text, "\n") != want || want > 0 && !strings.Contains(text, "Unsolicited response") || strings.Contains(text, "ada") {
			t.Errorf("at level %s the log is %q", level, text)
		}
	}
}

func TestTheLogHasNoKeys(t *testing.T) {
	for _, format := range []string{"logfmt", "json"} {
		var out strings.Builder
		logger := parse(t, "--log.format="+format).NewLogger(&out)
		key := harness.Key
		logger.Info("Starting", "file", "/run/"+key, "err", errors.New("open \""+key+"\": no such file"), "list", "7d,"+key+",30d")
		if text := out.String(); strings.Count(text, "fk-...") != 3 || !strings.Contains(text, "/run/fk-...") ||
			!strings.Contains(text, "7d,fk-...,30d") || !strings.Contains(text, "no such file") {
			t.Errorf("%s: %s", format, text)
		}
		harness.CheckNoKey(t, format, out.String(), key[3:])
	}
}
