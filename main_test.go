package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
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
	p := start(t, "--demo")
	s := p.scrapeUsage(t)
	idle, unused := s[`factory_users_idle{window="30d"}`], s[`factory_users_unused{window="30d"}`]
	if s["factory_up"] != 1 || s["factory_users"] < 500 || s[`factory_users_active{window="7d"}`] == 0 || s["factory_usage_credits"] < 1e6 ||
		idle == unused || min(idle, unused) < 50 || s[`factory_users_used{window="30d"}`] < 300 {
		t.Errorf("no demo to look at: idle %g, unused %g in %v", idle, unused, s)
	}
	p.stop()
	port := p.url[strings.LastIndexByte(p.url, ':'):]
	for _, want := range []string{"http://localhost" + port + "/metrics\n", "http://localhost" + port + "/\n"} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("stdout lacks %q:\n%s", want, p.stdout.String())
		}
	}
}

func TestDemoSaysOnceWhatToOpenUnderTLSToo(t *testing.T) {
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
	p := start(t, "--demo", "--web.config.file="+filepath.Join(dir, "web.yml"), "--web.telemetry-path=/seats")
	response, err := server.Client().Get(strings.Replace(p.url, "http:", "https:", 1))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	p.stop()
	if text := p.stdout.String(); strings.Count(text, "https://localhost:") != 2 || !strings.Contains(text, "/seats\n") || strings.Contains(text, "http://") {
		t.Errorf("stdout is\n%s", text)
	}
	many := start(t, "--demo", "--web.listen-address=127.0.0.1:0")
	many.scrape(t)
	many.stop()
	if text := many.stdout.String(); strings.Count(text, "simulated organization") != 1 || strings.Contains(text, "https://") {
		t.Errorf("stdout, with two addresses, is\n%s", text)
	}
}

// The key file goes and comes back while the program runs. Each key that was ever in use
// holds a part of harness.Key, which may be found nowhere in the end.
func TestKeyFileMayBeReplaced(t *testing.T) {
	t.Parallel()
	api := fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(3, 1, time.Now())...), harness.Key)
	key := writeFile(t, filepath.Join(t.TempDir(), "key"), harness.Key)
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
		{name: "rotated, the old key still accepted", change: func() { writeFile(t, key, " "+harness.Key+"-2\n"); api.SetKey(harness.Key + "-2") }, up: 1},
		{name: "gone", change: func() { os.Remove(key) }, up: 1, complains: 1},
		{name: "back with a key that the API rejects", change: func() { writeFile(t, key, harness.Key+"-3") }, up: 0, complains: 1, returns: 1},
		{name: "accepted", change: func() { api.SetKey(harness.Key + "-3") }, up: 1, complains: 1, returns: 1},
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
