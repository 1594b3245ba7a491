package main

import (
	"context"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A bad value as a user sees it, and mistakes of other kinds, are in testdata/script.
func TestBadValueIsOneLineThatNamesTheFlag(t *testing.T) {
	for _, test := range []struct {
		name string
		args string
		env  map[string]string
		want []string
	}{
		{name: "key file name with a line break", env: env("FACTORY_EXPORTER_FACTORY_API_KEY_FILE", "absent\n"), want: []string{"--factory.api-key-file", "absent"}},
		{name: "key with a line break inside", env: env(keyVariable, testKey[:20]+"\n"+testKey[20:]), want: []string{keyVariable, "line break"}},
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
