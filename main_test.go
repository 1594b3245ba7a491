package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/config"
	"factory_exporter/internal/harness"
)

func TestStartIsLoggedWithVersionAndConfiguration(t *testing.T) {
	api := serveAPI(t, fakeapi.NewServer(fakeapi.NewOrganization(), harness.Key))
	t.Setenv(config.KeyVariable, "  "+harness.Key+"\n")
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
			harness.CheckNoKey(t, "log", p.stderr.String(), harness.Key)
		})
	}
}

func TestLogLevel(t *testing.T) {
	t.Setenv(config.KeyVariable, harness.Key)
	for level, want := range map[string]bool{"debug": true, "info": true, "warn": false, "error": false} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // so that it stops at once
		var stderr output
		if err := run(ctx, parse(t, "--web.listen-address=127.0.0.1:0", "--log.level="+level), io.Discard, &stderr); err != nil {
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
			env.Setenv("KEY", harness.Key)
			env.Setenv("FACTORY_EXPORTER_WEB_LISTEN_ADDRESS", "127.0.0.1:0")
			return os.WriteFile(filepath.Join(env.WorkDir, "key"), []byte(harness.Key+"\n"), 0o600)
		},
		Cmds: map[string]func(script *testscript.TestScript, not bool, args []string){
			// refused WORD... checks that the last command printed one line, to stderr,
			// which has these words and no part of the key.
			"refused": func(script *testscript.TestScript, _ bool, words []string) {
				if stdout := script.ReadFile("stdout"); stdout != "" {
					script.Fatalf("stdout has %q", stdout)
				}
				line, ok := strings.CutPrefix(script.ReadFile("stderr"), config.Program+": error: ")
				if rest := strings.TrimSuffix(line, "\n"); !ok || rest == line || strings.ContainsAny(rest, "\r\n") {
					script.Fatalf("stderr is not one line that begins with the program's name")
				}
				for _, word := range words {
					if !strings.Contains(line, word) {
						script.Fatalf("stderr does not name %q", word)
					}
				}
				harness.CheckNoKey(t, "stderr", line, harness.Key)
			},
		},
	})
}

func TestDemoNeedsNoKeyAndSaysWhatToOpen(t *testing.T) {
	t.Parallel()
	p := start(t, "--demo", "--web.telemetry-path=/seats")
	_, _, body := p.get(t, "/seats")
	s := harness.Parse(t, body)
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

// The key file goes and comes back while the program runs. Each key that was ever in use
// holds a part of harness.Key, which may be found nowhere in the end.
func TestKeyFileMayBeReplaced(t *testing.T) {
	t.Parallel()
	api := fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(3, 1, time.Now())...), harness.Key)
	key := filepath.Join(t.TempDir(), "key")
	writeFile(t, key, harness.Key)
	p := start(t, "--factory.api-key-file="+key, "--factory.url="+serveAPI(t, api), "--log.level=debug", "--factory.max-retries=0")

	var answers strings.Builder
	scrape := func() harness.Samples {
		_, header, body := p.get(t, "/metrics")
		fmt.Fprintln(&answers, header, body)
		return harness.Parse(t, body)
	}
	for _, step := range []struct {
		name      string
		change    func()
		up        float64
		complains int // log lines so far that the file cannot be read
		returns   int // and that it can again
	}{
		{name: "as at the start", change: func() {}, up: 1},
		{name: "rotated, the old key still accepted", change: func() { writeFile(t, key, " "+harness.Key+"-2\n"); api.SetKey(harness.Key + "-2") }, up: 1},
		{name: "gone", change: func() { os.Remove(key) }, up: 1, complains: 1},
		{name: "still gone", change: func() {}, up: 1, complains: 1},
		{name: "back", change: func() { os.Remove(key); writeFile(t, key, harness.Key+"-2") }, up: 1, complains: 1, returns: 1},
		{name: "gone again", change: func() { os.Remove(key) }, up: 1, complains: 2, returns: 1},
		{name: "back with a key that the API rejects", change: func() { writeFile(t, key, harness.Key+"-3") }, up: 0, complains: 2, returns: 2},
		{name: "accepted", change: func() { api.SetKey(harness.Key + "-3") }, up: 1, complains: 2, returns: 2},
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
	for _, path := range []string{"/", "/-/healthy", "/-/ready", "/nothing"} {
		_, header, body := p.get(t, path)
		fmt.Fprintln(&answers, header, body)
	}
	p.stop()
	harness.CheckNoKey(t, "an answer", answers.String(), harness.Key)
	harness.CheckNoKey(t, "the log", p.stderr.String(), harness.Key)
	harness.CheckNoKey(t, "stdout", p.stdout.String(), harness.Key)
}
