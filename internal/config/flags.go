package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"factory_exporter/collector/census"
	"factory_exporter/factoryapi"
	"factory_exporter/internal/userlist"
)

// newFlags declares the flags of a command, which set cfg.
func newFlags(command string, cfg *Config) *kingpin.Application {
	app := kingpin.New(strings.TrimSpace(Program+" "+command), map[string]string{
		Serve: "Prometheus exporter for the members of a Factory organization. It has two commands as well: users prints the members, check asks the API once and tells what it finds. See " + Program + " users --help and " + Program + " check --help.",
		Users: "Print the members of the organization, and end. --idle and the like print only some of them: those for which all of these flags hold.",
		Check: "Ask the API once what the exporter would ask, tell what it found, and end. Exit status 0: the exporter works with these flags. Nothing of any member is shown, so the output can be pasted into an issue.",
	}[command])
	app.Version(version.Print(Program))
	app.HelpFlag.Short('h')
	flags := flagSet{app}
	if command == Users {
		declareUsers(flags, cfg)
	}
	declareAPI(flags, cfg)
	if command != Users {
		declareCollector(flags, cfg)
	}
	declareCounting(flags, cfg)
	if command != Users {
		declareWeb(flags, cfg)
	}
	flags.one("log.level", "Least severe level to log: debug, info, warn or error.",
		store(&cfg.logLevel, logLevel)).Default("info")
	flags.one("log.format", "Format of log lines: logfmt or json.",
		store(&cfg.logFormat, oneOf("logfmt", "json"))).Default("logfmt")
	flags.toggle("demo", "Serve a simulated organization. It needs no key and no network.",
		&cfg.demo)
	for _, flag := range visibleFlags(app) {
		app.GetFlag(flag.Name).Envar(variable(flag.Name))
	}
	return app
}

func variable(flag string) string {
	return strings.ToUpper(Program + "_" + strings.NewReplacer(".", "_", "-", "_").Replace(flag))
}

// declareUsers declares the flags of the command users alone.
func declareUsers(flags flagSet, cfg *Config) {
	filters := &cfg.users.Filters
	for _, name := range []string{"idle", "active", "new", "used", "unused"} {
		flags.one(name, "Only members in factory_users_"+name+", for a window like 30d.",
			func(text string) error {
				window, err := window(text)
				*filters = append(*filters, userlist.Filter{Name: name, Window: window})
				return err
			}).PlaceHolder("WINDOW")
	}
	flags.toggle("never-signed-in", "Only members in factory_users_never_signed_in.", &cfg.users.NeverSignedIn)
	flags.repeatable("match", "Only members with this value of an attribute, such as metadata.team=web. (none): without a value. Repeatable.",
		func(text string) error {
			match, err := userlist.ParseMatch(text)
			cfg.users.Matches = append(cfg.users.Matches, match)
			return err
		}).PlaceHolder("ATTRIBUTE=VALUE")
	flags.one("format", "How to print the members: table, csv or json, which is one object a line.",
		store(&cfg.users.Format, oneOf("table", "csv", "json"))).Default("table")
	flags.one("output", "File to write instead of printing. It is replaced only when the list is complete, and only its owner may read it.",
		store(&cfg.users.Output, notEmpty("give the name of a file"))).PlaceHolder("FILE")
}

func declareCollector(flags flagSet, cfg *Config) {
	counting := &cfg.collector.Census
	flags.repeatable("collector.window", "Length of a time window. Members who signed in within it are active; older accounts that did not are idle. Repeatable.",
		func(text string) error {
			window, err := window(text)
			if err != nil {
				return err
			}
			for _, other := range counting.Windows {
				if other.Length == window.Length {
					return fmt.Errorf("given twice (%s)", other.Label)
				}
			}
			counting.Windows = append(counting.Windows, window)
			return nil
		}).Default("1d", "7d", "30d", "90d")
	flags.one("collector.group-limit", "How many values of each attribute to show: those with the most members. (other) sums the rest.",
		store(&counting.GroupLimit, wholeNumber(1, 1<<31-1))).Default("50")
	flags.toggle("collector.per-user", "Show two series for each member, labeled with the id. This is personal data.",
		&counting.PerUser)
	flags.one("collector.cache-ttl", "Reuse a complete listing that is younger than this.",
		store(&cfg.collector.Schedule.CacheTTL, duration)).Default("0s")
	flags.one("collector.max-stale", "How old a complete listing may be and still be shown when a newer one failed or is not ready. 0s: show only what the scrape itself waited for.",
		store(&cfg.collector.Schedule.MaxStale, duration)).Default("5m")
}

func declareWeb(flags flagSet, cfg *Config) {
	app := flags.app
	cfg.server.Web = kingpinflag.AddFlags(app, ":10777")
	addresses := cfg.server.Web.WebListenAddresses
	declare(app.GetFlag("web.listen-address"), flagValue{repeatable: true, set: func(text string) error {
		switch {
		case text == "":
			return errors.New("is empty: give a port, like :10777, or leave the flag out")
		case strings.Trim(text, "0123456789") == "":
			return errors.New("a port needs a colon, like :10777")
		}
		*addresses = append(*addresses, text)
		return nil
	}})
	if socket := app.GetFlag("web.systemd-socket"); socket != nil { // only on Linux
		declare(socket.Default("false"), flagValue{set: store(cfg.server.Web.WebSystemdSocket, boolean), boolean: true})
	}
	flags.one("web.telemetry-path", "Path of the page with the metrics.",
		store(&cfg.server.TelemetryPath, telemetryPath)).Default("/metrics")
	flags.one("web.timeout-offset", "How long before Prometheus's scrape timeout to answer.",
		store(&cfg.server.TimeoutOffset, duration)).Default("500ms")
	flags.one("web.max-requests", "How many answers to make and send at once. A scrape beyond them gets a 503. 0: no limit.",
		store(&cfg.server.MaxRequests, wholeNumber(0, 1<<31-1))).Default("40")
	flags.toggle("web.disable-exporter-metrics", "Leave out go_*, process_* and promhttp_*.",
		&cfg.server.DisableExporterMetrics)
}

// flagSet declares flags that set a flagValue.
type flagSet struct{ app *kingpin.Application }

func (f flagSet) one(name, help string, set func(string) error) *kingpin.FlagClause {
	return declare(f.app.Flag(name, help), flagValue{set: set})
}

func (f flagSet) repeatable(name, help string, set func(string) error) *kingpin.FlagClause {
	return declare(f.app.Flag(name, help), flagValue{set: set, repeatable: true})
}

func (f flagSet) toggle(name, help string, target *bool) {
	declare(f.app.Flag(name, help).Default("false"), flagValue{set: store(target, boolean), boolean: true})
}

func declare(clause *kingpin.FlagClause, value flagValue) *kingpin.FlagClause {
	value.name = clause.Model().Name
	clause.IsSetByUser(&value.typed).SetValue(&value)
	return clause
}

func declareAPI(flags flagSet, cfg *Config) {
	flags.one("factory.url", "Base URL of the Factory API. The EU and private hosts have their own.",
		store(&cfg.api.URL, notEmpty("leave the flag out for "+factoryapi.DefaultURL+", or give the URL of the API"))).Default(factoryapi.DefaultURL)
	flags.one("factory.api-key-file", "File with the API key, read again for each listing. Without it, the environment variable "+KeyVariable+" holds the key.",
		store(&cfg.keyFile, keyFile)).PlaceHolder("FILE")
	flags.one("factory.page-size", "Users to ask for in one request, from 1 to 100.",
		store(&cfg.api.PageSize, wholeNumber(1, factoryapi.MaxPageSize))).Default("100")
	flags.one("factory.request-timeout", "Longest time for one request and its answer.",
		store(&cfg.api.RequestTimeout, positiveDuration)).Default("30s")
	flags.one("factory.listing-timeout", "Longest time for one listing, which is one pass through all members, retries included.",
		store(&cfg.collector.Schedule.ListingTimeout, positiveDuration)).Default("10m")
	flags.one("factory.max-retries", "How many times to repeat a failed request.",
		store(&cfg.api.MaxRetries, wholeNumber(0, 100))).Default("3")
	flags.one("factory.seat-limit", "Number of seats bought, shown as factory_seat_limit. 0: not shown.",
		store(&cfg.collector.SeatLimit, wholeNumber(0, 1<<31-1))).Default("0")
}

// declareCounting declares the flags about what to read and to tell of each member.
func declareCounting(flags flagSet, cfg *Config) {
	counting := &cfg.collector.Census
	flags.repeatable("collector.group-by", "Attribute to count members by: email_domain or metadata.KEY. Repeatable.",
		func(text string) error {
			attribute, err := census.ParseAttribute(text)
			if err != nil {
				return err
			}
			for _, part := range strings.Split(text, ",")[1:] { // a metadata key may well have a comma
				if _, err := census.ParseAttribute(part); err == nil {
					return errors.New("more than one attribute")
				}
			}
			if slices.Contains(counting.GroupBy, attribute) {
				return errors.New("given twice")
			}
			counting.GroupBy = append(counting.GroupBy, attribute)
			return nil
		}).PlaceHolder("ATTRIBUTE")
	flags.toggle("collector.usage", "Read the analytics once a day: who used the product, and how much. This needs an Enterprise plan, and a personal API key of a Manager or Owner. --demo turns it on.",
		&cfg.usage)
}

// flagsOf returns the flags of a command that configure something.
func flagsOf(command string) []*kingpin.FlagModel {
	return visibleFlags(newFlags(command, &Config{}))
}

func visibleFlags(app *kingpin.Application) []*kingpin.FlagModel {
	return slices.DeleteFunc(app.Model().Flags, func(flag *kingpin.FlagModel) bool {
		return flag.Hidden || flag.Name == "help" || flag.Name == "version"
	})
}
