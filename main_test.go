package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"factory_exporter/factoryapi/fakeapi"
)

func TestStartIsLoggedWithVersionAndConfiguration(t *testing.T) {
	api := serveAPI(t, fakeapi.NewServer(fakeapi.NewOrganization(), testKey))
	t.Setenv(keyVariable, "  "+testKey+"\n")
	for format, wants := range map[string][]string{
		"logfmt": {"level=info", `msg="Starting factory_exporter"`, " version=", " factory.url=" + api, " factory.page-size=7 ", " collector.window=1d,7d,30d,90d ", " demo=false"},
		"json":   {`"level":"info"`, `"msg":"Starting factory_exporter"`, `"version":"`, `"factory.url":"` + api + `"`, `"factory.page-size":"7"`, `"collector.window":"1d,7d,30d,90d"`, `"demo":"false"`},
	} {
		t.Run(format, func(t *testing.T) {
			p := start(t, "--factory.url="+api, "--factory.page-size=7", "--log.format="+format)
			if up := p.scrape(t)["factory_up"]; up != 1 {
				t.Errorf("factory_up is %g with the key of the environment", up)
			}
			first, _, _ := strings.Cut(p.stderr.String(), "\n")
			for _, want := range wants {
				if !strings.Contains(first, want) {
					t.Errorf("the first line lacks %q:\n%s", want, first)
				}
			}
			p.stop()
			checkNoKey(t, "log", p.stderr.String())
		})
	}
}

func TestLogLevel(t *testing.T) {
	for level, want := range map[string]bool{"debug": true, "info": true, "warn": false, "error": false} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // so that it stops at once
		var stderr output
		if err := run(ctx, withKey(t, "--web.listen-address=127.0.0.1:0", "--log.level="+level), io.Discard, &stderr); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(stderr.String(), "level=info"); got != want {
			t.Errorf("%s: lines of level info: %t, want %t:\n%s", level, got, want, stderr.String())
		}
	}
}

// TestScripts runs the scripts in testdata/script, in which each line is a command: see
// https://pkg.go.dev/github.com/rogpeppe/go-internal/testscript. They show the program as
// a user sees it on the command line: what it prints, where, and how it ends. It does not
// serve there.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Deadline:            time.Now().Add(5 * time.Minute), // should the program start after all
		Setup: func(env *testscript.Env) error {
			env.Setenv("KEY", testKey)
			env.Setenv("FACTORY_EXPORTER_WEB_LISTEN_ADDRESS", "127.0.0.1:0")
			return os.WriteFile(filepath.Join(env.WorkDir, "key"), []byte(testKey+"\n"), 0o600)
		},
		Cmds: map[string]func(script *testscript.TestScript, not bool, args []string){
			// refused WORD... checks that the last command printed one line, to stderr,
			// which has these words and no part of the key.
			"refused": func(script *testscript.TestScript, _ bool, words []string) {
				if stdout := script.ReadFile("stdout"); stdout != "" {
					script.Fatalf("stdout has %q", stdout)
				}
				line, ok := strings.CutPrefix(script.ReadFile("stderr"), program+": error: ")
				if rest := strings.TrimSuffix(line, "\n"); !ok || rest == line || strings.ContainsAny(rest, "\r\n") {
					script.Fatalf("stderr is not one line that begins with the program's name")
				}
				for _, word := range words {
					if !strings.Contains(line, word) {
						script.Fatalf("stderr does not name %q", word)
					}
				}
				checkNoKey(t, "stderr", line)
			},
		},
	})
}

func TestPortInUseEndsTheProgram(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	err = run(t.Context(), []string{"--demo", "--web.listen-address=" + address}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "--web.listen-address") || !strings.Contains(err.Error(), address) {
		t.Errorf("error is %v, want one that names --web.listen-address and %s", err, address)
	}
}

func TestDemoNeedsNoKeyAndSaysWhatToOpen(t *testing.T) {
	t.Parallel()
	p := start(t, "--demo", "--web.telemetry-path=/seats")
	_, _, body := fetch(t, http.MethodGet, p.url+"/seats")
	s := parseSamples(t, body)
	if s["factory_up"] != 1 || s["factory_users"] < 500 || s[`factory_users_active{window="7d"}`] == 0 || s[`factory_users_idle{window="90d"}`] == 0 {
		t.Errorf("no demo to look at: up %g, users %g, active %g, idle %g",
			s["factory_up"], s["factory_users"], s[`factory_users_active{window="7d"}`], s[`factory_users_idle{window="90d"}`])
	}
	p.stop()
	port := p.url[strings.LastIndexByte(p.url, ':'):]
	for _, want := range []string{"http://localhost" + port + "/seats", "http://localhost" + port + "/\n"} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("stdout lacks %q:\n%s", want, p.stdout.String())
		}
	}
}

func TestDemoSaysWhatToOpenOnceUnderTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(nil) // for its certificate
	server.Close()
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	writeFile(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	writeFile(t, filepath.Join(dir, "web.yml"), "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n")
	p := start(t, "--demo", "--web.config.file="+filepath.Join(dir, "web.yml"))
	response, err := server.Client().Get(strings.Replace(p.url, "http:", "https:", 1))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	p.stop()
	if text := p.stdout.String(); !strings.Contains(text, "https://localhost:") || strings.Contains(text, "http://") {
		t.Errorf("stdout has no https:\n%s", text)
	}
	many := start(t, "--demo", "--web.listen-address=127.0.0.1:0", "--web.listen-address=127.0.0.1:0")
	many.scrape(t)
	many.stop()
	if text := many.stdout.String(); strings.Count(text, "simulated organization") != 1 || strings.Contains(text, "https://") {
		t.Errorf("stdout, with three addresses:\n%s", text)
	}
}

func TestHangupOnlyWritesALine(t *testing.T) {
	p := start(t, "--demo")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(p.stderr.String(), "nothing to reload") {
		if p.scrape(t)["factory_up"] != 1 { // which takes a moment
			t.Fatal("it does not list any more")
		}
	}
}

func TestStopAnswersWaitingScrapes(t *testing.T) {
	t.Parallel()
	server := fakeapi.NewServer(fakeapi.NewOrganization(), testKey)
	asked := make(chan struct{}, 1)
	server.Inject(fakeapi.Fault{Serve: func(w http.ResponseWriter, r *http.Request, page []byte) {
		asked <- struct{}{}
		fakeapi.Hang()(w, r, page)
	}})
	p := start(t, withKey(t, "--factory.url="+serveAPI(t, server))...)
	scraped := make(chan samples)
	go func() { scraped <- p.scrape(t) }()
	<-asked
	begin := time.Now()
	p.stop()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	s := <-scraped
	if up, ok := s["factory_up"]; !ok || up != 0 {
		t.Errorf("factory_up is %g (%v), want 0", up, ok)
	}
	if _, ok := s["factory_users"]; ok {
		t.Error("factory_users is there without a listing")
	}
	for series, value := range s {
		if strings.HasPrefix(series, "factory_api_errors_total") && value != 0 {
			t.Errorf("%s is %g: a request that was canceled is no error", series, value)
		}
	}
}

func TestNothingRunsWithoutScrapes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, want := range []int{0, matrixPages, 2 * matrixPages} {
			for _, path := range otherPaths {
				fetchWith(t, w.exporter, http.MethodGet, "http://exporter"+path)
			}
			time.Sleep(48 * time.Hour)
			if got := w.api.Stats().Requests; got != want {
				t.Errorf("%d requests to the API, want %d", got, want)
			}
			fetchWith(t, w.exporter, http.MethodGet, "http://exporter/metrics")
		}
	})
}

// The key file goes through all that may become of one while the program runs. Each key
// that was ever in use holds a part of testKey, which may be found nowhere in the end.
func TestKeyFileMayBeReplacedAndSpoilt(t *testing.T) {
	t.Parallel()
	api := fakeapi.NewServer(fakeapi.NewOrganization(members(3, time.Now())...), testKey)
	key := filepath.Join(t.TempDir(), "key")
	writeFile(t, key, testKey)
	p := start(t, "--factory.api-key-file="+key, "--factory.url="+serveAPI(t, api), "--log.level=debug", "--factory.max-retries=0")

	var answers strings.Builder
	scrape := func() samples {
		_, header, body := fetch(t, http.MethodGet, p.url+"/metrics")
		fmt.Fprintln(&answers, header, body)
		return parseSamples(t, body)
	}
	for _, step := range []struct {
		name      string
		change    func()
		up        float64
		complains int // log lines so far that the file cannot be read
		returns   int // and that it can again
	}{
		{name: "as at the start", change: func() {}, up: 1},
		{name: "rotated, the old key still accepted", change: func() { writeFile(t, key, " "+testKey+"-2\n"); api.SetKey(testKey + "-2") }, up: 1},
		{name: "gone", change: func() { os.Remove(key) }, up: 1, complains: 1},
		{name: "still gone", change: func() {}, up: 1, complains: 1},
		{name: "empty", change: func() { writeFile(t, key, "") }, up: 1, complains: 1},
		{name: "with a line break inside", change: func() { writeFile(t, key, testKey[:30]+"\n"+testKey[30:]) }, up: 1, complains: 1},
		{name: "a directory", change: func() { os.Remove(key); mkdir(t, key) }, up: 1, complains: 1},
		// A link that leads to itself can be read by nobody, root included.
		{name: "unreadable", change: func() { os.Remove(key); symlink(t, key, key) }, up: 1, complains: 1},
		{name: "back", change: func() { os.Remove(key); writeFile(t, key, testKey+"-2") }, up: 1, complains: 1, returns: 1},
		{name: "gone again", change: func() { os.Remove(key) }, up: 1, complains: 2, returns: 1},
		{name: "back with a key that the API rejects", change: func() { writeFile(t, key, testKey+"-3") }, up: 0, complains: 2, returns: 2},
		{name: "accepted", change: func() { api.SetKey(testKey + "-3") }, up: 1, complains: 2, returns: 2},
	} {
		step.change()
		if up := scrape()["factory_up"]; up != step.up {
			t.Errorf("%s: factory_up is %g, want %g", step.name, up, step.up)
		}
		log := p.stderr.String()
		if got := strings.Count(log, "Cannot read the API key file"); got != step.complains {
			t.Errorf("%s: %d complaints in the log, want %d", step.name, got, step.complains)
		}
		if got := strings.Count(log, "can be read again"); got != step.returns {
			t.Errorf("%s: the log tells %d times that the file is back, want %d", step.name, got, step.returns)
		}
	}
	for _, path := range otherPaths {
		_, header, body := fetch(t, http.MethodGet, p.url+path)
		fmt.Fprintln(&answers, header, body)
	}
	p.stop()
	checkNoKey(t, "an answer", answers.String())
	checkNoKey(t, "the log", p.stderr.String())
	checkNoKey(t, "stdout", p.stdout.String())
}

func TestOversizedRequestsAreRefused(t *testing.T) {
	t.Parallel()
	network := servePipe(t, exporterOf(t, fakeapi.NewServer(fakeapi.NewOrganization(), testKey)))
	headers := func(n int) string { return strings.Repeat("X-Padding: "+strings.Repeat("x", 1000)+"\r\n", n) }
	for _, test := range []struct {
		name         string
		path, header string
		want         int
	}{
		{"a header of 30 kB", "/metrics", "X-Padding: " + strings.Repeat("x", 30_000) + "\r\n", 200},
		{"a header of 40 kB", "/metrics", "X-Padding: " + strings.Repeat("x", 40_000) + "\r\n", 431},
		{"a header of 10 MB", "/metrics", "X-Padding: " + strings.Repeat("x", 10_000_000) + "\r\n", 431},
		{"30 headers of 1 kB", "/metrics", headers(30), 200},
		{"100 headers of 1 kB", "/metrics", headers(100), 431},
		{"a path of 40 kB", "/" + strings.Repeat("x", 40_000), "", 431},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, err := network.DialContext(t.Context(), "tcp", "exporter:80")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				// The answer may come before all of it was wanted.
				_, _ = io.WriteString(conn, "GET "+test.path+" HTTP/1.1\r\nHost: exporter\r\n"+test.header+"\r\n")
			}()
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != test.want {
				t.Errorf("status %d, want %d", response.StatusCode, test.want)
			}
			conn.Close()
			<-sent
		})
	}
}

// Slow clients are tried on a network in memory with a clock that jumps, so that the
// limits are those of the program.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	const request = "GET /metrics HTTP/1.1\r\nHost: exporter\r\n"
	for _, test := range []struct {
		name   string
		sends  string
		reads  int // bytes that the client takes before it falls asleep
		within time.Duration
	}{
		{name: "that send nothing", within: 10 * time.Second},
		{name: "that never end the header", sends: request, within: 10 * time.Second},
		{name: "that never send the body", sends: strings.Replace(request, "GET", "POST", 1) + "Content-Length: 10\r\n\r\n", reads: 1 << 20, within: 20 * time.Second},
		{name: "that do not read the answer", sends: request + "\r\n", within: 10 * time.Second},
		{name: "that read only its beginning", sends: request + "\r\n", reads: 100, within: 10 * time.Second},
		{name: "that ask once and stay", sends: request + "\r\n", reads: 1 << 20, within: 5 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := fakeapi.NewServer(fakeapi.NewOrganization(members(100, time.Now())...), testKey)
				network := servePipe(t, exporterOf(t, api, "--collector.per-user", "--web.disable-exporter-metrics"))
				conn, err := network.DialContext(t.Context(), "tcp", "exporter:80")
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				begin := time.Now()
				if _, err := io.WriteString(conn, test.sends); err != nil {
					t.Fatal(err)
				}
				if test.reads > 0 { // as many, or all there is until the end of the connection
					_, _ = io.CopyN(io.Discard, conn, int64(test.reads))
				}
				if took := time.Since(begin); took > test.within {
					t.Fatalf("reading took %s", took)
				}
				time.Sleep(test.within + time.Second - time.Since(begin))
				if _, err := conn.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("after %s the connection is still open (%v)", time.Since(begin), err)
				}
			})
		})
	}
}
