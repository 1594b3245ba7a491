package harness

import (
	"flag"
	"fmt"
	"os"
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
		t.Errorf("%s is not what the program makes, which this test writes with -update: %s", path, firstDifference(string(got), want))
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
		t.Fatalf("%s has no %q and %q", path, begin, end)
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

// firstDifference tells the first line that two texts do not share.
func firstDifference(got, want string) string {
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	n := 0
	for n < min(len(gotLines), len(wantLines))-1 && gotLines[n] == wantLines[n] {
		n++
	}
	return fmt.Sprintf("line %d is\n%.150s\nwant\n%.150s", n+1, gotLines[n], wantLines[n])
}
