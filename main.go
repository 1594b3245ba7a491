// Command factory_exporter exposes the seats of a Factory organization to
// Prometheus: how many members it has, who is active, and which seats are idle.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

const (
	program     = "factory_exporter"
	keyVariable = "FACTORY_API_KEY"
	keyPrefix   = "fk-" // of the API keys of Factory
	// stopTimeout is how long the answers under way may take when the exporter
	// is told to stop.
	stopTimeout = 3 * time.Second
)

func main() {
	completeVersion()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		stop() // a second signal ends the process at once
		// One signal is enough, even where something hangs that cannot be canceled,
		// such as reading a key file from a network that is gone.
		time.AfterFunc(stopTimeout+time.Second/2, func() {
			if slices.Contains(os.Args[1:min(2, len(os.Args))], usersCommand) {
				os.Exit(1) // the list was not printed
			}
			os.Exit(0)
		})
	})
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "%s: error: %s\n", program, err)
		os.Exit(1)
	}
}

// completeVersion fills in what the go command knows of this build where the linker
// was not told, so that every build has a version.
func completeVersion() {
	version.Revision = version.GetRevision()
	var stamp string // v1.2.3, (devel), or in a test nothing
	if build, ok := debug.ReadBuildInfo(); ok {
		stamp = strings.TrimPrefix(strings.Trim(build.Main.Version, "()"), "v") // 1.2.3, as the linker is told it
	}
	version.Version = cmp.Or(version.Version, stamp, "devel")
}

// run is the program: it serves until ctx ends, or prints the members. Help and such go
// to stdout, log lines to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	defer func() {
		if err != nil { // one line without a key, whatever it quotes
			err = errors.New(string(hideKeys([]byte(strings.Join(strings.Fields(err.Error()), " ")))))
		}
	}()
	cfg, err := parseFlags(args, stdout)
	if errors.Is(err, errAnswered) {
		return nil
	}
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // when the reader of the log has gone, only lines are lost
	logger := newLogger(stderr, cfg.logLevel, cfg.logFormat)
	defer noteHangups(logger)()
	api, stopAPI, err := newAPI(cfg, logger)
	if err != nil {
		return err
	}
	defer stopAPI()
	if cfg.list != nil {
		return printMembers(ctx, cfg, api, stdout, stderr)
	}
	handler, stopListing, err := newExporter(cfg, api, logger)
	if err != nil {
		return err
	}
	defer stopListing()
	logger.Info("Starting "+program, append(version.Slog(), cfg.settings...)...)
	return serve(ctx, cfg, handler, stopListing, stdout, logger)
}

// noteHangups logs each SIGHUP, which would end the program otherwise, until stop is
// called.
func noteHangups(logger *slog.Logger) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			logger.Info("Got SIGHUP; there is nothing to reload")
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
	}
}

// newAPI returns the settings of the API to list: the configured one, or the demo's.
// Call stop when the API is no longer needed.
func newAPI(cfg *config, logger *slog.Logger) (api factoryapi.Config, stop func(), err error) {
	api, stop = cfg.api, func() {}
	if cfg.demo {
		api.URL, api.Credentials, stop, err = startDemo()
	} else {
		api.Credentials, err = newCredentials(cfg.keyFile, logger)
	}
	api.UserAgent = program + "/" + version.Version
	return api, stop, err
}

// newCredentials returns the key of the key file or, without one, of the environment.
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
		return nil, fmt.Errorf("no API key: set --factory.api-key-file=FILE or the environment variable %s, or use --demo", keyVariable)
	}
	key, err := factoryapi.NewStaticKey(value)
	if err != nil {
		return nil, fmt.Errorf("environment variable %s: %w", keyVariable, err)
	}
	return key, nil
}

// startDemo serves a simulated organization on a loopback port until stop is called.
func startDemo() (url string, credentials factoryapi.Credentials, stop func(), err error) {
	const demoKey = "demo"
	key, err := factoryapi.NewStaticKey(demoKey)
	if err != nil {
		return "", nil, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, nil, fmt.Errorf("--demo: %w", err)
	}
	api := &http.Server{Handler: fakeapi.NewDemo(demoKey, 1, time.Now()), ReadHeaderTimeout: 10 * time.Second}
	go api.Serve(listener)            //nolint:errcheck // ends with stop
	stop = func() { _ = api.Close() } // nothing is left to save
	return "http://" + listener.Addr().String(), key, stop, nil
}

// newExporter ties the clients, the collector and the pages together. stop cancels a
// listing and a reading under way; no other will start.
func newExporter(cfg *config, api factoryapi.Config, logger *slog.Logger) (handler http.Handler, stop func(), err error) {
	requests := prometheus.NewRegistry()
	newClient := func(counted *collector.RequestMetrics) (*factoryapi.Client, error) {
		requests.MustRegister(counted)
		api.Observe = counted.Observe
		return factoryapi.New(api)
	}
	client, err := newClient(collector.NewRequestMetrics())
	if err != nil {
		return nil, nil, err
	}
	closeConnections := client.CloseIdleConnections
	counting := cfg.collector
	counting.Logger = logger
	if cfg.usage {
		analytics, err := newClient(collector.NewUsageRequestMetrics())
		if err != nil {
			return nil, nil, err
		}
		counting.Analytics = analytics
		closeConnections = func() {
			client.CloseIdleConnections()
			analytics.CloseIdleConnections()
		}
	}
	members := collector.New(client, counting)
	return newHandler(cfg.pages, members, requests, logger), func() {
		members.Close()
		closeConnections()
	}, nil
}

// serve answers requests until ctx ends, and then those that are under way.
func serve(ctx context.Context, cfg *config, handler http.Handler, stopListing func(), stdout io.Writer, logger *slog.Logger) error {
	logger = onceAMinute(logger)
	server := newServer(handler, logger, *cfg.web.WebConfigFile)
	ending := newDrain()
	server.ConnState = ending.note
	var once sync.Once
	server.BaseContext = func(l net.Listener) context.Context {
		ending.add(l)
		if cfg.demo {
			once.Do(func() { printDemo(stdout, l, cfg.pages.telemetryPath) })
		}
		return context.Background()
	}
	stopped := make(chan error, 1)
	go func() { stopped <- web.ListenAndServe(server, cfg.web, logger) }()
	select {
	case err := <-stopped:
		if *cfg.web.WebSystemdSocket {
			return fmt.Errorf("cannot serve on --web.systemd-socket: %w", err)
		}
		return fmt.Errorf("cannot serve on --web.listen-address: %w", err)
	case <-ctx.Done():
	}

	logger.Info("Stopping")
	ending.begin()
	stopListing() // which answers the scrapes that wait for it
	served := <-stopped
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	ending.wait(ctx)
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close() // a client that has not read its answer by now loses it
	}
	if !errors.Is(served, net.ErrClosed) {
		return fmt.Errorf("stop to serve: %w", served)
	}
	return nil
}

// newServer bounds what a client can make the exporter wait for or keep.
func newServer(handler http.Handler, logger *slog.Logger, webConfigFile string) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       20 * time.Second,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       5 * time.Minute, // longer than a scrape interval
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          serverLog(logger, webConfigFile),
	}
}

func printDemo(w io.Writer, listener net.Listener, telemetryPath string) {
	scheme := "http"
	if reflect.TypeOf(listener) == reflect.TypeOf(tls.NewListener(nil, nil)) {
		scheme = "https"
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	_, _ = w.Write(hideKeys(fmt.Appendf(nil, "\nThis is a simulated organization: no API key and no network are needed.\n\n"+
		"  Metrics  %[1]s://localhost:%[2]s%[3]s\n  Pages    %[1]s://localhost:%[2]s/\n\nEnd it with Ctrl-C.\n\n", scheme, port, telemetryPath)))
}
