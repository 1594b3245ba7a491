package harness

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files, and the tables in docs/, that tests compare")

// Golden compares a file with what it should be.
func Golden(t testing.TB, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	switch {
	case *update:
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	case err != nil:
		t.Fatal(err)
	case string(got) != want:
		t.Errorf("%s is not what the program makes. This writes it: go test %s -update\n%s", fromRoot(t, path), fromRoot(t, "."), difference(string(got), want))
	}
}

// Table compares the table between the markers of this name in a file with what it should
// be.
func Table(t testing.TB, path, name, want string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- %s:begin -->\n", name), fmt.Sprintf("<!-- %s:end -->\n", name)
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q and %q", fromRoot(t, path), begin, end)
	}
	Golden(t, path, before+begin+want+end+after)
}

// Row is a row of a table.
func Row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

// Plain escapes what Markdown would take for markup.
func Plain(text string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", "&lt;").Replace(text)
}

// Anchors returns the names that GitHub gives to the headings of a page.
func Anchors(page string) (names []string) {
	for _, heading := range regexp.MustCompile(`(?m)^#+ +(.+?) *$`).FindAllStringSubmatch(page, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

// fromRoot returns a path as it is seen from the root of the module.
func fromRoot(t testing.TB, path string) string {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for root := here; root != filepath.Dir(root); root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			relative, err := filepath.Rel(root, filepath.Join(here, path))
			if err != nil {
				t.Fatal(err)
			}
			if relative != "." && path == "." {
				relative = "./" + relative
			}
			return relative
		}
	}
	t.Fatal("no go.mod")
	return ""
}

// difference returns some of the lines that one of two texts has alone.
func difference(got, want string) string {
	lines := map[string]int{}
	for line := range strings.Lines(want) {
		lines[line]++
	}
	var all []string
	for line := range strings.Lines(got) {
		if lines[line]--; lines[line] < 0 {
			all = append(all, "- "+line)
		}
	}
	for line := range strings.Lines(want) {
		if lines[line] > 0 {
			lines[line]--
			all = append(all, "+ "+line)
		}
	}
	const most = 10
	var text strings.Builder
	for i, line := range all {
		if i == most {
			fmt.Fprintf(&text, "and %d lines more\n", len(all)-most)
			break
		}
		fmt.Fprintf(&text, "%.150s\n", strings.TrimSuffix(line, "\n"))
	}
	if len(all) == 0 {
		return "The order of the lines differs."
	}
	return text.String()
}
