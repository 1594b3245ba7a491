package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

var update = flag.Bool("update", false, "rewrite the generated tables in docs/")

func TestTableOfFlags(t *testing.T) {
	checkTable(t, "docs/configuration.md", "flags", tableOfFlags(flagModels(t)))
}

// The command users has a table of the flags that the exporter does not have.
func TestTableOfFlagsOfUsers(t *testing.T) {
	shared := map[string]bool{}
	for _, flag := range flagModels(t) {
		shared[flag.Name] = true
	}
	app := newUsersFlags(&config{})
	if _, err := app.ParseContext([]string{usersCommand}); err != nil { // names the variables
		t.Fatal(err)
	}
	var flags []*kingpin.FlagModel
	for _, command := range app.Model().Commands {
		if command.Name == usersCommand {
			flags = command.Flags
		}
	}
	own := slices.DeleteFunc(flags, func(flag *kingpin.FlagModel) bool { return shared[flag.Name] })
	checkTable(t, "docs/usage.md", "flags", tableOfFlags(own))
}

func tableOfFlags(flags []*kingpin.FlagModel) string {
	table := "| flag | default | environment variable | |\n|---|---|---|---|\n"
	for _, flag := range flags {
		var defaults []string
		for _, value := range flag.Default {
			if value != "" {
				defaults = append(defaults, "`"+value+"`")
			}
		}
		table += row("`--"+flag.Name+"`", strings.Join(defaults, ", "), "`"+flag.Envar+"`", plain(flag.Help))
	}
	return table
}

func TestTableOfMetrics(t *testing.T) {
	api, _ := usageAPI(t, 100)
	p := start(t, withKey(t, "--factory.url="+api, "--factory.seat-limit=120", "--collector.group-by=email_domain", "--collector.per-user", "--collector.usage")...)
	scrapeUsage(t, p)
	_, _, body := fetch(t, "GET", p.url+"/metrics")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}

	table := "| metric | type | labels | |\n|---|---|---|---|\n"
	for _, name := range slices.Sorted(maps.Keys(families)) {
		family := families[name]
		if !strings.HasPrefix(name, "factory_") {
			continue
		}
		var labels []string
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+label.GetName()+"`")
		}
		table += row("`"+name+"`", strings.ToLower(family.GetType().String()), strings.Join(labels, ", "), plain(family.GetHelp()))
	}
	table += row("`go_*`, `process_*`, `promhttp_*`", "", "", "About the exporter itself. Left out with `--web.disable-exporter-metrics`.")
	checkTable(t, "docs/metrics.md", "metrics", table)
}

func TestTableOfSeries(t *testing.T) {
	api, _ := usageAPI(t, 10_000)
	small, _ := usageAPI(t, 500) // the series of usage do not depend on the number of members
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
			shown = scrapeUsage(t, p)
		}
		table += row(name, strconv.Itoa(len(shown)))
	}
	checkTable(t, "docs/metrics.md", "series", table)
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

// The workflows take the toolchain of go.mod, and the image must have the same binary.
func TestImageIsBuiltByTheToolchainOfReleases(t *testing.T) {
	toolchain := regexp.MustCompile(`(?m)^toolchain go(\S+)$`).FindStringSubmatch(readFile(t, "go.mod"))
	if toolchain == nil {
		t.Fatal("go.mod has no toolchain line")
	}
	if want := " golang:" + toolchain[1] + "-"; !strings.Contains(readFile(t, "Dockerfile"), want) {
		t.Errorf("Dockerfile does not build from %q, the toolchain in go.mod", want)
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
			if strings.Contains(path, ":") { // another site
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
			} else if heading != "" && !slices.Contains(anchors(readFile(t, target)), heading) {
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

// anchors returns the names that GitHub gives to the headings of a page.
func anchors(page string) []string {
	var names []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ +(.+?) *$`).FindAllStringSubmatch(page, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// flagModels returns the flags that configure something, with their environment
// variables.
func flagModels(t *testing.T) []*kingpin.FlagModel {
	t.Helper()
	app := newFlags(&config{})
	if _, err := app.ParseContext(nil); err != nil { // names the variables
		t.Fatal(err)
	}
	return visibleFlags(app)
}

// plain escapes what Markdown would take for markup.
func plain(text string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", "&lt;").Replace(text)
}

func row(cells ...string) string {
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// checkTable compares a table with the one between the markers of this name in a file.
func checkTable(t *testing.T, file, name, table string) {
	t.Helper()
	text := readFile(t, file)
	begin, end := fmt.Sprintf("<!-- %s:begin -->\n", name), fmt.Sprintf("<!-- %s:end -->\n", name)
	before, rest, ok := strings.Cut(text, begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q and %q", file, begin, end)
	}
	switch {
	case got == table:
	case *update:
		if err := os.WriteFile(file, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table of %s in %s differs from the program; `go test . -update` writes it\n%s", name, file, table)
	}
}
