package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"factory_exporter/internal/harness"
)

func TestTableOfFlags(t *testing.T) {
	harness.Table(t, "../../docs/configuration.md", "flags", tableOf(flagsOf(Serve)))
}

// The command users has a table of the flags that the exporter does not have.
func TestTableOfFlagsOfUsers(t *testing.T) {
	shared := map[string]bool{}
	for _, flag := range flagsOf(Serve) {
		shared[flag.Name] = true
	}
	own := slices.DeleteFunc(flagsOf(Users), func(flag *kingpin.FlagModel) bool { return shared[flag.Name] })
	harness.Table(t, "../../docs/users.md", "flags", tableOf(own))
}

func tableOf(flags []*kingpin.FlagModel) string {
	table := "| flag | default | |\n|---|---|---|\n"
	for _, flag := range flags {
		var defaults []string
		for _, value := range flag.Default {
			if value != "" {
				defaults = append(defaults, "`"+value+"`")
			}
		}
		table += harness.Row("`--"+flag.Name+"`", strings.Join(defaults, ", "), harness.Plain(flag.Help))
	}
	return table
}
