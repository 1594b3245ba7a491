package main

import (
	"context"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// Bad values of flags. Other mistakes on the command line, and the files that flags name,
// are in testdata/script, where they read as a user sees them.
func TestBadValueIsOneLineThatNamesTheFlag(t *testing.T) {
	for _, test := range []struct {
		name string
		args string
		env  map[string]string
		want []string
	}{
		{name: "key file name with a line break", env: env("FACTORY_EXPORTER_FACTORY_API_KEY_FILE", "absent\n"), want: []string{"--factory.api-key-file", "absent"}},
		{name: "key with a line break inside", env: env(keyVariable, testKey[:20]+"\n"+testKey[20:]), want: []string{keyVariable, "line break"}},

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
		{name: "telemetry path below the documents", args: "--web.telemetry-path=/docs/metrics", want: []string{"--web.telemetry-path=/docs/metrics", "another page"}},
		{name: "telemetry path of the documents", args: "--web.telemetry-path=/docs", want: []string{"--web.telemetry-path=/docs", "another page"}},
		{name: "telemetry path of the landing page", args: "--web.telemetry-path=/", want: []string{"--web.telemetry-path=/", "another page"}},
		{name: "telemetry path of the health page", args: "--web.telemetry-path=/-/healthy", want: []string{"--web.telemetry-path=/-/healthy", "another page"}},
		{name: "telemetry path of the ready page", args: "--web.telemetry-path=/-/ready", want: []string{"--web.telemetry-path=/-/ready", "another page"}},
		{name: "timeout offset rubbish", args: "--web.timeout-offset=half", want: []string{"--web.timeout-offset=half", "duration"}},
		{name: "max requests negative", args: "--web.max-requests=-1", want: []string{"--web.max-requests=-1"}},

		{name: "log level unknown", args: "--log.level=loud", want: []string{"--log.level=loud", "debug, info, warn, error"}},
		{name: "log format unknown", args: "--log.format=xml", want: []string{"--log.format=xml", "logfmt, json"}},
		{name: "boolean rubbish in the environment", env: env("FACTORY_EXPORTER_DEMO", "maybe"), want: []string{"--demo=maybe", "true or false"}},
		{name: "systemd socket rubbish in the environment", env: env("FACTORY_EXPORTER_WEB_SYSTEMD_SOCKET", "maybe"), want: []string{"--web.systemd-socket=maybe"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			// Should it start after all, then not for long.
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var stdout, stderr output
			err := run(ctx, append(strings.Fields(test.args), "--web.listen-address=127.0.0.1:0"), &stdout, &stderr)
			if err == nil {
				t.Fatalf("it started:\n%s", stderr.String())
			}
			message := err.Error()
			if strings.ContainsAny(message, "\r\n") {
				t.Errorf("more than one line: %q", message)
			}
			for _, want := range test.want {
				if !strings.Contains(message, want) {
					t.Errorf("%q does not name %q", message, want)
				}
			}
			if stdout.String() != "" || stderr.String() != "" {
				t.Errorf("it writes %q, and to stderr %q", stdout.String(), stderr.String())
			}
			checkNoKey(t, "error", message)
		})
	}
}

func TestBlankLinesOfTheEnvironmentAreSkipped(t *testing.T) {
	want := parse(t, "--collector.window=7d", "--collector.window=30d", "--web.listen-address=127.0.0.1:1", "--web.listen-address=[::1]:2")
	t.Setenv("FACTORY_EXPORTER_COLLECTOR_WINDOW", "\n7d\n\n \t\r\n30d\n\n")
	t.Setenv("FACTORY_EXPORTER_WEB_LISTEN_ADDRESS", "\n127.0.0.1:1\n\n[::1]:2\n")
	if got := parse(t); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, blank := range []string{"", "\n", " ", "\n \n\r\n\t\n"} { // is like no variable
		t.Setenv("FACTORY_EXPORTER_COLLECTOR_WINDOW", blank)
		t.Setenv("FACTORY_EXPORTER_COLLECTOR_GROUP_BY", blank)
		t.Setenv("FACTORY_EXPORTER_WEB_LISTEN_ADDRESS", blank)
		got := parse(t)
		if got := got.collector.Census; len(got.Windows) != 4 || len(got.GroupBy) != 0 {
			t.Errorf("with %q there are the windows %v and the attributes %v, want the defaults", blank, got.Windows, got.GroupBy)
		}
		if addresses := *got.web.WebListenAddresses; !slices.Equal(addresses, []string{":10777"}) {
			t.Errorf("with %q it listens on %q", blank, addresses)
		}
	}
	// On the command line, nothing is not skipped.
	for _, flag := range []string{"--collector.window=", "--collector.group-by=", "--web.listen-address="} {
		if _, err := parseFlags([]string{flag}, io.Discard); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: error is %v", flag, err)
		}
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
