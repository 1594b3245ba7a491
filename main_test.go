package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"factory_exporter/factoryapi/fakeapi"
)

// testKey is the API key of all tests that do not say otherwise. It is so long that a part of it
// may get through where the whole would be seen.
const testKey = "fk-9s8Yq0vJ3mZrT5xWc7LbNd2HgKpEuAiR4oVtQfMj6wXz1CyB"

// asProgram, in the environment, makes the test binary the program.
const asProgram = "TEST_AS_FACTORY_EXPORTER"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	for _, variable := range os.Environ() { // tests see what they set themselves
		if name, _, _ := strings.Cut(variable, "="); name == keyVariable || strings.HasPrefix(name, "FACTORY_EXPORTER_") {
			os.Unsetenv(name)
		}
	}
	// Built with the race detector, the program would sleep for a second before it ends.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

func TestBadStartIsOneLineThatNamesTheCause(t *testing.T) {
	dir := t.TempDir()
	broken := testKey[:20] + "\n" + testKey[20:]
	for name, content := range map[string]string{
		"key":            testKey + "\n",
		"empty":          "",
		"blank":          " \n\t\n",
		"broken":         broken,
		"umlaut":         testKey + "ü",
		"no.yml":         "{",
		"field.yml":      "basic_auth_user:\n  a: b\n",
		"hash.yml":       "basic_auth_users:\n  prometheus: " + testKey + "\n",
		"cert.yml":       "tls_server_config:\n  cert_file: absent.crt\n  key_file: absent.key\n",
		"half.yml":       "tls_server_config:\n  cert_file: absent.crt\n",
		"header.yml":     "http_server_config:\n  headers:\n    X-Other: a\n",
		"clientauth.yml": "tls_server_config:\n  client_auth_type: Maybe\n",
	} {
		writeFile(t, filepath.Join(dir, name), content)
	}
	mkdir(t, filepath.Join(dir, "directory"))
	// A loop cannot be read by anybody, root included.
	symlink(t, "loop", filepath.Join(dir, "loop"))

	for _, test := range []struct {
		name string
		args string
		env  map[string]string
		want []string
	}{
		{name: "no key", want: []string{"--factory.api-key-file", "FACTORY_API_KEY", "--demo"}},
		{name: "key file missing", args: "--factory.api-key-file=DIR/absent", want: []string{"--factory.api-key-file", "DIR/absent", "no such file"}},
		{name: "key file empty", args: "--factory.api-key-file=DIR/empty", want: []string{"--factory.api-key-file", "DIR/empty", "empty"}},
		{name: "key file blank", args: "--factory.api-key-file=DIR/blank", want: []string{"--factory.api-key-file", "DIR/blank", "empty"}},
		{name: "key file unreadable", args: "--factory.api-key-file=DIR/loop", want: []string{"--factory.api-key-file", "DIR/loop"}},
		{name: "key file a directory", args: "--factory.api-key-file=DIR/directory", want: []string{"--factory.api-key-file", "DIR/directory", "directory"}},
		{name: "key file with a line break inside", args: "--factory.api-key-file=DIR/broken", want: []string{"--factory.api-key-file", "DIR/broken", "line break"}},
		{name: "key file with a letter no key has", args: "--factory.api-key-file=DIR/umlaut", want: []string{"--factory.api-key-file", "DIR/umlaut", "character"}},
		{name: "key file name with a line break", env: env("FACTORY_EXPORTER_FACTORY_API_KEY_FILE", dir+"/absent\n"), want: []string{"--factory.api-key-file", "DIR/absent"}},
		{name: "key empty", env: env(keyVariable, ""), want: []string{keyVariable, "empty"}},
		{name: "key blank", env: env(keyVariable, " \n"), want: []string{keyVariable, "empty"}},
		{name: "key with a line break inside", env: env(keyVariable, broken), want: []string{keyVariable, "line break"}},

		{name: "plain http to another host", args: "--factory.url=http://api.factory.ai --factory.api-key-file=DIR/key", want: []string{"--factory.url", "http://api.factory.ai", "https"}},
		{name: "no URL", args: "--factory.url=api.factory.ai --factory.api-key-file=DIR/key", want: []string{"--factory.url", "api.factory.ai"}},
		{name: "broken URL", args: "--factory.url=https://[::1 --factory.api-key-file=DIR/key", want: []string{"--factory.url"}},
		{name: "URL with a password", args: "--factory.url=https://user:" + testKey + "@api.factory.ai --factory.api-key-file=DIR/key", want: []string{"--factory.url", "password"}},
		{name: "URL with a query", args: "--factory.url=https://api.factory.ai?limit=5 --factory.api-key-file=DIR/key", want: []string{"--factory.url", "query"}},
		{name: "URL with a password, in the demo", args: "--demo --factory.url=https://user:" + testKey + "@api.factory.ai", want: []string{"--factory.url", "password"}},
		{name: "URL with a secret in its query", args: "--factory.url=api.factory.ai?key=" + testKey, want: []string{"--factory.url", "not a URL like https://api.factory.ai"}},
		{name: "page size 0", args: "--factory.page-size=0", want: []string{"--factory.page-size=0", "1 to 100"}},
		{name: "page size 101", args: "--factory.page-size=101", want: []string{"--factory.page-size=101", "1 to 100"}},
		{name: "page size rubbish", args: "--factory.page-size=many", want: []string{"--factory.page-size=many", "1 to 100"}},
		{name: "page size in the environment", env: env("FACTORY_EXPORTER_FACTORY_PAGE_SIZE", "101\n"), want: []string{"--factory.page-size=101", "1 to 100"}},
		{name: "request timeout zero", args: "--factory.request-timeout=0s", want: []string{"--factory.request-timeout=0s", "zero"}},
		{name: "request timeout without a unit", args: "--factory.request-timeout=30", want: []string{"--factory.request-timeout=30", "duration"}},
		{name: "listing timeout negative", args: "--factory.listing-timeout=-1m", want: []string{"--factory.listing-timeout=-1m", "duration"}},
		{name: "retries negative", args: "--factory.max-retries=-1", want: []string{"--factory.max-retries=-1"}},
		{name: "seat limit negative", args: "--factory.seat-limit=-1", want: []string{"--factory.seat-limit=-1"}},

		{name: "window rubbish", args: "--collector.window=fortnight", want: []string{"--collector.window=fortnight", "duration"}},
		{name: "window zero", args: "--collector.window=0d", want: []string{"--collector.window=0d", "zero"}},
		{name: "window negative", args: "--collector.window=-7d", want: []string{"--collector.window=-7d", "duration"}},
		{name: "window twice", args: "--collector.window=7d --collector.window=1d --collector.window=7d", want: []string{"--collector.window=7d", "twice"}},
		{name: "window twice, written differently", args: "--collector.window=7d --collector.window=168h", want: []string{"--collector.window=168h", "twice", "7d"}},
		{name: "window twice in the environment", env: env("FACTORY_EXPORTER_COLLECTOR_WINDOW", "1d\n24h"), want: []string{"--collector.window=24h", "twice", "1d"}},
		{name: "windows with commas", args: "--collector.window=7d,30d", want: []string{"--collector.window=7d,30d", "duration", "once for each value"}},
		{name: "attributes with commas", args: "--collector.group-by=email_domain,metadata.team", want: []string{"--collector.group-by=email_domain,metadata.team", "once for each value"}},
		{name: "attributes with commas, the first of the metadata", args: "--collector.group-by=metadata.team,email_domain", want: []string{"--collector.group-by=metadata.team,email_domain", "more than one", "once for each value"}},
		{name: "group-by rubbish", args: "--collector.group-by=team", want: []string{"--collector.group-by=team", "email_domain", "metadata."}},
		{name: "group-by without a key", args: "--collector.group-by=metadata.", want: []string{"--collector.group-by=metadata."}},
		{name: "group-by twice", args: "--collector.group-by=email_domain --collector.group-by=email_domain", want: []string{"--collector.group-by=email_domain", "twice"}},
		{name: "group limit zero", args: "--collector.group-limit=0", want: []string{"--collector.group-limit=0"}},
		{name: "cache TTL negative", args: "--collector.cache-ttl=-1s", want: []string{"--collector.cache-ttl=-1s", "duration"}},
		{name: "max stale rubbish", args: "--collector.max-stale=never", want: []string{"--collector.max-stale=never", "duration"}},

		{name: "telemetry path without a slash", args: "--web.telemetry-path=metrics", want: []string{"--web.telemetry-path=metrics", "clean"}},
		{name: "telemetry path unclean", args: "--web.telemetry-path=/a/../metrics", want: []string{"--web.telemetry-path=/a/../metrics", "clean"}},
		{name: "telemetry path with a trailing slash", args: "--web.telemetry-path=/metrics/", want: []string{"--web.telemetry-path=/metrics/", "clean"}},
		{name: "telemetry path with a pattern", args: "--web.telemetry-path=/{metrics}", want: []string{"--web.telemetry-path=/{metrics}", "clean"}},
		{name: "telemetry path of the landing page", args: "--web.telemetry-path=/", want: []string{"--web.telemetry-path=/", "another page"}},
		{name: "telemetry path of the health page", args: "--web.telemetry-path=/-/healthy", want: []string{"--web.telemetry-path=/-/healthy", "another page"}},
		{name: "telemetry path of the ready page", args: "--web.telemetry-path=/-/ready", want: []string{"--web.telemetry-path=/-/ready", "another page"}},
		{name: "timeout offset rubbish", args: "--web.timeout-offset=half", want: []string{"--web.timeout-offset=half", "duration"}},
		{name: "max requests negative", args: "--web.max-requests=-1", want: []string{"--web.max-requests=-1"}},
		{name: "web configuration missing", args: "--web.config.file=DIR/absent.yml", want: []string{"--web.config.file", "DIR/absent.yml", "no such file"}},
		{name: "web configuration not YAML", args: "--web.config.file=DIR/no.yml", want: []string{"--web.config.file", "DIR/no.yml", "yaml"}},
		{name: "web configuration with an unknown field", args: "--web.config.file=DIR/field.yml", want: []string{"--web.config.file", "DIR/field.yml", "basic_auth_user"}},
		{name: "web configuration with a password for a hash", args: "--web.config.file=DIR/hash.yml", want: []string{"--web.config.file", "DIR/hash.yml"}},
		{name: "web configuration without its certificate", args: "--web.config.file=DIR/cert.yml", want: []string{"--web.config.file", "DIR/cert.yml", "absent.crt"}},
		{name: "web configuration without a key", args: "--web.config.file=DIR/half.yml", want: []string{"--web.config.file", "DIR/half.yml", "key_file"}},
		{name: "web configuration with a header it must not set", args: "--web.config.file=DIR/header.yml", want: []string{"--web.config.file", "DIR/header.yml", "X-Other"}},
		{name: "web configuration with client authentication rubbish", args: "--web.config.file=DIR/clientauth.yml", want: []string{"--web.config.file", "DIR/clientauth.yml"}},
		{name: "listen address empty", args: "--web.listen-address= --factory.api-key-file=DIR/key", want: []string{"--web.listen-address=", "empty", ":10777"}},
		{name: "listen address rubbish", args: "--web.listen-address=nowhere --factory.api-key-file=DIR/key", want: []string{"--web.listen-address", "nowhere"}},

		{name: "log level unknown", args: "--log.level=loud", want: []string{"--log.level=loud", "debug, info, warn, error"}},
		{name: "log format unknown", args: "--log.format=xml", want: []string{"--log.format=xml", "logfmt, json"}},
		{name: "boolean rubbish in the environment", env: env("FACTORY_EXPORTER_DEMO", "maybe"), want: []string{"--demo=maybe", "true or false"}},
		{name: "systemd socket rubbish in the environment", env: env("FACTORY_EXPORTER_WEB_SYSTEMD_SOCKET", "maybe"), want: []string{"--web.systemd-socket=maybe"}},
		{name: "unknown flag", args: "--factory.page-sise=10", want: []string{"--factory.page-sise"}},
		{name: "the key as a flag", args: "--factory.api-key=" + testKey, want: []string{"--factory.api-key"}},
		{name: "flag without a value", args: "--factory.page-size", want: []string{"--factory.page-size"}},
		{name: "flag twice", args: "--factory.page-size=10 --factory.page-size=10", want: []string{"factory.page-size", "repeated"}},
		{name: "boolean twice", args: "--demo --demo", want: []string{"demo", "repeated"}},
		{name: "argument that is no flag", args: "serve", want: []string{`unexpected argument "serve"`, "--no-flag"}},
		{name: "boolean with a value", args: "--demo=true", want: []string{`unexpected argument "true"`, "--no-flag"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			args := strings.Fields(strings.ReplaceAll(test.args, "DIR", dir))
			if !strings.Contains(test.args, "--web.listen-address") {
				args = append(args, "--web.listen-address=127.0.0.1:0")
			}
			// Should it start after all, then not for long.
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var stdout, stderr output
			err := run(ctx, args, &stdout, &stderr)
			if err == nil {
				t.Fatalf("it started:\n%s", stderr.String())
			}
			message := err.Error()
			if strings.ContainsAny(message, "\r\n") {
				t.Errorf("more than one line: %q", message)
			}
			for _, want := range test.want {
				if want = strings.ReplaceAll(want, "DIR", dir); !strings.Contains(message, want) {
					t.Errorf("%q does not name %q", message, want)
				}
			}
			if strings.Contains(stderr.String(), "Listening on") {
				t.Errorf("a port was opened:\n%s", stderr.String())
			}
			checkNoKey(t, "error", message)
			checkNoKey(t, "stderr", stderr.String())
			checkNoKey(t, "stdout", stdout.String())
		})
	}
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

// examples has a value for each flag that is not its default. A line is a value.
func examples(t *testing.T) map[string]string {
	webConfig := filepath.Join(t.TempDir(), "web.yml")
	writeFile(t, webConfig, "basic_auth_users: {}\n")
	return map[string]string{
		"factory.url":                  "https://api.eu.factory.ai/base/",
		"factory.api-key-file":         "/run/secrets/key",
		"factory.page-size":            "50",
		"factory.request-timeout":      "500ms",
		"factory.listing-timeout":      "1h30m",
		"factory.max-retries":          "0",
		"factory.seat-limit":           "1200",
		"collector.window":             "2w\n36h",
		"collector.group-by":           "email_domain\nmetadata.cost center, location",
		"collector.group-limit":        "7",
		"collector.per-user":           "true",
		"collector.usage":              "true",
		"collector.cache-ttl":          "15m",
		"collector.max-stale":          "0s",
		"web.systemd-socket":           "true",
		"web.listen-address":           "127.0.0.1:1\n[::1]:2",
		"web.config.file":              webConfig,
		"web.telemetry-path":           "/seats/metrics",
		"web.timeout-offset":           "1s",
		"web.max-requests":             "0",
		"web.disable-exporter-metrics": "true",
		"log.level":                    "debug",
		"log.format":                   "json",
		"demo":                         "true",
	}
}

func TestEachFlagCanBeSetFromTheEnvironment(t *testing.T) {
	examples := examples(t)
	defaults := parse(t)
	for _, flag := range flagModels(t) {
		t.Run(flag.Name, func(t *testing.T) {
			example, ok := examples[flag.Name]
			if !ok {
				t.Fatal("no example of its value")
			}
			var args []string
			for value := range strings.Lines(example) {
				args = append(args, "--"+flag.Name+"="+strings.TrimSuffix(value, "\n"))
			}
			if flag.IsBoolFlag() {
				args = []string{"--" + flag.Name}
			}
			byFlag := parse(t, args...)
			if reflect.DeepEqual(byFlag, defaults) {
				t.Errorf("%q changes nothing", args)
			}

			variable := "FACTORY_EXPORTER_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(flag.Name))
			t.Setenv(variable, example)
			if byEnvironment := parse(t); !reflect.DeepEqual(byEnvironment, byFlag) {
				t.Errorf("%s=%q makes\n%+v, want as %q does\n%+v", variable, example, byEnvironment, args, byFlag)
			}

			if !flag.IsBoolFlag() {
				t.Setenv(variable, "rubbish\nof all kinds")
			} else {
				t.Setenv(variable, "rubbish")
			}
			if byBoth := parse(t, args...); !reflect.DeepEqual(byBoth, byFlag) {
				t.Errorf("the flag does not come before the environment:\n%+v, want\n%+v", byBoth, byFlag)
			}
		})
	}
}

func TestHelpAndVersionGoToStdout(t *testing.T) {
	t.Setenv("FACTORY_EXPORTER_FACTORY_PAGE_SIZE", "rubbish")
	t.Setenv("FACTORY_EXPORTER_DEMO", "rubbish")
	for _, test := range []struct {
		args string
		want []string
	}{
		{"--help", []string{"--factory.api-key-file=FILE", "FACTORY_EXPORTER_FACTORY_API_KEY_FILE", "--collector.window", "[no-]demo"}},
		{"-h", []string{"--factory.api-key-file=FILE"}},
		{"--version", []string{"factory_exporter, version", "go version"}},
		{"--demo --version", []string{"factory_exporter, version"}},
	} {
		t.Run(test.args, func(t *testing.T) {
			var stdout, stderr output
			if err := run(t.Context(), strings.Fields(test.args), &stdout, &stderr); err != nil {
				t.Error(err)
			}
			for _, want := range test.want {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("stdout lacks %q:\n%s", want, stdout.String())
				}
			}
			if stderr.String() != "" {
				t.Errorf("stderr has %q", stderr.String())
			}
		})
	}
}

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

func TestPages(t *testing.T) {
	t.Parallel()
	server := fakeapi.NewServer(fakeapi.NewOrganization(), testKey)
	p := start(t, withKey(t, "--factory.url="+serveAPI(t, server))...)
	moved := start(t, withKey(t, "--factory.url="+serveAPI(t, server), "--web.telemetry-path=/seats/v1.metrics")...)
	for _, test := range []struct {
		exporter *exporter
		method   string
		path     string
		status   int
		want     string
	}{
		{p, "GET", "/", 200, `href="/metrics"`},
		{p, "GET", "/", 200, `href="/-/healthy"`},
		{p, "GET", "/", 200, `href="/-/ready"`},
		{p, "HEAD", "/", 200, ""},
		{p, "GET", "/-/healthy", 200, "Healthy\n"},
		{p, "HEAD", "/-/healthy", 200, ""},
		{p, "GET", "/-/ready", 200, "Ready\n"},
		{p, "GET", "/nothing", 404, ""},
		{p, "GET", "/metrics/", 404, ""},
		{p, "GET", "/metrics/more", 404, ""},
		{p, "GET", "/-/", 404, ""},
		{p, "GET", "/debug/pprof/", 404, ""},
		{p, "POST", "/", 405, ""},
		{p, "POST", "/metrics", 405, ""},
		{p, "PUT", "/-/healthy", 405, ""},
		{p, "DELETE", "/-/ready", 405, ""},
		{moved, "GET", "/", 200, `href="/seats/v1.metrics"`},
		{moved, "GET", "/metrics", 404, ""},
		{moved, "GET", "/-/healthy", 200, "Healthy\n"},
	} {
		status, _, body := fetch(t, test.method, test.exporter.url+test.path)
		if status != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s %s: status %d, want %d and %q in:\n%s", test.method, test.path, status, test.status, test.want, body)
		}
	}
	if requests := server.Stats().Requests; requests != 0 {
		t.Errorf("the pages made %d requests to the API", requests)
	}
	if status, _, body := fetch(t, "GET", moved.url+"/seats/v1.metrics"); status != 200 || !strings.Contains(body, "\nfactory_up 1\n") {
		t.Errorf("moved metrics: status %d\n%s", status, body)
	}
	if requests := server.Stats().Requests; requests != 1 {
		t.Errorf("one scrape made %d requests to the API, want 1", requests)
	}
}

func TestMetricsComeInTheFormatThatIsAskedFor(t *testing.T) {
	t.Parallel()
	now := time.Now()
	server := fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(250, 1, now)...), testKey)
	p := start(t, withKey(t, "--factory.url="+serveAPI(t, server), "--factory.seat-limit=300", "--collector.group-by=email_domain")...)
	for _, test := range []struct {
		name        string
		header      []string
		contentType string
		encoding    string
	}{
		{"plain", []string{"Accept-Encoding", "identity"}, "text/plain; version=0.0.4", ""},
		{"gzip", []string{"Accept-Encoding", "gzip"}, "text/plain; version=0.0.4", "gzip"},
		{"unknown encoding", []string{"Accept-Encoding", "br"}, "text/plain; version=0.0.4", ""},
		{"OpenMetrics", []string{"Accept", "application/openmetrics-text;version=1.0.0", "Accept-Encoding", "identity"}, "application/openmetrics-text; version=1.0.0", ""},
		{"OpenMetrics, gzip", []string{"Accept", "application/openmetrics-text;version=1.0.0", "Accept-Encoding", "gzip"}, "application/openmetrics-text; version=1.0.0", "gzip"},
		{"as Prometheus asks", []string{"Accept", "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1", "Accept-Encoding", "gzip"}, "application/openmetrics-text; version=1.0.0", "gzip"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, header, body := fetch(t, "GET", p.url+"/metrics", test.header...)
			if status != 200 {
				t.Errorf("status %d", status)
			}
			if got := header.Get("Content-Type"); !strings.HasPrefix(got, test.contentType) {
				t.Errorf("content type %q, want %q", got, test.contentType)
			}
			if got := header.Get("Content-Encoding"); got != test.encoding {
				t.Errorf("content encoding %q, want %q", got, test.encoding)
			}
			if openMetrics := strings.HasPrefix(test.contentType, "application/openmetrics-text"); strings.HasSuffix(body, "\n# EOF\n") != openMetrics {
				t.Errorf("OpenMetrics is %v, the body ends with %q", openMetrics, body[max(0, len(body)-20):])
			} else if !openMetrics {
				parser := expfmt.NewTextParser(model.LegacyValidation)
				if _, err := parser.TextToMetricFamilies(strings.NewReader(body)); err != nil {
					t.Error(err)
				}
			}
			for _, want := range []string{"factory_users 250", "factory_seat_limit 300"} {
				if !regexp.MustCompile(`(?m)^` + want + `(\.0)?$`).MatchString(body) {
					t.Errorf("%q is missing in:\n%s", want, body)
				}
			}
		})
	}
}

func TestExporterMetricsCanBeLeftOut(t *testing.T) {
	t.Parallel()
	api := serveAPI(t, fakeapi.NewServer(fakeapi.NewOrganization(), testKey))
	own := regexp.MustCompile(`^(go|process|promhttp)_`)
	count := func(s samples) (exporters int) {
		for series := range s {
			if own.MatchString(series) {
				exporters++
			}
		}
		return exporters
	}
	with := start(t, withKey(t, "--factory.url="+api)...).scrape(t)
	without := start(t, withKey(t, "--factory.url="+api, "--web.disable-exporter-metrics")...).scrape(t)
	if count(with) == 0 || count(without) != 0 {
		t.Errorf("%d series of the exporter itself, and %d with the flag; want some and 0", count(with), count(without))
	}
	maps.DeleteFunc(with, func(series string, _ float64) bool { return own.MatchString(series) })
	if got, want := slices.Sorted(maps.Keys(without)), slices.Sorted(maps.Keys(with)); !slices.Equal(got, want) {
		t.Errorf("the other series differ:\n%q, want\n%q", got, want)
	}
}

func TestDemoNeedsNoKeyAndSaysWhatToOpen(t *testing.T) {
	t.Parallel()
	p := start(t, "--demo", "--web.telemetry-path=/seats")
	s := p.scrapePath(t, "/seats")
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

// TestNumbers compares what the whole program says with a count of the same members by hand.
func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 99, 100, 101, 1234, 20000} {
		for _, pageSize := range []int{1, 7, 100} {
			if size == 20000 && pageSize == 1 {
				continue // says no more than 1,234 members do
			}
			t.Run(fmt.Sprintf("%d members by %d", size, pageSize), func(t *testing.T) {
				t.Parallel()
				checkNumbers(t, members(size, time.Now()), max(1, (size+pageSize-1)/pageSize), nil,
					fmt.Sprintf("--factory.page-size=%d", pageSize))
			})
		}
	}
	t.Run("windows of one's own", func(t *testing.T) {
		t.Parallel()
		checkNumbers(t, members(500, time.Now()), 5, []string{"36h", "2w", "1y", "10m"})
	})
	t.Run("generated members", func(t *testing.T) {
		t.Parallel()
		checkNumbers(t, fakeapi.Generate(3000, 7, time.Now()), 30, nil)
	})
}

// checkNumbers runs the program on an API below a path, and checks a scrape.
func checkNumbers(t *testing.T, members []fakeapi.Member, pages int, windows []string, args ...string) {
	mux := http.NewServeMux()
	mux.Handle("/some/base/", http.StripPrefix("/some/base", fakeapi.NewServer(fakeapi.NewOrganization(members...), testKey)))
	args = withKey(t, append(args, "--factory.url="+serveAPI(t, mux)+"/some/base/",
		"--collector.group-by=email_domain", "--collector.group-by=metadata.team")...)
	perUser := len(members) < 2000
	if perUser {
		args = append(args, "--collector.per-user")
	}
	for _, window := range windows {
		args = append(args, "--collector.window="+window)
	}
	if windows == nil {
		windows = []string{"1d", "7d", "30d", "90d"}
	}
	p := start(t, args...)
	before := time.Now()
	s := p.scrape(t)
	after := time.Now()

	now := s.listingStart()
	if now.Before(before.Add(-clockSlack)) || now.After(after.Add(clockSlack)) {
		t.Errorf("the listing began at %s, the scrape at %s, which ended at %s", now, before, after)
	}
	var people []person
	for _, m := range members {
		people = append(people, personOf(m))
	}
	want := countByHand(people, windows, []string{"email_domain", "metadata.team"}, now)
	want["factory_listing_pages"] = float64(pages)
	if !perUser {
		maps.DeleteFunc(want, func(series string, _ float64) bool { return strings.HasPrefix(series, "factory_user_") })
	}
	checkUserSeries(t, s, want)
	if s["factory_up"] != 1 || s["factory_api_requests_total"] != float64(pages) {
		t.Errorf("factory_up is %g, requests are %g, want 1 and %d", s["factory_up"], s["factory_api_requests_total"], pages)
	}
}

func TestScrapeTimeout(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	for _, test := range []struct {
		header string
		offset time.Duration
		want   time.Duration
		ok     bool
	}{
		{"10", 500 * time.Millisecond, 9500 * time.Millisecond, true},
		{"10.000000", 500 * time.Millisecond, 9500 * time.Millisecond, true},
		{"0.75", 500 * time.Millisecond, 250 * time.Millisecond, true},
		{"10", 0, 10 * time.Second, true},
		{"1e1", time.Second, 9 * time.Second, true},
		{"0.5", 500 * time.Millisecond, 0, true},
		{"0.1", 500 * time.Millisecond, 0, true},
		{"31536000", 0, year, true},
		{"31536001", 0, 0, false},
		{"", 0, 0, false},
		{"soon", 0, 0, false},
		{"10s", 0, 0, false},
		{" 10", 0, 0, false},
		{"10,5", 0, 0, false},
		{"0", 0, 0, false},
		{"-0", 0, 0, false},
		{"-10", 0, 0, false},
		{"1e300", 0, 0, false},
		{"1e400", 0, 0, false},
		{"Inf", 0, 0, false},
		{"-Inf", 0, 0, false},
		{"NaN", 0, 0, false},
	} {
		if got, ok := scrapeTimeout(test.header, test.offset); got != test.want || ok != test.ok {
			t.Errorf("scrapeTimeout(%q, %s) = %s, %v; want %s, %v", test.header, test.offset, got, ok, test.want, test.ok)
		}
	}
}

func TestProcessEndsWithItsSignals(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			p := startItself(t, nil, "--demo")
			if up := p.scrape(t)["factory_up"]; up != 1 {
				t.Errorf("factory_up is %g", up)
			}
			begin := time.Now()
			if err := p.process.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if err := p.wait(); err != nil {
				t.Errorf("it ended with %v:\n%s", err, p.stderr.String())
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it took %s to stop", took)
			}
		})
	}
}

// A pipe to which nobody writes is like a file on a network that is gone: reading it takes for ever.
func TestProcessTellsItsVersionEverywhere(t *testing.T) {
	t.Parallel()
	agents := make(chan string, 1)
	api := serveAPI(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agents <- r.UserAgent()
		w.WriteHeader(http.StatusForbidden) // once is enough
	}))
	p := startItself(t, nil, withKey(t, "--factory.url="+api)...)
	_, _, metrics := fetch(t, http.MethodGet, p.url+"/metrics")
	found := regexp.MustCompile(`factory_exporter_build_info{.*,revision="(.+)",tags=.*,version="(.+)"} 1`).FindStringSubmatch(metrics)
	if found == nil {
		t.Fatal("factory_exporter_build_info has no version or revision")
	}
	revision, version := found[1], found[2]
	_, _, landing := fetch(t, http.MethodGet, p.url)
	for where, says := range map[string][2]string{
		"landing page": {landing, "(version=" + version + ", branch=, revision=" + revision + ")"},
		"log":          {p.stderr.String(), " version=" + version + " revision=" + revision + " "},
		"User-Agent":   {<-agents, program + "/" + version},
	} {
		if !strings.Contains(says[0], says[1]) {
			t.Errorf("%s has no %q", where, says[1])
		}
	}
}

func TestProcessThatCannotStartSaysSoOnStderr(t *testing.T) {
	t.Parallel()
	process := exec.CommandContext(t.Context(), os.Args[0], "--factory.page-size=0")
	process.Env = append(os.Environ(), asProgram+"=1")
	var stdout, stderr bytes.Buffer
	process.Stdout, process.Stderr = &stdout, &stderr
	err := process.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v, want exit status 1", err)
	}
	if got, want := stderr.String(), "factory_exporter: error: --factory.page-size=0: not a whole number from 1 to 100\n"; got != want {
		t.Errorf("stderr has %q, want %q", got, want)
	}
	if stdout.Len() > 0 {
		t.Errorf("stdout has %q", stdout.String())
	}
}

// Below: what the tests of this package share.

// exporter is a program that runs.
type exporter struct {
	url            string // of its landing page, without the slash
	stdout, stderr *output
	stop           func() // ends it and fails the test if it ends badly

	process *exec.Cmd    // nil if it runs in this process
	wait    func() error // for the end of the process
}

// start runs the program on a free port until the test ends.
func start(t testing.TB, args ...string) *exporter {
	t.Helper()
	listens := make(chan string, 1)
	p := &exporter{stdout: new(output), stderr: &output{listening: listens}}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = run(ctx, append([]string{"--web.listen-address=127.0.0.1:0"}, args...), p.stdout, p.stderr)
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
		if err != nil {
			t.Errorf("the program ended with: %v", err)
		}
	})
	t.Cleanup(p.stop)
	select {
	case address := <-listens:
		p.url = "http://" + address
	case <-ended:
		t.Fatalf("the program did not start: %v\n%s", err, p.stderr.String())
	case <-time.After(startTimeout):
		t.Fatalf("the program does not listen:\n%s", p.stderr.String())
	}
	return p
}

// startItself runs the test binary as the program, with more in its environment, until the test ends.
func startItself(t testing.TB, environment []string, args ...string) *exporter {
	t.Helper()
	return startProcess(t, os.Args[0], append(environment, asProgram+"=1"), args...)
}

// startProcess runs a program of its own on a free port until the test ends.
func startProcess(t testing.TB, path string, environment []string, args ...string) *exporter {
	t.Helper()
	listens := make(chan string, 1)
	p := &exporter{stdout: new(output), stderr: &output{listening: listens}}
	p.process = exec.Command(path, append([]string{"--web.listen-address=127.0.0.1:0"}, args...)...)
	p.process.Env = append(os.Environ(), environment...)
	p.process.Stdout, p.process.Stderr = p.stdout, p.stderr
	if err := p.process.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.process.Wait() }()
	p.wait = sync.OnceValue(func() error { return <-ended })
	p.stop = sync.OnceFunc(func() {
		_ = p.process.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := p.wait(); err != nil {
			t.Errorf("the process ended with %v:\n%s", err, p.stderr.String())
		}
	})
	t.Cleanup(p.stop)
	select {
	case address := <-listens:
		p.url = "http://" + address
	case err := <-ended:
		ended <- err
		t.Fatalf("the process did not start: %v\n%s", err, p.stderr.String())
	case <-time.After(startTimeout):
		t.Fatalf("the process does not listen:\n%s", p.stderr.String())
	}
	return p
}

// startTimeout is how long a program may take until it listens, on a machine that is busy.
const startTimeout = 30 * time.Second

func (p *exporter) scrape(t testing.TB, header ...string) samples {
	t.Helper()
	return p.scrapePath(t, "/metrics", header...)
}

func (p *exporter) scrapePath(t testing.TB, path string, header ...string) samples {
	t.Helper()
	status, _, body := fetch(t, http.MethodGet, p.url+path, header...)
	if status != http.StatusOK {
		t.Errorf("scrape: status %d", status)
	}
	return parseSamples(t, body)
}

// output is what a program writes. The address that it listens on goes to listening, if that is
// set.
type output struct {
	listening chan string

	mu   sync.Mutex
	text []byte
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	if o.listening != nil {
		if m := listening.FindSubmatch(o.text); m != nil {
			o.listening <- string(m[1])
			o.listening = nil
		}
	}
	return len(b), nil
}

var listening = regexp.MustCompile(`[ {,"]address"?[=:]"?([0-9.]+:[0-9]+)`)

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// serveAPI serves an API on a real socket until the test ends, and returns its URL.
func serveAPI(t testing.TB, api http.Handler) string {
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return server.URL
}

// withKey adds a key file that has testKey.
func withKey(t testing.TB, args ...string) []string {
	file := filepath.Join(t.TempDir(), "key")
	writeFile(t, file, testKey+"\n")
	return append(args, "--factory.api-key-file="+file)
}

// fetch sends a request on a connection of its own, with a header of these names and values, and
// returns the whole answer, unpacked.
func fetch(t testing.TB, method, url string, header ...string) (status int, _ http.Header, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	return fetchWith(t, &client, method, url, header...)
}

func fetchWith(t testing.TB, client *http.Client, method, url string, header ...string) (status int, _ http.Header, body string) {
	t.Helper()
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Error(err)
		return 0, nil, ""
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		t.Error(err)
		return 0, nil, ""
	}
	defer response.Body.Close()
	reader := io.Reader(response.Body)
	if response.Header.Get("Content-Encoding") == "gzip" && method != http.MethodHead {
		if reader, err = gzip.NewReader(response.Body); err != nil {
			t.Error(err)
			return 0, nil, ""
		}
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, response.Header, string(text)
}

// samples are the values of a scrape by their series, as in the text format.
type samples map[string]float64

func parseSamples(t testing.TB, body string) samples {
	t.Helper()
	s := samples{}
	lines := bufio.NewScanner(strings.NewReader(body))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		space := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil || space < 0 {
			t.Errorf("not a sample: %q", line)
			continue
		}
		if _, ok := s[line[:space]]; ok {
			t.Errorf("twice in a scrape: %s", line[:space])
		}
		s[line[:space]] = value
	}
	return s
}

// clockSlack is how far listingStart may be off: a duration is right even where the clock on the wall
// is being adjusted.
const clockSlack = 10 * time.Millisecond

// listingStart is the instant at which members were counted.
func (s samples) listingStart() time.Time {
	start := s["factory_listing_timestamp_seconds"] - s["factory_listing_duration_seconds"]
	return time.UnixMicro(int64(math.Round(start * 1e6)))
}

// userSeries are the series that stem from a listing.
func (s samples) userSeries() samples {
	users := maps.Clone(s)
	maps.DeleteFunc(users, func(series string, _ float64) bool {
		name, _, _ := strings.Cut(series, "{")
		switch name {
		case "factory_listing_pages", "factory_listing_duplicate_users", "factory_listing_invalid_timestamps":
			return false
		case "factory_users_joined_total", "factory_users_left_total":
			return true
		}
		return !strings.HasPrefix(name, "factory_user")
	})
	return users
}

// checkUserSeries compares the user series of a scrape with those wanted.
func checkUserSeries(t testing.TB, s, want samples) {
	t.Helper()
	got := s.userSeries()
	const sum = "factory_users_last_sign_in_age_seconds_sum"
	if _, ok := got[sum]; ok && math.Abs(got[sum]-want[sum]) <= clockSlack.Seconds()*want["factory_users_last_sign_in_age_seconds_count"] {
		got[sum] = want[sum]
	}
	if maps.Equal(got, want) {
		return
	}
	differences := 0
	series := slices.Concat(slices.Collect(maps.Keys(got)), slices.Collect(maps.Keys(want)))
	slices.Sort(series)
	for _, name := range slices.Compact(series) {
		g, gotOK := got[name]
		w, wantOK := want[name]
		if (g != w || gotOK != wantOK) && differences < 20 {
			t.Errorf("%s is %g (there: %v), want %g (there: %v)", name, g, gotOK, w, wantOK)
			differences++
		}
	}
}

// person is what a count needs to know of a member.
type person struct {
	id, created, signedIn string // timestamps are empty if there are none
	attributes            map[string]string
}

func personOf(m fakeapi.Member) person {
	p := person{id: m.ID, created: m.CreatedAt, signedIn: m.LastSignInAt, attributes: map[string]string{}}
	if string(m.Raw["lastSignInAt"]) == "null" {
		p.signedIn = ""
	}
	if _, domain, ok := strings.Cut(m.Email, "@"); ok {
		p.attributes["email_domain"] = strings.ToLower(domain)
	}
	for key, value := range m.Metadata {
		p.attributes["metadata."+key] = value
	}
	return p
}

// countByHand counts people at the instant now, with as little cleverness as possible. It returns
// the user series of a scrape, those of each user included, but for the number of pages.
func countByHand(people []person, windows, attributes []string, now time.Time) samples {
	s := samples{
		"factory_users":                                            0,
		"factory_users_never_signed_in":                            0,
		"factory_listing_duplicate_users":                          0,
		`factory_listing_invalid_timestamps{field="createdAt"}`:    0,
		`factory_listing_invalid_timestamps{field="lastSignInAt"}`: 0,
		"factory_users_last_sign_in_age_seconds_sum":               0,
		"factory_users_last_sign_in_age_seconds_count":             0,
		`factory_users_last_sign_in_age_seconds_bucket{le="+Inf"}`: 0,
	}
	day := 24 * time.Hour
	buckets := []time.Duration{1 * day, 3 * day, 7 * day, 14 * day, 30 * day, 60 * day, 90 * day, 180 * day, 365 * day}
	bucket := func(d time.Duration) string {
		return `factory_users_last_sign_in_age_seconds_bucket{le="` + strconv.FormatFloat(d.Seconds(), 'g', -1, 64) + `"}`
	}
	for _, d := range buckets {
		s[bucket(d)] = 0
	}
	begins := map[string]time.Time{}
	for _, window := range windows {
		length, err := model.ParseDuration(window)
		if err != nil {
			panic(err)
		}
		begins[window] = now.Add(-time.Duration(length))
		for _, name := range []string{"active", "idle", "new"} {
			s["factory_users_"+name+`{window="`+window+`"}`] = 0
		}
	}

	met := map[string]bool{}
	for _, p := range people {
		if met[p.id] {
			s["factory_listing_duplicate_users"]++
			continue
		}
		met[p.id] = true
		s["factory_users"]++
		created, createdOK := readTime(p.created)
		signedIn, signedInOK := readTime(p.signedIn)
		never := p.signedIn == ""

		if createdOK {
			s["factory_user_created_timestamp_seconds{id="+quote(p.id)+"}"] = unix(created)
		} else {
			s[`factory_listing_invalid_timestamps{field="createdAt"}`]++
		}
		switch {
		case never:
			s["factory_users_never_signed_in"]++
		case signedInOK:
			age := max(0, now.Sub(signedIn))
			s["factory_users_last_sign_in_age_seconds_count"]++
			s[`factory_users_last_sign_in_age_seconds_bucket{le="+Inf"}`]++
			s["factory_users_last_sign_in_age_seconds_sum"] += age.Seconds()
			for _, d := range buckets {
				if age <= d {
					s[bucket(d)]++
				}
			}
			s["factory_user_last_sign_in_timestamp_seconds{id="+quote(p.id)+"}"] = unix(signedIn)
		default:
			s[`factory_listing_invalid_timestamps{field="lastSignInAt"}`]++
		}

		for _, attribute := range attributes {
			s["factory_users_by_attribute"+labels(attribute, p.attributes[attribute], "")]++
		}
		for _, window := range windows {
			begin := begins[window]
			active := signedInOK && !signedIn.Before(begin)
			fresh := createdOK && !created.Before(begin)
			idle := createdOK && created.Before(begin) && (never || signedInOK && signedIn.Before(begin))
			for name, is := range map[string]bool{"active": active, "new": fresh, "idle": idle} {
				if is {
					s["factory_users_"+name+`{window="`+window+`"}`]++
				}
			}
			for _, attribute := range attributes {
				of := labels(attribute, p.attributes[attribute], window)
				s["factory_users_active_by_attribute"+of] += boolean01(active)
				s["factory_users_idle_by_attribute"+of] += boolean01(idle)
			}
		}
	}
	return s
}

func boolean01(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func labels(attribute, value, window string) string {
	if value == "" {
		value = "(none)"
	}
	text := "{attribute=" + quote(attribute) + ",value=" + quote(value)
	if window != "" {
		text += ",window=" + quote(window)
	}
	return text + "}"
}

// quote quotes a label value as the text format does.
func quote(value string) string {
	return `"` + labelEscaper.Replace(value) + `"`
}

var labelEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func readTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func unix(t time.Time) float64 { return float64(t.Unix()) + float64(t.Nanosecond())/1e9 }

// members makes up n members that differ in whatever the API document lets them differ in.
func members(n int, now time.Time) []fakeapi.Member {
	zones := []*time.Location{time.UTC, time.FixedZone("", 2*3600), time.FixedZone("", -7*3600), time.FixedZone("", 5*3600+1800)}
	layouts := []string{
		"2006-01-02T15:04:05Z07:00",
		"2006-01-02T15:04:05.000Z07:00",
		"2006-01-02T15:04:05.000000Z07:00",
		"2006-01-02T15:04:05.000000000Z07:00",
		"2006-01-02T15:04:05.000-0700",
	}
	domains := []string{"acme.example", "Labs.ACME.example", "partner.example"}
	teams := []string{"platform", `re"search\`, "Größe"}
	members := make([]fakeapi.Member, n)
	for i := range members {
		format := func(t time.Time) string { return t.In(zones[i%len(zones)]).Format(layouts[i%len(layouts)]) }
		m := fakeapi.Member{
			ID:        fmt.Sprintf("user_%05d", i),
			Email:     fmt.Sprintf("p%d@%s", i, domains[i%len(domains)]),
			CreatedAt: format(now.Add(-time.Duration(i%431) * 23 * time.Hour)),
		}
		if i%3 > 0 {
			m.FirstName = "Ada"
		}
		if i%4 > 0 {
			m.LastName = "Lovelace"
		}
		if i%5 > 0 {
			m.Metadata = map[string]string{"team": teams[i%len(teams)], "other": "x"}
		}
		switch i % 7 {
		case 0: // never signed in, the field is absent
		case 1: // never, the field is null
			m.Raw = map[string]json.RawMessage{"lastSignInAt": json.RawMessage("null")}
		case 2:
			m.LastSignInAt = format(now.Add(time.Duration(i%11+1) * time.Hour))
		default:
			m.LastSignInAt = format(now.Add(-time.Duration(i%397) * 17 * time.Hour))
		}
		if i%13 == 0 {
			m.CreatedAt = format(now.Add(time.Duration(i%5+1) * time.Hour))
		}
		members[i] = m
	}
	return members
}

// checkNoKey fails if text has the key or a telling part of it.
func checkNoKey(t testing.TB, where, text string) {
	t.Helper()
	const telling = 8
	for i := range len(testKey) - telling + 1 {
		if at := strings.Index(text, testKey[i:i+telling]); at >= 0 {
			t.Errorf("%s has %d bytes or more of the key: %q", where, telling, text[max(0, at-100):min(len(text), at+100)])
			return
		}
	}
}

func parse(t testing.TB, args ...string) *config {
	t.Helper()
	cfg, err := parseFlags(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func env(name, value string) map[string]string { return map[string]string{name: value} }

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func symlink(t testing.TB, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}
