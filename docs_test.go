package main

import (
	"factory_exporter/internal/harness"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func TestTableOfMetrics(t *testing.T) {
	api := usageAPI(t, 100)
	p := start(t, withKey(t, "--factory.url="+api, "--factory.seat-limit=120", "--collector.group-by=email_domain", "--collector.per-user", "--collector.usage")...)
	p.scrapeUsage(t)
	_, _, body := p.get(t, "/metrics")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}

	table := "| metric | |\n|---|---|\n"
	for _, name := range slices.Sorted(maps.Keys(families)) {
		family := families[name]
		if !strings.HasPrefix(name, "factory_") {
			continue
		}
		var labels []string
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, label.GetName())
		}
		metric, help := "`"+name+"`", harness.Plain(family.GetHelp())
		if labels != nil {
			metric = "`" + name + "{" + strings.Join(labels, ",") + "}`"
		}
		if family.GetType().String() == "HISTOGRAM" {
			help = "Histogram. " + help
		}
		table += harness.Row(metric, help)
	}
	table += harness.Row("`go_*`, `process_*`, `promhttp_*`", "About the exporter itself. Left out with `--web.disable-exporter-metrics`.")
	harness.Table(t, "docs/metrics.md", "metrics", table)
}

func TestTableOfSeries(t *testing.T) {
	api := usageAPI(t, 10_000)
	small := usageAPI(t, 500) // the series of usage do not depend on the number of members
	table := "| options | series |\n|---|---|\n"
	for _, options := range [][]string{
		{},
		{"--collector.group-by=email_domain", "--collector.group-by=metadata.team"},
		{"--collector.per-user"},
		{"--collector.usage"},
		{"--collector.usage", "--collector.group-by=email_domain", "--collector.group-by=metadata.team"},
	} {
		usage := slices.Contains(options, "--collector.usage")
		url := api
		if usage {
			url = small
		}
		p := start(t, withKey(t, append([]string{"--factory.url=" + url, "--web.disable-exporter-metrics"}, options...)...)...)
		name := "none"
		if len(options) > 0 {
			name = "`" + strings.Join(options, " ") + "`"
		}
		shown := p.scrape(t)
		if usage {
			shown = p.scrapeUsage(t)
		}
		table += harness.Row(name, strconv.Itoa(len(shown)))
	}
	harness.Table(t, "docs/metrics.md", "series", table)
}

func TestREADMENamesTheGoVersion(t *testing.T) {
	module := readFile(t, "go.mod")
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(module)
	if version == nil {
		t.Fatal("go.mod has no go line")
	}
	if want := "Go " + version[1] + "."; !strings.Contains(readFile(t, "README.md"), want) {
		t.Errorf("README.md does not say %q, the version in go.mod", want)
	}
}

// TestLinksBetweenPages follows each link that stays in the repository to its file and
// its heading.
func TestLinksBetweenPages(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	linked := map[string]bool{} // from README.md
	for _, page := range append([]string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"}, pages...) {
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(readFile(t, page), -1) {
			path, heading, _ := strings.Cut(link[1], "#")
			if strings.Contains(path, ":") || path == "../../../releases" { // not in the repository
				continue
			}
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			if page == "README.md" {
				linked[target] = true
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %s", page, link[1], err)
			} else if heading != "" && !slices.Contains(harness.Anchors(readFile(t, target)), heading) {
				t.Errorf("%s links to %s: there is no such heading", page, link[1])
			}
		}
	}
	for _, page := range pages {
		if !linked[page] {
			t.Errorf("README.md has no link to %s", page)
		}
	}
}
