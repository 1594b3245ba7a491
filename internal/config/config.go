// Package config reads the flags and the environment of the program.
package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/exporter-toolkit/web"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
	"factory_exporter/internal/check"
	"factory_exporter/internal/server"
	"factory_exporter/internal/userlist"
)

const Program = "factory_exporter"

// KeyVariable is the environment variable that holds the API key, unless a file does.
const KeyVariable = "FACTORY_API_KEY"

// Commands. Without one, the program serves.
const (
	Serve = ""
	Users = "users"
	Check = "check"
)

// Config is what the flags and the environment ask for, checked. Only [Parse] makes one,
// and nothing changes it.
type Config struct {
	command   string
	api       factoryapi.Config // without credentials
	keyFile   string            // empty: KeyVariable has the key
	demo      bool              // a simulated organization takes the place of the API
	usage     bool              // read the analytics
	collector collector.Config  // without analytics and logger
	server    server.Config
	users     userlist.Options
	list      *userlist.List // nil but for the command users
	unknown   []string       // environment variables that look like a flag's and are not
	logLevel  slog.Level
	logFormat string
	settings  []any // names and values of all flags in turn, for the log
}

// Command is Serve, Users or Check.
func (c *Config) Command() string             { return c.command }
func (c *Config) API() factoryapi.Config      { return c.api }
func (c *Config) KeyFile() string             { return c.keyFile }
func (c *Config) Demo() bool                  { return c.demo }
func (c *Config) Usage() bool                 { return c.usage }
func (c *Config) Collector() collector.Config { return c.collector }
func (c *Config) Server() server.Config       { return c.server }
func (c *Config) UserList() *userlist.List    { return c.list }
func (c *Config) UnknownVariables() []string  { return c.unknown }
func (c *Config) Settings() []any             { return c.settings }

func (c *Config) Check() check.Options {
	counting := c.collector.Census
	return check.Options{Windows: counting.Windows, GroupBy: counting.GroupBy, ListingTimeout: c.collector.Schedule.ListingTimeout, Usage: c.usage}
}

// ErrAnswered says that the flags asked for help or the version, and that stdout has it.
var ErrAnswered = errors.New("the answer is on stdout")

// Parse returns the configuration that args and the environment ask for. Its error is
// ErrAnswered, or a line that names the flag and says what to change.
func Parse(args []string, stdout io.Writer) (*Config, error) {
	cfg := &Config{}
	if len(args) > 0 && (args[0] == Users || args[0] == Check) {
		cfg.command, args = args[0], args[1:]
	}
	app := newFlags(cfg.command, cfg)
	app.UsageWriter(stdout)
	answered := false
	app.Terminate(func(int) { answered = true })
	switch _, err := app.Parse(args); {
	case answered:
		return nil, ErrAnswered
	case err != nil:
		return nil, explain(err, cfg.command, args)
	}
	for _, flag := range visibleFlags(app) { // an environment variable may have had blank lines alone
		if value, ok := flag.Value.(*flagValue); ok && len(value.given) == 0 {
			for _, text := range flag.Default {
				if err := value.Set(text); err != nil {
					return nil, err
				}
			}
		}
	}
	if err := cfg.checkSource(app); err != nil {
		return nil, err
	}
	cfg.unknown = unknownVariables(os.Environ())
	if cfg.command == Users {
		cfg.users.GroupBy = cfg.collector.Census.GroupBy
		cfg.users.ListingTimeout = cfg.collector.Schedule.ListingTimeout
		// The demo's days of use take seconds to read, so it needs a reason.
		cfg.users.Usage = cfg.usage || cfg.demo && slices.ContainsFunc(cfg.users.Filters, userlist.Filter.NeedsUsage)
		cfg.users.Quiet = cfg.logLevel <= slog.LevelDebug
		var err error
		cfg.list, err = userlist.New(cfg.users)
		return cfg, err
	}
	cfg.usage = cfg.usage || cfg.demo
	cfg.server.Demo = cfg.demo
	if err := web.Validate(*cfg.server.Web.WebConfigFile); err != nil {
		return nil, fmt.Errorf("--web.config.file=%s: %w", *cfg.server.Web.WebConfigFile, err)
	}
	if cfg.command == Serve && *cfg.server.Web.WebSystemdSocket {
		if err := server.CheckSockets(); err != nil {
			return nil, fmt.Errorf("--web.systemd-socket: %w", err)
		}
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

// checkSource checks where the members come from.
func (c *Config) checkSource(app *kingpin.Application) error {
	url, _ := app.GetFlag("factory.url").Model().Value.(*flagValue)
	value, set := os.LookupEnv(variable("factory.url"))
	if set && value == "" && !url.typed { // kingpin takes the default
		return fmt.Errorf("environment variable %s is empty: unset it for %s, or give the URL of the API", variable("factory.url"), factoryapi.DefaultURL)
	}
	if err := factoryapi.CheckURL(c.api.URL); err != nil {
		return fmt.Errorf("--factory.url: %w", err)
	}
	switch {
	case c.demo && c.keyFile != "":
		return errors.New("--demo takes no key: leave out --demo or --factory.api-key-file")
	case c.demo && (url.typed || set):
		return errors.New("--demo asks no API: leave out --demo or --factory.url")
	}
	return nil
}
