// Command factory_exporter exposes the seats of a Factory organization to
// Prometheus: how many members it has, who is active, and which seats are idle.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/alecthomas/kingpin/v2"
	kitlog "github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"
	sloggokit "github.com/tjhop/slog-gokit"
	"golang.org/x/sync/semaphore"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

const (
	program     = "factory_exporter"
	keyVariable = "FACTORY_API_KEY"
	// stopTimeout is how long the answers under way may take when the exporter
	// is told to stop.
	stopTimeout = 3 * time.Second
	// writeTimeout is how long a client may take to read an answer.
	writeTimeout = time.Minute
)

func main() {
	completeVersion()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		stop() // a second signal ends the process at once
		// One is enough even where something hangs that cannot be cancelled, such as
		// reading a key file from a network that is gone.
		time.AfterFunc(stopTimeout+time.Second/2, func() { os.Exit(0) })
	})
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "%s: error: %s\n", program, err)
		os.Exit(1)
	}
}

// completeVersion fills in what the go command knows of this build where the linker
// was not told, so that no build goes without a version.
func completeVersion() {
	version.Revision = version.GetRevision()
	var stamp string // v1.2.3, (devel), or in a test nothing
	if build, ok := debug.ReadBuildInfo(); ok {
		stamp = strings.TrimPrefix(strings.Trim(build.Main.Version, "()"), "v") // 1.2.3, as the linker is told it
	}
	version.Version = cmp.Or(version.Version, stamp, "devel")
}

// run is the program: it serves until ctx ends. Help and such go to stdout, log
// lines to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	defer func() {
		if err != nil { // one line, whatever it quotes
			err = errors.New(strings.Join(strings.Fields(err.Error()), " "))
		}
	}()
	cfg, err := parseFlags(args, stdout)
	if err != nil || cfg == nil {
		return err
	}
	logger := newLogger(stderr, cfg)
	if cfg.demo {
		stopDemo, err := startDemo(&cfg.client)
		if err != nil {
			return err
		}
		defer stopDemo()
	} else if cfg.client.Credentials, err = newCredentials(cfg.keyFile, logger); err != nil {
		return err
	}

	requests := collector.NewRequestMetrics()
	cfg.client.UserAgent = program + "/" + version.Version
	cfg.client.Observe = requests.Observe
	client, err := factoryapi.New(cfg.client)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	cfg.collector.Logger = logger
	members := collector.New(client, requests, cfg.collector)
	defer members.Close()
	handler, err := newHandler(cfg, members, logger)
	if err != nil {
		return err
	}
	logger.Info("Starting "+program, append(version.Slog(), cfg.settings...)...)
	return serve(ctx, cfg, handler, members.Close, stdout, logger)
}

// serve answers requests until ctx ends, and then those that are under way.
func serve(ctx context.Context, cfg *config, handler http.Handler, cancelListing func(), stdout io.Writer, logger *slog.Logger) error {
	server := newServer(handler, logger)
	if cfg.demo {
		server.BaseContext = func(l net.Listener) context.Context {
			printDemo(stdout, l.Addr(), cfg.telemetryPath)
			return context.Background()
		}
	}
	stopped := make(chan error, 1)
	go func() { stopped <- web.ListenAndServe(server, cfg.web, logger) }()
	select {
	case err := <-stopped:
		return fmt.Errorf("cannot serve on --web.listen-address: %w", err)
	case <-ctx.Done():
	}

	logger.Info("Stopping")
	cancelListing() // and so answer the scrapes that wait for it
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		server.Close() //nolint:errcheck // whoever did not read by now is cut off
	}
	<-stopped
	return nil
}

// newServer bounds what a client can make the exporter wait for or keep.
func newServer(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       20 * time.Second,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       5 * time.Minute, // longer than a scrape interval
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

// newHandler routes the exporter's pages.
func newHandler(cfg *config, members *collector.Collector, logger *slog.Logger) (http.Handler, error) {
	exporter := prometheus.NewRegistry() // what is about the exporter itself
	exporter.MustRegister(versioncollector.NewCollector(program))
	options := promhttp.HandlerOpts{
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelError),
		ErrorHandling:     promhttp.ContinueOnError,
		EnableOpenMetrics: true,
	}
	if !cfg.disableExporterMetrics {
		exporter.MustRegister(
			collectors.NewGoCollector(),
			collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		)
		options.Registry = exporter
	}

	metrics := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The wait may outlast the server's write timeout: that one begins anew
		// when there is something to write. A writer without deadlines needs none.
		deadlines := http.NewResponseController(w)
		_ = deadlines.SetWriteDeadline(time.Time{})
		ctx := r.Context()
		if timeout, ok := scrapeTimeout(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), cfg.timeoutOffset); ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		scrape := prometheus.NewRegistry()
		scrape.MustRegister(members.Scrape(ctx), exporter)
		_ = deadlines.SetWriteDeadline(time.Now().Add(writeTimeout))
		promhttp.HandlerFor(scrape, options).ServeHTTP(w, r)
	}))
	if cfg.maxRequests > 0 {
		metrics = limitRequests(metrics, cfg.maxRequests)
	}
	if !cfg.disableExporterMetrics {
		metrics = promhttp.InstrumentMetricHandler(exporter, metrics)
	}
	landing, err := web.NewLandingPage(web.LandingConfig{
		Name:        program,
		Description: "Prometheus exporter for the members of a Factory organization",
		Version:     version.Info(),
		Profiling:   "false",
		Links: []web.LandingLinks{
			{Address: cfg.telemetryPath, Text: "Metrics"},
			{Address: healthyPath, Text: "Healthy", Description: "the process runs"},
			{Address: readyPath, Text: "Ready", Description: "it answers scrapes"},
		},
	})
	if err != nil {
		return nil, err
	}

	mux := http.NewServeMux()
	mux.Handle("GET "+cfg.telemetryPath, metrics)
	mux.Handle("GET "+healthyPath, text("Healthy"))
	mux.Handle("GET "+readyPath, text("Ready"))
	mux.Handle("GET /", landing)
	return mux, nil
}

const (
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
)

func text(line string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, line) })
}

// limitRequests answers 503 to requests beyond limit at once. The limit of
// promhttp is one of each handler, and here every scrape has a handler of its own.
func limitRequests(next http.Handler, limit int) http.Handler {
	slots := semaphore.NewWeighted(int64(limit))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slots.TryAcquire(1) {
			http.Error(w, fmt.Sprintf("%d scrapes are under way, which is the limit (--web.max-requests).", limit), http.StatusServiceUnavailable)
			return
		}
		defer slots.Release(1)
		next.ServeHTTP(w, r)
	})
}

// scrapeTimeout returns how long a scrape may wait, given Prometheus's header and
// what to leave for the answer's way back. It is not ok without a usable header.
func scrapeTimeout(header string, offset time.Duration) (timeout time.Duration, ok bool) {
	seconds, err := strconv.ParseFloat(header, 64)
	if err != nil || !(seconds > 0) || seconds > maxScrapeTimeout.Seconds() {
		return 0, false
	}
	return max(0, time.Duration(seconds*float64(time.Second))-offset), true
}

// maxScrapeTimeout is beyond what anybody means, and far from an overflow.
const maxScrapeTimeout = 365 * 24 * time.Hour

// newCredentials returns those of the key file or, without one, of the environment.
func newCredentials(keyFile string, logger *slog.Logger) (factoryapi.Credentials, error) {
	if keyFile != "" {
		file, err := factoryapi.NewKeyFile(keyFile, logger)
		if err != nil {
			return nil, fmt.Errorf("--factory.api-key-file: %w", err)
		}
		return file, nil
	}
	value, ok := os.LookupEnv(keyVariable)
	if !ok {
		return nil, fmt.Errorf("no API key: give one with --factory.api-key-file=FILE or in the environment as %s, or use --demo, which needs none", keyVariable)
	}
	key, err := factoryapi.NewStaticKey(value)
	if err != nil {
		return nil, fmt.Errorf("environment variable %s: %w", keyVariable, err)
	}
	return key, nil
}

// startDemo serves a simulated organization on a loopback port and points the
// client at it.
func startDemo(cfg *factoryapi.Config) (stop func(), err error) {
	const key = "demo"
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("--demo: %w", err)
	}
	api := &http.Server{Handler: fakeapi.NewDemo(key, 1, time.Now()), ReadHeaderTimeout: 10 * time.Second}
	go api.Serve(listener) //nolint:errcheck // ends with stop
	cfg.URL = "http://" + listener.Addr().String()
	cfg.Credentials, err = factoryapi.NewStaticKey(key)
	return func() { api.Close() }, err //nolint:errcheck // nothing is left to save
}

func printDemo(w io.Writer, addr net.Addr, telemetryPath string) {
	_, port, _ := net.SplitHostPort(addr.String())
	fmt.Fprintf(w, "\nThis is a simulated organization: no API key and no network are needed.\n\n"+
		"  Metrics  http://localhost:%[1]s%[2]s\n  Pages    http://localhost:%[1]s/\n\nEnd it with Ctrl-C.\n\n", port, telemetryPath)
}

// newLogger makes the one logger of the program. The bridge to slog adds time and
// caller itself, and filters by level.
func newLogger(w io.Writer, cfg *config) *slog.Logger {
	newKitLogger := kitlog.NewLogfmtLogger
	if cfg.logFormat == "json" {
		newKitLogger = kitlog.NewJSONLogger
	}
	return slog.New(sloggokit.NewGoKitHandler(newKitLogger(kitlog.NewSyncWriter(w)), cfg.logLevel))
}

// config is what the flags say, checked.
type config struct {
	client                 factoryapi.Config
	keyFile                string
	collector              collector.Config
	web                    *web.FlagConfig
	telemetryPath          string
	timeoutOffset          time.Duration
	maxRequests            int
	disableExporterMetrics bool
	logLevel               slog.Level
	logFormat              string
	demo                   bool

	settings []any // the flags and their values, for the log
}

// parseFlags returns the configuration, or nil if the flags asked for help or the
// version, which it then has written to stdout.
func parseFlags(args []string, stdout io.Writer) (*config, error) {
	cfg := &config{}
	app := newFlags(cfg)
	app.UsageWriter(stdout)
	answered := false
	app.Terminate(func(int) { answered = true })
	switch _, err := app.Parse(args); {
	case answered:
		return nil, nil
	case err != nil:
		if argument, ok := strings.CutPrefix(err.Error(), "unexpected "); ok { // in kingpin's words, and no more
			err = fmt.Errorf("unexpected argument %q: there are flags alone, those with a value as --flag=value, those that are on or off as --flag or --no-flag", argument)
		}
		return nil, err
	}
	if slices.Contains(*cfg.web.WebListenAddresses, "") {
		return nil, errors.New("--web.listen-address= is empty: give a port, like :10777, or leave the flag out")
	}
	if err := factoryapi.CheckURL(cfg.client.URL); err != nil { // before anything is logged, and for --demo too
		return nil, fmt.Errorf("--factory.url: %w", err)
	}
	if err := web.Validate(*cfg.web.WebConfigFile); err != nil {
		return nil, fmt.Errorf("--web.config.file=%s: %w", *cfg.web.WebConfigFile, err)
	}
	for _, flag := range visibleFlags(app) {
		cfg.settings = append(cfg.settings, flag.Name, flag.Value.String())
	}
	return cfg, nil
}

// newFlags declares the flags, which set cfg.
func newFlags(cfg *config) *kingpin.Application {
	app := kingpin.New(program, "Prometheus exporter for the members of a Factory organization.").DefaultEnvars()
	app.Version(version.Print(program))
	app.HelpFlag.Short('h').NoEnvar()
	app.VersionFlag.NoEnvar()
	declare := func(clause *kingpin.FlagClause, value flagValue) *kingpin.FlagClause {
		value.name = clause.Model().Name
		clause.SetValue(&value)
		return clause
	}
	flag := func(name, help string, set func(string) error) *kingpin.FlagClause {
		return declare(app.Flag(name, help), flagValue{set: set})
	}
	repeatable := func(name, help string, set func(string) error) *kingpin.FlagClause {
		return declare(app.Flag(name, help), flagValue{set: set, repeatable: true})
	}
	toggle := func(clause *kingpin.FlagClause, target *bool) {
		declare(clause.Default("false"), flagValue{set: to(target, boolean), boolean: true})
	}

	flag("factory.url", "Base URL of the Factory API; the EU and private hosts differ.",
		to(&cfg.client.URL, anyText)).Default(factoryapi.DefaultURL)
	flag("factory.api-key-file", "File with the API key. It is read again at each listing, so that a rotated key needs no restart. Without it, the environment variable "+keyVariable+" holds the key.",
		to(&cfg.keyFile, anyText)).PlaceHolder("FILE")
	flag("factory.page-size", "Users to ask for in one request, from 1 to 100.",
		to(&cfg.client.PageSize, wholeNumber(1, factoryapi.MaxPageSize))).Default("100")
	flag("factory.request-timeout", "Time for one request, its answer included.",
		to(&cfg.client.RequestTimeout, positiveDuration)).Default("30s")
	flag("factory.listing-timeout", "Time for one whole listing, its retries included.",
		to(&cfg.collector.Schedule.ListingTimeout, positiveDuration)).Default("10m")
	flag("factory.max-retries", "How often to ask for a page again.",
		to(&cfg.client.MaxRetries, wholeNumber(0, 100))).Default("3")
	flag("factory.seat-limit", "Seats bought, to be exposed as factory_seat_limit; the API does not tell. 0: not exposed.",
		to(&cfg.collector.SeatLimit, wholeNumber(0, 1<<31-1))).Default("0")

	census := &cfg.collector.Census
	repeatable("collector.window", "Length of a window in which members count as active or new, and beyond which as idle. Repeatable.",
		func(text string) error {
			length, err := positiveDuration(text)
			if err != nil {
				return err
			}
			for _, other := range census.Windows {
				if other.Length == length {
					return fmt.Errorf("given twice (%s)", other.Label)
				}
			}
			census.Windows = append(census.Windows, collector.Window{Label: text, Length: length})
			return nil
		}).Default("1d", "7d", "30d", "90d")
	repeatable("collector.group-by", "Attribute to count members by: email_domain or metadata.KEY. Repeatable.",
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
	flag("collector.group-limit", "Values to keep of each attribute, those with the most members; the others are summed as (other).",
		to(&census.GroupLimit, wholeNumber(1, 1<<31-1))).Default("50")
	toggle(app.Flag("collector.per-user", "Expose two series for each member, labelled with the id: personal data, and many series."),
		&census.PerUser)
	flag("collector.cache-ttl", "Use a complete listing that is younger than this instead of listing again.",
		to(&cfg.collector.Schedule.CacheTTL, duration)).Default("0s")
	flag("collector.max-stale", "How old a complete listing may be and still be shown when a newer one failed or is not ready. 0s: only what the scrape itself waited for.",
		to(&cfg.collector.Schedule.MaxStale, duration)).Default("5m")

	cfg.web = kingpinflag.AddFlags(app, ":10777")
	if socket := app.GetFlag("web.systemd-socket"); socket != nil { // on Linux alone
		toggle(socket, cfg.web.WebSystemdSocket)
	}
	flag("web.telemetry-path", "Path of the metrics.",
		to(&cfg.telemetryPath, telemetryPath)).Default("/metrics")
	flag("web.timeout-offset", "What to take off Prometheus's scrape timeout, for the answer's way back.",
		to(&cfg.timeoutOffset, duration)).Default("500ms")
	flag("web.max-requests", "Scrapes to answer at once; others get a 503. 0: no limit.",
		to(&cfg.maxRequests, wholeNumber(0, 1<<31-1))).Default("40")
	toggle(app.Flag("web.disable-exporter-metrics", "Leave out go_*, process_* and promhttp_*."),
		&cfg.disableExporterMetrics)
	flag("log.level", "Least severe level to log: debug, info, warn or error.",
		to(&cfg.logLevel, logLevel)).Default("info")
	flag("log.format", "Format of log lines: logfmt or json.",
		to(&cfg.logFormat, oneOf("logfmt", "json"))).Default("logfmt")
	toggle(app.Flag("demo", "Serve a simulated organization from inside the process: no key, no network."),
		&cfg.demo)
	return app
}

// visibleFlags are those that configure something.
func visibleFlags(app *kingpin.Application) []*kingpin.FlagModel {
	return slices.DeleteFunc(app.Model().Flags, func(flag *kingpin.FlagModel) bool {
		return flag.Hidden || flag.Name == "help" || flag.Name == "version"
	})
}

// flagValue is the value of a flag, whose errors name the flag.
type flagValue struct {
	name       string
	set        func(string) error
	repeatable bool
	boolean    bool
	given      []string
}

func (v *flagValue) Set(text string) error {
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

// to returns a function that parses a text into target.
func to[T any](target *T, parse func(string) (T, error)) func(string) error {
	return func(text string) (err error) {
		*target, err = parse(text)
		return err
	}
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

func telemetryPath(text string) (string, error) {
	unusual := func(r rune) bool {
		return !strings.ContainsRune("/-._~", r) && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
	}
	switch {
	case !strings.HasPrefix(text, "/") || path.Clean(text) != text || strings.ContainsFunc(text, unusual):
		return "", errors.New("not a clean path like /metrics")
	case text == "/" || text == healthyPath || text == readyPath:
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
