package chart_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

var update = flag.Bool("update", false, "rewrite the table in the chart's README")

// The table in the README is values.yaml and its comments.
func TestREADMEHasTheValues(t *testing.T) {
	const path = "charts/factory-exporter/README.md"
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(readFile(t, "charts/factory-exporter/values.yaml")), &document); err != nil {
		t.Fatal(err)
	}
	table := "| value | |\n|---|---|\n"
	var plain []string // the values without a comment
	var add func(prefix, comment string, values *yaml.Node)
	add = func(prefix, comment string, values *yaml.Node) {
		for i := 0; i < len(values.Content); i += 2 {
			key, value := values.Content[i], values.Content[i+1]
			comment += " " + strings.ReplaceAll(strings.ReplaceAll("\n"+key.HeadComment, "\n#", ""), "|", `\|`)
			comment = strings.Join(strings.Fields(comment), " ")
			if value.Kind == yaml.MappingNode && len(value.Content) > 0 {
				add(prefix+key.Value+".", comment, value) // its comment stands at its first value
				comment = ""
				continue
			}
			text, err := yaml.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			name, standard := prefix+key.Value, strings.TrimSpace(string(text))
			if !slices.Contains([]string{`""`, "[]", "{}"}, standard) {
				name += ": " + standard
			}
			if comment != "" {
				table += "| `" + name + "` | " + comment + " |\n"
			} else {
				plain = append(plain, "`"+name+"`")
			}
			comment = ""
		}
	}
	add("", "", document.Content[0])
	table += "\nThe names of these say what they are: " + strings.Join(plain, ", ") + ".\n"

	const begin, end = "<!-- values:begin -->\n", "<!-- values:end -->\n"
	before, rest, ok := strings.Cut(readFile(t, path), begin)
	got, after, ok2 := strings.Cut(rest, end)
	switch {
	case !ok || !ok2:
		t.Fatalf("%s has no %q and %q", path, begin, end)
	case got == table:
	case *update:
		if err := os.WriteFile("../../"+path, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s does not have the values of the chart. This writes them: go test -C charts/test . -run README -update", path)
	}
}
