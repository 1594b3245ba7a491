package config

import (
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"factory_exporter/internal/harness"
)

func parse(t testing.TB, args ...string) *Config {
	t.Helper()
	cfg, err := Parse(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Bad values of flags. Other mistakes on the command line, and the files that flags name,
// are in testdata/script, where they read as a user sees them.
func TestBadValueIsOneLineThatNamesTheFlag(t *testing.T) {
	for _, test := range []struct {
		name string
		args string
		env  map[string]string
		want []string
	}{
		{name: "URL blank in the environment", env: map[string]string{"FACTORY_EXPORTER_FACTORY_URL": " "}, want: []string{"--factory.url=", "is empty"}},
		{name: "demo with a key", args: "--demo --factory.api-key-file=key", want: []string{"--demo", "--factory.api-key-file"}},
		{name: "demo with a key in the environment", args: "--demo", env: map[string]string{"FACTORY_EXPORTER_FACTORY_API_KEY_FILE": "key"}, want: []string{"--demo", "--factory.api-key-file"}},
		{name: "demo with a URL", args: "--demo --factory.url=https://api.factory.ai", want: []string{"--demo", "--factory.url"}},

		{name: "page size 101", args: "--factory.page-size=101", want: []string{"--factory.page-size=101", "1 to 100"}},
		{name: "page size rubbish", args: "--factory.page-size=many", want: []string{"--factory.page-size=many", "1 to 100"}},
		{name: "request timeout zero", args: "--factory.request-timeout=0s", want: []string{"--factory.request-timeout=0s", "zero"}},
		{name: "request timeout without a unit", args: "--factory.request-timeout=30", want: []string{"--factory.request-timeout=30", "duration"}},
		{name: "listing timeout negative", args: "--factory.listing-timeout=-1m", want: []string{"--factory.listing-timeout=-1m", "duration"}},
		{name: "retries negative", args: "--factory.max-retries=-1", want: []string{"--factory.max-retries=-1"}},
		{name: "seat limit negative", args: "--factory.seat-limit=-1", want: []string{"--factory.seat-limit=-1"}},

		{name: "window rubbish", args: "--collector.window=fortnight", want: []string{"--collector.window=fortnight", "not a window like 7d", "no unit for months"}},
		{name: "window zero", args: "--collector.window=0d", want: []string{"--collector.window=0d", "zero"}},
		{name: "window in minutes", args: "--collector.window=45m", want: []string{"--collector.window=45m", "m is minutes", "90d"}},
		{name: "window twice, written differently", args: "--collector.window=7d --collector.window=168h", want: []string{"--collector.window=168h", "twice", "7d"}},
		{name: "window twice in the environment", env: map[string]string{"FACTORY_EXPORTER_COLLECTOR_WINDOW": "1d\n24h"}, want: []string{"--collector.window=24h", "twice", "1d"}},
		{name: "windows with commas", args: "--collector.window=7d,30d", want: []string{"--collector.window=7d,30d", "not a window like 7d", "once for each value"}},
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
		{name: "telemetry path with a pattern", args: "--web.telemetry-path=/{metrics}", want: []string{"--web.telemetry-path=/{metrics}", "clean"}},
		{name: "telemetry path of the landing page", args: "--web.telemetry-path=/", want: []string{"--web.telemetry-path=/", "another page"}},
		{name: "telemetry path of the health page", args: "--web.telemetry-path=/-/healthy", want: []string{"--web.telemetry-path=/-/healthy", "another page"}},
		{name: "telemetry path of the ready page", args: "--web.telemetry-path=/-/ready", want: []string{"--web.telemetry-path=/-/ready", "another page"}},
		{name: "timeout offset rubbish", args: "--web.timeout-offset=half", want: []string{"--web.timeout-offset=half", "duration"}},
		{name: "max requests negative", args: "--web.max-requests=-1", want: []string{"--web.max-requests=-1"}},

		{name: "log level unknown", args: "--log.level=loud", want: []string{"--log.level=loud", "debug, info, warn, error"}},
		{name: "log format unknown", args: "--log.format=xml", want: []string{"--log.format=xml", "logfmt, json"}},
		{name: "users: a filter twice", args: "users --idle=30d --idle=7d", want: []string{"--idle is given twice"}},
		{name: "users: a value without an attribute", args: "users --match=web", want: []string{"--match=web", "ATTRIBUTE=VALUE"}},
		{name: "users: format unknown", args: "users --format=xml", want: []string{"--format=xml", "table, csv, json"}},
		{name: "users: no file", args: "users --output=", want: []string{"--output=", "name of a file"}},

		{name: "systemd socket rubbish in the environment", env: map[string]string{"FACTORY_EXPORTER_WEB_SYSTEMD_SOCKET": "maybe"}, want: []string{"--web.systemd-socket=maybe"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			var stdout strings.Builder
			_, err := Parse(strings.Fields(test.args), &stdout)
			if err == nil || stdout.String() != "" {
				t.Fatalf("error %v, stdout %q", err, stdout.String())
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not name %q", err, want)
				}
			}
		})
	}
}

func TestBlankLinesOfTheEnvironmentAreSkipped(t *testing.T) {
	defaults, want := parse(t), parse(t, "--collector.window=7d", "--collector.window=30d", "--web.listen-address=127.0.0.1:1", "--web.listen-address=[::1]:2")
	t.Setenv("FACTORY_EXPORTER_COLLECTOR_WINDOW", "\n7d\n\n \t\r\n30d\n\n")
	t.Setenv("FACTORY_EXPORTER_WEB_LISTEN_ADDRESS", "\n127.0.0.1:1\n\n[::1]:2\n")
	if got := parse(t); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, blank := range []string{"", "\n", " ", "\n \n\r\n\t\n"} { // is like no variable
		t.Setenv("FACTORY_EXPORTER_COLLECTOR_WINDOW", blank)
		t.Setenv("FACTORY_EXPORTER_COLLECTOR_GROUP_BY", blank)
		t.Setenv("FACTORY_EXPORTER_WEB_LISTEN_ADDRESS", blank)
		if got := parse(t); !reflect.DeepEqual(got, defaults) {
			t.Errorf("with %q it is %+v, want the defaults", blank, got)
		}
	}
	// On the command line, nothing is not skipped.
	for _, flag := range []string{"--collector.window=", "--collector.group-by=", "--web.listen-address="} {
		if _, err := Parse([]string{flag}, io.Discard); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: error is %v", flag, err)
		}
	}
}

func TestEachFlagCanBeSetFromTheEnvironment(t *testing.T) {
	examples := examples(t)
	for _, command := range []string{Serve, Users, Check} {
		flags, command := flagsOf(command), strings.Fields(command)
		for _, flag := range flags {
			t.Run(strings.Join(append(command, flag.Name), " "), func(t *testing.T) {
				example, ok := examples[flag.Name]
				if !ok {
					t.Fatal("no example of its value: add one to examples")
				}
				if flag.Name == "used" || flag.Name == "unused" {
					t.Setenv("FACTORY_EXPORTER_COLLECTOR_USAGE", "true")
				}
				args, rubbish := slices.Clone(command), "rubbish\nof all kinds"
				for value := range strings.Lines(example) {
					args = append(args, "--"+flag.Name+"="+strings.TrimSuffix(value, "\n"))
				}
				if flag.IsBoolFlag() {
					args, rubbish = append(command, "--"+flag.Name), "rubbish"
				}
				byFlag := parse(t, args...)
				if reflect.DeepEqual(byFlag, parse(t, command...)) {
					t.Errorf("%q changes nothing", args)
				}
				t.Setenv(flag.Envar, example)
				if byEnvironment := parse(t, command...); !reflect.DeepEqual(byEnvironment, byFlag) {
					t.Errorf("%s=%q makes\n%+v, want as %q does\n%+v", flag.Envar, example, byEnvironment, args, byFlag)
				}
				t.Setenv(flag.Envar, rubbish)
				if byBoth := parse(t, args...); !reflect.DeepEqual(byBoth, byFlag) {
					t.Errorf("the flag does not come before the environment:\n%+v, want\n%+v", byBoth, byFlag)
				}
			})
		}
	}
}

func TestVariablesThatBelongToNoFlagAreTold(t *testing.T) {
	for _, entry := range []string{
		"FACTORY_EXPORTER_FACTORY_SEATLIMIT=5", "FACTORY_EXPORTER_WEB_PORT=9090", "FACTORY_EXPORTER_=", // mistakes
		"FACTORY_EXPORTER_FACTORY_SEAT_LIMIT=5", "FACTORY_EXPORTER_NEVER_SIGNED_IN=true", // flags, of the one or the other
		"FACTORY_API_KEY=k", "FACTORY_URL=https://example.com", "MY_FACTORY_EXPORTER_FLAGS=x", // others
		// What Kubernetes sets for Services named factory-exporter and factory-exporter-eu.
		"FACTORY_EXPORTER_SERVICE_HOST=10.0.0.1", "FACTORY_EXPORTER_SERVICE_PORT=10777", "FACTORY_EXPORTER_SERVICE_PORT_HTTP=10777",
		"FACTORY_EXPORTER_PORT=tcp://10.0.0.1:10777", "FACTORY_EXPORTER_PORT_10777_TCP=tcp://10.0.0.1:10777", "FACTORY_EXPORTER_PORT_10777_TCP_PROTO=tcp",
		"FACTORY_EXPORTER_PORT_10777_TCP_PORT=10777", "FACTORY_EXPORTER_PORT_10777_TCP_ADDR=10.0.0.1", "FACTORY_EXPORTER_EU_SERVICE_HOST=10.0.0.2", "FACTORY_EXPORTER_EU_PORT=tcp://10.0.0.2:80",
	} {
		name, value, _ := strings.Cut(entry, "=")
		t.Setenv(name, value)
	}
	want := []string{"FACTORY_EXPORTER_", "FACTORY_EXPORTER_FACTORY_SEATLIMIT", "FACTORY_EXPORTER_WEB_PORT"}
	for _, command := range [][]string{nil, {"users"}} {
		if got := parse(t, command...).UnknownVariables(); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", command, got, want)
		}
	}
}

// examples has a value for each flag that is not its default. A line is a value.
func examples(t *testing.T) map[string]string {
	webConfig := harness.WriteFile(t, filepath.Join(t.TempDir(), "web.yml"), "basic_auth_users: {}\n")
	return map[string]string{
		"idle":                         "30d",
		"active":                       "30d",
		"new":                          "30d",
		"used":                         "30d",
		"unused":                       "30d",
		"never-signed-in":              "true",
		"match":                        "metadata.team=web\nemail_domain=(none)",
		"format":                       "json",
		"output":                       "list.csv",
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
