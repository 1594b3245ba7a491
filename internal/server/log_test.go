package server

import (
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/exporter-toolkit/web"

	"factory_exporter/internal/harness"
)

// Accepting fails, as without file descriptors, until the listener is closed.
type failingListener struct{ net.Listener }

func (l failingListener) Accept() (net.Conn, error) {
	return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
}

func TestServerLogsWhatKeepsItFromAnswering(t *testing.T) {
	for _, test := range []struct {
		name    string
		fails   bool // to accept
		path    string
		handler http.HandlerFunc
		level   string // of the lines in two minutes, one each; empty: of no line above debug
		about   string
	}{
		{name: "accept", fails: true, level: "ERROR", about: "too many open files"},
		{name: "panic", path: "/", handler: func(http.ResponseWriter, *http.Request) { panic("a bug") }, level: "ERROR", about: "a bug"},
		{name: "abort", path: "/", handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{name: "malformed request", path: "not a path"},
		{name: "superfluous header", path: "/", handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); w.WriteHeader(200) }, about: "superfluous"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newServer(t, settings{})
				server := e.http
				server.Handler = test.handler
				pipe := harness.NewPipe()
				var listener net.Listener = pipe
				if test.fails {
					listener = failingListener{pipe}
				}
				served := make(chan error, 1)
				go func() { served <- server.Serve(listener) }()
				for range 12 {
					if test.path != "" {
						conn := connect(t, pipe)
						write(t, conn, "GET "+test.path+" HTTP/1.1\r\nHost: exporter\r\n\r\n")
						_, _ = io.Copy(io.Discard, io.LimitReader(conn, 10))
						conn.Close()
					}
					time.Sleep(10 * time.Second) // two minutes in all
				}
				server.Close()
				if err := <-served; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
				log := e.logs.String()
				errs, told := strings.Count(log, "level=ERROR"), strings.Count(log, "\n")-strings.Count(log, "level=DEBUG")
				if test.level == "ERROR" && errs != 2 || told != errs || test.level == "" && errs > 0 {
					t.Errorf("in two minutes it logs\n%s", log)
				}
				if !strings.Contains(log, test.about) {
					t.Errorf("it does not log %q:\n%s", test.about, log)
				}
			})
		})
	}
}

func TestHandshakesThatFailAreErrorsIfTheCertificateIsToBlame(t *testing.T) {
	config := filepath.Join(t.TempDir(), "web.yml")
	harness.WriteFile(t, config, "basic_auth_users: {}\n")
	e := newServer(t, settings{server: Config{Web: &web.FlagConfig{WebConfigFile: &config}}})
	fail := func() string {
		e.logs.Reset()
		e.http.ErrorLog.Print("http: TLS handshake error from 192.0.2.1:1: EOF")
		return e.logs.String()
	}
	if line := fail(); !strings.Contains(line, "level=DEBUG") || !strings.Contains(line, "EOF") {
		t.Errorf("a client that goes away in the handshake is logged as %q", line)
	}
	harness.WriteFile(t, config, "tls_server_config:\n  cert_file: absent.crt\n  key_file: absent.key\n")
	if line := fail(); !strings.Contains(line, "level=ERROR") || !strings.Contains(line, "absent.crt") || !strings.Contains(line, config) {
		t.Errorf("a certificate that is gone is logged as %q", line)
	}
	if line := fail(); line != "" {
		t.Errorf("at once, it is logged again as %q", line)
	}
}
