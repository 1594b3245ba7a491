package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
)

// config is what the flags say, checked. It is not changed after it was made.
type config struct {
	api       factoryapi.Config // without credentials
	keyFile   string
	collector collector.Config
	pages     pages
	web       *web.FlagConfig
	logLevel  slog.Level
	logFormat string
	demo      bool
	usage     bool        // read the analytics
	list      *memberList // with the command users: what to print

	settings []any // the flags and their values, for the log
}

// usersCommand prints the members instead of serving.
const usersCommand = "users"

// errAnswered says that the flags asked for help or the version, and that stdout has it.
var errAnswered = errors.New("the answer is on stdout")

// parseFlags returns the configuration that args and the environment ask for. Its
// error is errAnswered, or a line that names the flag and says what to change.
func parseFlags(args []string, stdout io.Writer) (*config, error) {
	cfg := &config{}
	app := newFlags(cfg)
	if len(args) > 0 && args[0] == usersCommand {
		app = newUsersFlags(cfg)
	}
	app.UsageWriter(stdout)
	answered := false
	app.Terminate(func(int) { answered = true })
	switch _, err := app.Parse(args); {
	case answered:
		return nil, errAnswered
	case err != nil:
		if argument, ok := strings.CutPrefix(err.Error(), "unexpected "); ok { // in kingpin's words, and no more
			hint := "write a flag with a value as --flag=value, and one that is on or off as --flag or --no-flag"
			if argument == usersCommand {
				hint = "write the command before its flags"
			}
			err = fmt.Errorf("unexpected argument %q: %s", argument, hint)
		}
		return nil, err
	}
	cfg.usage = cfg.usage || cfg.demo
	cfg.pages.demo = cfg.demo
	for _, flag := range visibleFlags(app) { // an environment variable may have had blank lines alone
		if value, ok := flag.Value.(*flagValue); ok && len(value.given) == 0 {
			for _, text := range flag.Default {
				if err := value.Set(text); err != nil {
					return nil, err
				}
			}
		}
	}
	if err := factoryapi.CheckURL(cfg.api.URL); err != nil { // before anything is logged, and for --demo too
		return nil, fmt.Errorf("--factory.url: %w", err)
	}
	if cfg.list != nil {
		return cfg, cfg.list.check(cfg.usage)
	}
	if err := web.Validate(*cfg.web.WebConfigFile); err != nil {
		return nil, fmt.Errorf("--web.config.file=%s: %w", *cfg.web.WebConfigFile, err)
	}
	for _, flag := range visibleFlags(app) {
		value := flag.Value.String()
		if flag.Name == "collector.usage" {
			value = strconv.FormatBool(cfg.usage) // as --demo may have it
		}
		cfg.settings = append(cfg.settings, flag.Name, value)
	}
	return cfg, nil
}

// newFlags declares the flags of the exporter, which set cfg.
func newFlags(cfg *config) *kingpin.Application {
	app := newApplication()
	flags := flagSet{app}
	declareAPI(flags, cfg)
	census := &cfg.collector.Census
	flags.repeatable("collector.window", "Length of a time window. Members who signed in within it are active, older accounts that did not are idle. Repeatable.",
		func(text string) error {
			window, err := window(text)
			if err != nil {
				return err
			}
			for _, other := range census.Windows {
				if other.Length == window.Length {
					return fmt.Errorf("given twice (%s)", other.Label)
				}
			}
			census.Windows = append(census.Windows, window)
			return nil
		}).Default("1d", "7d", "30d", "90d")
	declareCounting(flags, cfg)
	flags.one("collector.group-limit", "How many values of each attribute to show. Those with the most members are kept; the rest are summed as (other).",
		store(&census.GroupLimit, wholeNumber(1, 1<<31-1))).Default("50")
	flags.toggle("collector.per-user", "Show two series for each member, labeled with the member's id. This is personal data, and many series.",
		&census.PerUser)
	flags.one("collector.cache-ttl", "Use a complete listing that is younger than this instead of listing again.",
		store(&cfg.collector.Schedule.CacheTTL, duration)).Default("0s")
	flags.one("collector.max-stale", "How old a complete listing may be and still be shown when a newer one failed or is not ready. 0s: show only a listing that the scrape itself waited for.",
		store(&cfg.collector.Schedule.MaxStale, duration)).Default("5m")

	cfg.web = kingpinflag.AddFlags(app, ":10777")
	addresses := cfg.web.WebListenAddresses
	declare(app.GetFlag("web.listen-address"), flagValue{repeatable: true, set: func(text string) error {
		if text == "" {
			return errors.New("is empty: give a port, like :10777, or leave the flag out")
		}
		*addresses = append(*addresses, text)
		return nil
	}})
	if socket := app.GetFlag("web.systemd-socket"); socket != nil { // only on Linux
		declare(socket.Default("false"), flagValue{set: store(cfg.web.WebSystemdSocket, boolean), boolean: true})
	}
	flags.one("web.telemetry-path", "Path of the page with the metrics.",
		store(&cfg.pages.telemetryPath, telemetryPath)).Default("/metrics")
	flags.one("web.timeout-offset", "Time to subtract from Prometheus's scrape timeout, so that the answer arrives before it ends.",
		store(&cfg.pages.timeoutOffset, duration)).Default("500ms")
	flags.one("web.max-requests", "How many answers to make and send at once. A scrape that finds no place for its answer gets a 503. 0: no limit.",
		store(&cfg.pages.maxRequests, wholeNumber(0, 1<<31-1))).Default("40")
	flags.toggle("web.disable-exporter-metrics", "Leave out go_*, process_* and promhttp_*.",
		&cfg.pages.disableExporterMetrics)
	declareProcess(flags, cfg)
	return app
}

// newUsersFlags declares the flags of the command users, which set cfg.
func newUsersFlags(cfg *config) *kingpin.Application {
	app := newApplication()
	flags := flagSet{app.Command(usersCommand, "Print the members of the organization, and end. With one of the first flags, print only the members that the metric of that name counts.")}
	cfg.list = &memberList{}
	for _, name := range []string{"idle", "active", "new", "used", "unused"} {
		flags.one(name, "Members that factory_users_"+name+" counts, for a window like 30d.",
			func(text string) (err error) {
				cfg.list.filters = append(cfg.list.filters, name)
				cfg.list.window, err = window(text)
				return err
			}).PlaceHolder("WINDOW")
	}
	flags.toggle(neverSignedIn, "Members that factory_users_never_signed_in counts.", &cfg.list.neverSignedIn)
	flags.one("format", "How to print the members: table, csv or json, which is one object a line.",
		store(&cfg.list.format, oneOf("table", "csv", "json"))).Default("table")
	declareAPI(flags, cfg)
	declareCounting(flags, cfg)
	declareProcess(flags, cfg)
	return app
}

func newApplication() *kingpin.Application {
	app := kingpin.New(program, "Prometheus exporter for the members of a Factory organization. With the command users, it prints the members instead: see "+program+" users --help.").DefaultEnvars()
	app.Version(version.Print(program))
	app.HelpFlag.Short('h').NoEnvar()
	app.VersionFlag.NoEnvar()
	return app
}

// flagSet declares flags of the exporter or of a command.
type flagSet struct {
	parent interface {
		Flag(name, help string) *kingpin.FlagClause
	}
}

func (f flagSet) one(name, help string, set func(string) error) *kingpin.FlagClause {
	return declare(f.parent.Flag(name, help), flagValue{set: set})
}

func (f flagSet) repeatable(name, help string, set func(string) error) *kingpin.FlagClause {
	return declare(f.parent.Flag(name, help), flagValue{set: set, repeatable: true})
}

func (f flagSet) toggle(name, help string, target *bool) {
	declare(f.parent.Flag(name, help).Default("false"), flagValue{set: store(target, boolean), boolean: true})
}

func declare(clause *kingpin.FlagClause, value flagValue) *kingpin.FlagClause {
	value.name = clause.Model().Name
	clause.IsSetByUser(&value.typed).SetValue(&value)
	return clause
}

// declareAPI declares the flags about the API.
func declareAPI(flags flagSet, cfg *config) {
	flags.one("factory.url", "Base URL of the Factory API. The EU and private hosts have URLs of their own.",
		store(&cfg.api.URL, anyText)).Default(factoryapi.DefaultURL)
	flags.one("factory.api-key-file", "File with the API key. The exporter reads it again at each listing, so a new key needs no restart. Without this flag, the environment variable "+keyVariable+" holds the key.",
		store(&cfg.keyFile, keyFile)).PlaceHolder("FILE")
	flags.one("factory.page-size", "Users to ask for in one request, from 1 to 100.",
		store(&cfg.api.PageSize, wholeNumber(1, factoryapi.MaxPageSize))).Default("100")
	flags.one("factory.request-timeout", "Longest time for one request and its answer.",
		store(&cfg.api.RequestTimeout, positiveDuration)).Default("30s")
	flags.one("factory.listing-timeout", "Longest time for one whole listing, retries included.",
		store(&cfg.collector.Schedule.ListingTimeout, positiveDuration)).Default("10m")
	flags.one("factory.max-retries", "How many times to ask for a page again after a failure.",
		store(&cfg.api.MaxRetries, wholeNumber(0, 100))).Default("3")
	flags.one("factory.seat-limit", "Number of seats bought, shown as factory_seat_limit. The API does not tell it. 0: not shown.",
		store(&cfg.collector.SeatLimit, wholeNumber(0, 1<<31-1))).Default("0")
}

// declareCounting declares the flags about what to read and to tell of each member.
func declareCounting(flags flagSet, cfg *config) {
	census := &cfg.collector.Census
	flags.repeatable("collector.group-by", "Attribute to count members by: email_domain or metadata.KEY. Repeatable.",
		func(text string) error {
			attribute, err := collector.ParseAttribute(text)
			if err != nil {
				return err
			}
			for _, part := range strings.Split(text, ",")[1:] { // a metadata key may well have a comma
				if _, err := collector.ParseAttribute(part); err == nil {
					return errors.New("more than one attribute")
				}
			}
			if slices.Contains(census.GroupBy, attribute) {
				return errors.New("given twice")
			}
			census.GroupBy = append(census.GroupBy, attribute)
			return nil
		}).PlaceHolder("ATTRIBUTE")
	flags.toggle("collector.usage", "Read the analytics of the organization as well, once a day: who used the product, and how much. This needs an Enterprise plan, and a personal API key of a Manager or Owner. --demo turns it on.",
		&cfg.usage)
}

// declareProcess declares the flags about the process.
func declareProcess(flags flagSet, cfg *config) {
	flags.one("log.level", "Least severe level to log: debug, info, warn or error.",
		store(&cfg.logLevel, logLevel)).Default("info")
	flags.one("log.format", "Format of log lines: logfmt or json.",
		store(&cfg.logFormat, oneOf("logfmt", "json"))).Default("logfmt")
	flags.toggle("demo", "Serve a simulated organization from inside the process. It needs no key and no network.",
		&cfg.demo)
}

// visibleFlags returns the flags that configure something.
func visibleFlags(app *kingpin.Application) []*kingpin.FlagModel {
	return slices.DeleteFunc(app.Model().Flags, func(flag *kingpin.FlagModel) bool {
		return flag.Hidden || flag.Name == "help" || flag.Name == "version"
	})
}

// flagValue is the value of one flag. Its errors name the flag.
type flagValue struct {
	name       string
	set        func(string) error
	repeatable bool
	boolean    bool
	typed      bool // on the command line, not in the environment
	given      []string
}

func (v *flagValue) Set(text string) error {
	if v.repeatable && !v.typed && strings.TrimSpace(text) == "" {
		return nil // a blank line of an environment variable
	}
	if err := v.set(text); err != nil {
		if v.repeatable && strings.Contains(text, ",") {
			err = fmt.Errorf("%w; give the flag once for each value", err)
		}
		return fmt.Errorf("--%s=%s: %w", v.name, text, err)
	}
	v.given = append(v.given, text)
	return nil
}

func (v *flagValue) String() string     { return strings.Join(v.given, ",") }
func (v *flagValue) IsCumulative() bool { return v.repeatable }
func (v *flagValue) IsBoolFlag() bool   { return v.boolean }

// store returns a function that parses a text and stores the value in target.
func store[T any](target *T, parse func(string) (T, error)) func(string) error {
	return func(text string) (err error) {
		*target, err = parse(text)
		return err
	}
}

func keyFile(text string) (string, error) {
	if strings.HasPrefix(text, keyPrefix) {
		return "", errors.New("looks like the API key itself: write the key into a file, and give the path of the file")
	}
	return text, nil
}

func anyText(text string) (string, error) { return text, nil }

func boolean(text string) (bool, error) {
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, errors.New("not true or false")
	}
	return value, nil
}

func wholeNumber(least, most int) func(string) (int, error) {
	return func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("not a whole number from %d to %d", least, most)
		}
		return n, nil
	}
}

func duration(text string) (time.Duration, error) {
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, errors.New("not a duration like 500ms, 30s or 7d")
	}
	return time.Duration(d), nil
}

func positiveDuration(text string) (time.Duration, error) {
	d, err := duration(text)
	if err == nil && d == 0 {
		return 0, errors.New("must be longer than zero")
	}
	return d, err
}

// window reads the length of a window, which is at least a millisecond.
func window(text string) (collector.Window, error) {
	length, err := positiveDuration(text)
	return collector.Window{Label: text, Length: length}, err
}

func telemetryPath(text string) (string, error) {
	unusual := func(r rune) bool {
		return !strings.ContainsRune("/-._~", r) && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
	}
	switch {
	case !strings.HasPrefix(text, "/") || path.Clean(text) != text || strings.ContainsFunc(text, unusual):
		return "", errors.New("not a clean path like /metrics")
	case text == "/" || text == healthyPath || text == readyPath || text == runbookPath || strings.HasPrefix(text+"/", docsPath):
		return "", errors.New("is the path of another page")
	}
	return text, nil
}

func logLevel(text string) (level slog.Level, err error) {
	if text, err = oneOf("debug", "info", "warn", "error")(text); err == nil {
		err = level.UnmarshalText([]byte(text))
	}
	return level, err
}

func oneOf(options ...string) func(string) (string, error) {
	return func(text string) (string, error) {
		if !slices.Contains(options, text) {
			return "", fmt.Errorf("not one of %s", strings.Join(options, ", "))
		}
		return text, nil
	}
}
