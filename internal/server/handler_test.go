package server

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"factory_exporter/collector"
	"factory_exporter/collector/census"
	"factory_exporter/internal/harness"
)

func TestPages(t *testing.T) {
	e := newExporter(t, settings{})
	moved := newExporter(t, settings{server: Config{TelemetryPath: "/seats/v1.metrics"}})
	for _, test := range []struct {
		exporter *exporter
		method   string
		path     string
		status   int
		want     string
	}{
		{e, "GET", "/", 200, `href="/metrics"`},
		{e, "GET", "/", 200, `href="/-/healthy"`},
		{e, "GET", "/", 200, `href="/-/ready"`},
		{e, "HEAD", "/", 200, ""},
		{e, "GET", "/-/healthy", 200, "Healthy\n"},
		{e, "GET", "/-/ready", 200, "Ready\n"},
		{e, "GET", "/nothing", 404, ""},
		{e, "GET", "/metrics/", 404, ""},
		{e, "GET", "/debug/pprof/", 404, ""},
		{e, "POST", "/", 405, ""},
		{e, "POST", "/metrics", 405, ""},
		{e, "DELETE", "/-/ready", 405, ""},
		{moved, "GET", "/", 200, `href="/seats/v1.metrics"`},
		{moved, "GET", "/metrics", 404, ""},
	} {
		status, _, body := ask(t, test.exporter.network, test.method, test.path)
		if status != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s %s: status %d, want %d and %q in:\n%s", test.method, test.path, status, test.status, test.want, body)
		}
	}
	if requests := e.api.Stats().Requests + moved.api.Stats().Requests; requests != 0 {
		t.Errorf("the pages made %d requests to the API", requests)
	}
	if status, _, body := get(t, moved.network, "/seats/v1.metrics"); status != 200 || !strings.Contains(body, "\nfactory_up 1\n") {
		t.Errorf("moved metrics: status %d\n%s", status, body)
	}
	if requests := moved.api.Stats().Requests; requests != 1 {
		t.Errorf("one scrape made %d requests to the API, want 1", requests)
	}
}

func TestMetricsComeInTheFormatThatIsAskedFor(t *testing.T) {
	e := newExporter(t, settings{members: 250, collector: collector.Config{
		SeatLimit: 300, Census: census.Config{GroupBy: harness.Attributes(t, "email_domain"), GroupLimit: 50},
	}})
	for _, test := range []struct {
		name        string
		header      []string
		contentType string
		encoding    string
	}{
		{"plain", []string{"Accept-Encoding", "identity"}, "text/plain; version=0.0.4", ""},
		{"gzip", []string{"Accept-Encoding", "gzip"}, "text/plain; version=0.0.4", "gzip"},
		{"anything but gzip", []string{"Accept-Encoding", "gzip;q=0.0"}, "text/plain; version=0.0.4", ""},
		{"with weights", []string{"Accept-Encoding", "br , gzip; q=0.1"}, "text/plain; version=0.0.4", ""},
		{"nothing at all", []string{"Accept-Encoding", "*;q=0"}, "text/plain; version=0.0.4", ""},
		{"OpenMetrics", []string{"Accept", "application/openmetrics-text;version=1.0.0", "Accept-Encoding", "identity"}, "application/openmetrics-text; version=1.0.0", ""},
		{"as Prometheus asks", []string{"Accept", "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1", "Accept-Encoding", "gzip"}, "application/openmetrics-text; version=1.0.0", "gzip"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, header, body := get(t, e.network, "/metrics", test.header...)
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
			}
			if logs := e.logs.String(); strings.Contains(logs, "level=ERROR") {
				t.Errorf("it logs\n%s", logs)
			}
			harness.Parse(t, body).Check(t, "the page", harness.Samples{"factory_users": 250, "factory_seat_limit": 300})
		})
	}
}

// Strict readers of OpenMetrics refuse a page where a family is there twice, or where its
// unit is not the end of its name.
func TestFamiliesOfOpenMetricsAreThereOnceAndTellTheirUnits(t *testing.T) {
	_, _, body := get(t, newExporter(t, settings{members: 3}).network, "/metrics", "Accept", "application/openmetrics-text;version=1.0.0")
	families, units := map[string]bool{}, map[string]string{}
	for line := range strings.Lines(body) {
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "# TYPE "):
			if families[fields[2]] {
				t.Errorf("%s is there twice", fields[2])
			}
			families[fields[2]] = true
		case strings.HasPrefix(line, "# UNIT "):
			units[fields[2]] = fields[3]
		}
	}
	for family := range families {
		if unit := units[family]; !strings.HasSuffix(family, unit) || strings.HasPrefix(family, "factory_") && strings.HasSuffix(family, "_seconds") != (unit == "seconds") {
			t.Errorf("%s has the unit %q", family, unit)
		}
	}
	if !families["go_memory_classes_heap_objects_bytes"] || !families["go_goroutines"] {
		t.Error("the memory or the goroutines of the exporter are missing")
	}
}

func TestExporterMetricsCanBeLeftOut(t *testing.T) {
	own := regexp.MustCompile(`^(go|process|promhttp)_`)
	count := func(s harness.Samples) (exporters int) {
		for series := range s {
			if own.MatchString(series) {
				exporters++
			}
		}
		return exporters
	}
	with := newExporter(t, settings{}).scrape(t)
	without := newExporter(t, settings{server: Config{DisableExporterMetrics: true}}).scrape(t)
	if count(with) == 0 || count(without) != 0 {
		t.Errorf("%d series of the exporter itself, and %d with the flag; want some and 0", count(with), count(without))
	}
	maps.DeleteFunc(with, func(series string, _ float64) bool { return own.MatchString(series) })
	if got, want := slices.Sorted(maps.Keys(without)), slices.Sorted(maps.Keys(with)); !slices.Equal(got, want) {
		t.Errorf("the other series differ:\n%q, want\n%q", got, want)
	}
}
