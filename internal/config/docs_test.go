package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"factory_exporter/internal/harness"
)

func TestTableOfFlags(t *testing.T) {
	harness.Table(t, "../../docs/configuration.md", "flags", tableOf(named(t, serveFlags(&Config{}))))
}

// The command users has a table of the flags that the exporter does not have.
func TestTableOfFlagsOfUsers(t *testing.T) {
	shared := map[string]bool{}
	for _, flag := range named(t, serveFlags(&Config{})) {
		shared[flag.Name] = true
	}
	own := slices.DeleteFunc(named(t, usersFlags(&Config{}), Users), func(flag *kingpin.FlagModel) bool { return shared[flag.Name] })
	harness.Table(t, "../../docs/users.md", "flags", tableOf(own))
}

// named returns the flags of the exporter or of a command, with their variables.
func named(t *testing.T, app *kingpin.Application, command ...string) []*kingpin.FlagModel {
	t.Helper()
	if _, err := app.ParseContext(command); err != nil { // names the variables
		t.Fatal(err)
	}
	for _, model := range app.Model().Commands {
		if slices.Contains(command, model.Name) {
			return model.Flags
		}
	}
	return visibleFlags(app)
}

func tableOf(flags []*kingpin.FlagModel) string {
	table := "| flag | default | environment variable | |\n|---|---|---|---|\n"
	for _, flag := range flags {
		var defaults []string
		for _, value := range flag.Default {
			if value != "" {
				defaults = append(defaults, "`"+value+"`")
			}
		}
		table += harness.Row("`--"+flag.Name+"`", strings.Join(defaults, ", "), "`"+flag.Envar+"`", harness.Plain(flag.Help))
	}
	return table
}
