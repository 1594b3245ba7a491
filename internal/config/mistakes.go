package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"factory_exporter/internal/apikey"
)

// explain says what to change where kingpin says what it did not understand. args are
// those behind the command.
func explain(err error, command string, args []string) error {
	help := "see " + strings.TrimSpace(Program+" "+command) + " --help"
	text := err.Error()
	if name, ok := quoted(text, "unknown long flag '--", "'"); ok {
		return unknownFlag(name, command, help)
	}
	if _, ok := quoted(text, "unknown short flag '", "'"); ok {
		for _, arg := range args { // of which kingpin read the first letter
			name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			if !strings.HasPrefix(arg, "-") || strings.HasPrefix(arg, "--") || strings.HasPrefix(name, "h") || name == "" {
				continue
			}
			if meant := closest(name, flagNames(command)); meant != "" {
				return fmt.Errorf("unknown flag -%s: write two dashes, --%s", name, meant)
			}
			return fmt.Errorf("unknown flag -%s: flags begin with two dashes; %s", name, help)
		}
	}
	if name, ok := quoted(text, "expected argument for flag '", "'"); ok {
		return fmt.Errorf("%s has no value: write %s=VALUE", name, name)
	}
	if name, ok := quoted(text, "flag '", "' cannot be repeated"); ok {
		return fmt.Errorf("--%s is given twice", name)
	}
	if argument, ok := strings.CutPrefix(text, "unexpected "); ok {
		return unexpected(argument, command, help)
	}
	return err
}

// quoted returns what stands between two parts of a text.
func quoted(text, before, after string) (string, bool) {
	_, rest, ok := strings.Cut(text, before)
	name, _, ok2 := strings.Cut(rest, after)
	return name, ok && ok2
}

func unknownFlag(name, command, help string) error {
	why := help
	switch meant, plain := closest(name, flagNames(command)), letters(name); {
	case command != Users && slices.Contains(flagNames(Users), name):
		why = fmt.Sprintf("it is one of the command users: %s users --%s", Program, name)
	case slices.Contains(flagNames(Serve), name):
		why = "it is one of the exporter, and the command users does not take it"
	case meant != "":
		why = "--" + meant + " is meant"
	case strings.HasSuffix(plain, "key") || strings.HasSuffix(plain, "token") || strings.HasPrefix(name, apikey.Prefix):
		why = "the API key is never a flag, because everybody on the machine can see flags. Write it into a file and give --factory.api-key-file=FILE, or set the environment variable " + KeyVariable
	}
	return fmt.Errorf("unknown flag --%s: %s", name, why)
}

func unexpected(argument, command, help string) error {
	hint := "write a flag with a value as --flag=value, and one that is on or off as --flag or --no-flag"
	switch meant := closest(argument, append(flagNames(command), Users, Check)); {
	case argument == Users || argument == Check:
		hint = "write the command before its flags"
	case strings.ContainsAny(argument, "–—"): // as word processors write two dashes
		hint = "write a flag with two plain dashes, --"
	case meant == Users || meant == Check:
		hint = "the command " + meant + " is meant"
	case slices.Contains([]string{"help", "version", "serve", "server", "run", "start", "list", "members"}, argument):
		hint = "the commands are users and check, and without one the exporter serves; " + help
	case meant != "":
		hint = "the flag --" + meant + " is meant"
	}
	return fmt.Errorf("unexpected argument %q: %s", argument, hint)
}

func flagNames(command string) []string {
	names := []string{"help", "version"}
	for _, flag := range flagsOf(command) {
		names = append(names, flag.Name)
	}
	return names
}

// closest returns the name that is meant by one that was typed, or nothing: one that
// differs in punctuation, capitals and a few letters, or that has more in front.
func closest(typed string, names []string) string {
	typed = letters(typed)
	slips := func(name string) int { return distance(typed, letters(name)) }
	nearest := slices.MinFunc(names, func(a, b string) int { return cmp.Compare(slips(a), slips(b)) })
	if n := len(letters(nearest)); slips(nearest) <= max(min(2, n/2), n/5) {
		return nearest
	}
	longer := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return !strings.Contains(name, ".") || !strings.HasSuffix(letters(name), typed)
	})
	if len(longer) == 1 && len(typed) > 2 {
		return longer[0]
	}
	return ""
}

// letters returns the letters and digits of a text, without regard to capitals.
func letters(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}

// distance returns how many letters to add, leave out or change to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// unknownVariables returns the names of variables in environment that begin like those
// of flags and belong to none.
func unknownVariables(environment []string) (unknown []string) {
	// Kubernetes sets such variables for each Service, and this one is often named
	// factory-exporter.
	ofService := regexp.MustCompile(`(_SERVICE_HOST=.*|_SERVICE_PORT(_[A-Z0-9_]+)?=\d+|_PORT=\w+://.*|_PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?=.*)$`)
	known := map[string]bool{}
	for _, command := range []string{Serve, Users} { // check has those of Serve
		for _, flag := range flagNames(command) {
			known[variable(flag)] = true
		}
	}
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, variable("")) && !known[name] && !ofService.MatchString(entry) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}
