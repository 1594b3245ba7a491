// Package config reads the flags and the environment of the program.
package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"github.com/prometheus/exporter-toolkit/web"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
	"factory_exporter/internal/server"
	"factory_exporter/internal/userlist"
)

// Program is the name of the program.
const Program = "factory_exporter"

// KeyVariable is the environment variable that holds the API key, unless a file does.
const KeyVariable = "FACTORY_API_KEY"

// Commands. Without one, the program serves.
const (
	Serve = ""
	Users = "users"
)

// Config is what the flags and the environment ask for, checked. Only [Parse] makes one,
// and nothing changes it.
type Config struct {
	command   string
	api       factoryapi.Config
	keyFile   string
	demo      bool
	usage     bool
	collector collector.Config
	server    server.Config
	users     userlist.Options
	logLevel  slog.Level
	logFormat string
	settings  []any
}

// Command returns Serve or Users.
func (c *Config) Command() string { return c.command }

// API returns how to reach the API, without credentials.
func (c *Config) API() factoryapi.Config { return c.api }

// KeyFile returns the file with the API key. It is empty if KeyVariable has the key.
func (c *Config) KeyFile() string { return c.keyFile }

// Demo reports whether a simulated organization takes the place of the API.
func (c *Config) Demo() bool { return c.demo }

// Usage reports whether to read the analytics.
func (c *Config) Usage() bool { return c.usage }

// Collector returns what to count and when, without analytics and logger.
func (c *Config) Collector() collector.Config { return c.collector }

// Server returns where and how to serve the pages.
func (c *Config) Server() server.Config { return c.server }

// UserList returns which users to print, and how.
func (c *Config) UserList() userlist.Options { return c.users }

// Settings returns the names and values of all flags in turn, for the log.
func (c *Config) Settings() []any { return c.settings }

// ErrAnswered says that the flags asked for help or the version, and that stdout has it.
var ErrAnswered = errors.New("the answer is on stdout")

// Parse returns the configuration that args and the environment ask for. Its error is
// ErrAnswered, or a line that names the flag and says what to change.
func Parse(args []string, stdout io.Writer) (*Config, error) {
	cfg := &Config{}
	app := serveFlags(cfg)
	if len(args) > 0 && args[0] == Users {
		cfg.command = Users
		app = usersFlags(cfg)
	}
	app.UsageWriter(stdout)
	answered := false
	app.Terminate(func(int) { answered = true })
	switch _, err := app.Parse(args); {
	case answered:
		return nil, ErrAnswered
	case err != nil:
		if argument, ok := strings.CutPrefix(err.Error(), "unexpected "); ok { // in kingpin's words, and no more
			hint := "write a flag with a value as --flag=value, and one that is on or off as --flag or --no-flag"
			if argument == Users {
				hint = "write the command before its flags"
			}
			err = fmt.Errorf("unexpected argument %q: %s", argument, hint)
		}
		return nil, err
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
	cfg.usage = cfg.usage || cfg.demo
	cfg.server.Demo = cfg.demo
	if err := factoryapi.CheckURL(cfg.api.URL); err != nil { // before anything is logged, and for --demo too
		return nil, fmt.Errorf("--factory.url: %w", err)
	}
	if cfg.command == Users {
		cfg.users.GroupBy = cfg.collector.Census.GroupBy
		cfg.users.ListingTimeout = cfg.collector.Schedule.ListingTimeout
		cfg.users.Usage = cfg.usage
		return cfg, cfg.users.Check()
	}
	if err := web.Validate(*cfg.server.Web.WebConfigFile); err != nil {
		return nil, fmt.Errorf("--web.config.file=%s: %w", *cfg.server.Web.WebConfigFile, err)
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
