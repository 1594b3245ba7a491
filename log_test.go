package main

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi/fakeapi"
)

func TestLogGoesOnWhoeverReadsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, writer := net.Pipe()
		logger := newLogger(writer, slog.LevelInfo, "logfmt")
		takes := func(log func(string, ...any), message string) time.Duration {
			begin := time.Now()
			log(message)
			return time.Since(begin)
		}
		read := func(want string) {
			t.Helper()
			line := make([]byte, 1000)
			n, err := reader.Read(line)
			if text := string(line[:n]); err != nil || !strings.Contains(text, want) || !strings.HasSuffix(text, "\n") {
				t.Errorf("the log has %q and error %v, want %q", text, err, want)
			}
		}

		go read("first")
		if took := takes(logger.Info, "first"); took != 0 {
			t.Errorf("a line took %s", took)
		}
		// The reader does not read any more, and then it does.
		if took := takes(logger.Info, "second"); took != logTimeout {
			t.Errorf("the first line that nobody reads took %s, want %s", took, logTimeout)
		}
		for range 100 {
			if took := takes(logger.Info, "lost"); took != 0 {
				t.Errorf("a line that is lost took %s", took)
			}
		}
		read("second")
		synctest.Wait()
		go read("third")
		takes(logger.Info, "third")

		reader.Close()
		if took := takes(logger.Info, "fourth"); took != 0 {
			t.Errorf("a line without a reader took %s", took)
		}
	})
}

func TestLogHasNoKeys(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"logfmt", "json"} {
		var logs output
		logger := newLogger(&logs, slog.LevelInfo, format)
		logger.Info("Starting "+testKey, "file", "/run/"+testKey, "err", errors.New("open \""+testKey+"\": no such file"), "list", "7d,"+testKey+",30d")
		if log := logs.String(); strings.Contains(log, testKey[3:]) || strings.Count(log, "fk-...") != 4 ||
			!strings.Contains(log, "/run/fk-...") || !strings.Contains(log, "7d,fk-...,30d") || !strings.Contains(log, "no such file") {
			t.Errorf("%s: %s", format, log)
		}
	}
	if got := string(hideKeys([]byte("the afk-mode of key=fk-a/b+c= and fk-..."))); got != "the afk-mode of key=fk-... and fk-..." {
		t.Errorf("hideKeys returns %q", got)
	}
}

// Accepting fails, as without file descriptors, until the listener is closed.
type failingListener struct{ net.Listener }

func (l failingListener) Accept() (net.Conn, error) {
	return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
}

func TestServerLogsWhatKeepsItFromAnswering(t *testing.T) {
	panicking := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a bug") })
	for _, test := range []struct {
		name  string
		serve func(server *http.Server) error
		ask   string // of a pipe
		level string // of the one line in the first minute, and of the one in the second
		about string
	}{
		{"accept", func(server *http.Server) error { return server.Serve(failingListener{fakeapi.NewPipe()}) }, "", "error", "too many open files"},
		{"panic", nil, scrapeRequest, "error", "a bug"},
		{"abort", nil, "GET /abort HTTP/1.1\r\nHost: exporter\r\n\r\n", "", ""},
		{"malformed request", nil, "rubbish\r\n\r\n", "", ""},
		{"superfluous header", nil, "GET /twice HTTP/1.1\r\nHost: exporter\r\n\r\n", "debug", "superfluous"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var logs output
				mux := http.NewServeMux()
				mux.Handle("/metrics", panicking)
				mux.HandleFunc("/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
				mux.HandleFunc("/twice", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); w.WriteHeader(200) })
				server := newServer(mux, onceAMinute(newLogger(&logs, slog.LevelDebug, "logfmt")), "")
				pipe := fakeapi.NewPipe()
				serve := test.serve
				if serve == nil {
					serve = func(server *http.Server) error { return server.Serve(pipe) }
				}
				served := make(chan error, 1)
				go func() { served <- serve(server) }()
				for range 12 {
					if test.ask != "" {
						conn, err := pipe.DialContext(t.Context(), "tcp", "exporter:80")
						if err != nil {
							t.Fatal(err)
						}
						write(t, conn, test.ask)
						_, _ = io.Copy(io.Discard, io.LimitReader(conn, 10))
						conn.Close()
					}
					time.Sleep(10 * time.Second) // two minutes in all
				}
				server.Close()
				if err := <-served; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
				log := logs.String()
				errs := strings.Count(log, "level=error")
				switch lines := strings.Count(log, "\n"); {
				case test.level == "error" && (errs != 2 || lines != 2) || test.level != "error" && errs > 0:
					t.Errorf("in two minutes it logs\n%s", log)
				case !strings.Contains(log, test.about):
					t.Errorf("it does not log %q:\n%s", test.about, log)
				}
			})
		})
	}
}

func TestHandshakesThatFailAreErrorsIfTheCertificateIsToBlame(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "web.yml")
	writeFile(t, config, "basic_auth_users: {}\n")
	var logs output
	log := serverLog(onceAMinute(newLogger(&logs, slog.LevelDebug, "logfmt")), config)
	fail := func() string {
		before := len(logs.String())
		log.Print("http: TLS handshake error from 192.0.2.1:1: EOF")
		return logs.String()[before:]
	}
	if line := fail(); !strings.Contains(line, "level=debug") || !strings.Contains(line, "EOF") {
		t.Errorf("a client that goes away in the handshake is logged as %q", line)
	}
	writeFile(t, config, "tls_server_config:\n  cert_file: absent.crt\n  key_file: absent.key\n")
	if line := fail(); !strings.Contains(line, "level=error") || !strings.Contains(line, "absent.crt") || !strings.Contains(line, config) {
		t.Errorf("a certificate that is gone is logged as %q", line)
	}
	if line := fail(); line != "" {
		t.Errorf("at once, it is logged again as %q", line)
	}
}
