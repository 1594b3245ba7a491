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

// A flag stands with its default, as it would be written.
func tableOf(flags []*kingpin.FlagModel) string {
	table := "| flag | |\n|---|---|\n"
	for _, flag := range flags {
		var written []string
		for _, value := range flag.Default {
			if value != "" && value != "false" {
				written = append(written, "`--"+flag.Name+"="+value+"`")
			}
		}
		if written == nil {
			written = []string{"`--" + flag.Name + "`"}
		}
		table += harness.Row(strings.Join(written, " "), harness.Plain(flag.Help))
	}
	return table
}
