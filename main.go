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
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/common/version"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/apikey"
	"factory_exporter/internal/check"
	"factory_exporter/internal/config"
	"factory_exporter/internal/server"
)

// init keeps the first thread of the process for main. The kernel prefers it for signals,
// and one that reads from a file system that hangs would take them and do nothing.
func init() { runtime.LockOSThread() }

func main() {
	completeVersion()
	cfg, err := config.Parse(os.Args[1:], os.Stdout)
	if errors.Is(err, config.ErrAnswered) {
		return
	}
	if err == nil {
		if cfg.Usage() && os.Getenv("GOGC") == "" {
			// A page may be large, and its garbage is to need little memory beside what is kept
			// of the days of use.
			debug.SetGCPercent(25)
		}
		err = runUntilSignal(cfg)
	}
	if err != nil { // one line without a key, whatever it quotes
		line := apikey.Hide([]byte(strings.Join(strings.Fields(err.Error()), " ")))
		fmt.Fprintf(os.Stderr, "%s: error: %s\n", config.Program, line)
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

// runUntilSignal runs the program until it ends or is told to stop. One signal is enough,
// even where something hangs that cannot be canceled, such as a write to a full pipe.
func runUntilSignal(cfg *config.Config) error {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	switch {
	case cfg.Command() == config.Serve:
		signal.Ignore(syscall.SIGHUP) // there is nothing to reload
	case !signal.Ignored(syscall.SIGHUP):
		signals = append(signals, syscall.SIGHUP)
	}
	signal.Ignore(syscall.SIGPIPE) // when the reader of the log has gone, only lines are lost
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, cfg, os.Stdout, os.Stderr) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	stop() // a second signal ends the process at once
	select {
	case err := <-ended:
		return err
	case <-time.After(server.StopTimeout + time.Second/2):
		return stopped(cfg)
	}
}

// stopped returns what a stop in the middle of something is.
func stopped(cfg *config.Config) error {
	if cfg.Command() == config.Serve {
		return nil // nothing is left to save
	}
	return errors.New("stopped before the end")
}

// run is the program: it serves until ctx ends, or does what a command says. Log lines go
// to stderr.
func run(ctx context.Context, cfg *config.Config, stdout, stderr io.Writer) error {
	logger := cfg.NewLogger(stderr)
	api := cfg.API()
	api.UserAgent = config.Program + "/" + version.Version
	api.Logger = logger
	if cfg.Demo() {
		stopDemo, err := startDemo(&api)
		if err != nil {
			return fmt.Errorf("--demo: %w", err)
		}
		defer stopDemo()
	} else if err := addKey(ctx, &api, cfg.KeyFile(), logger); errors.Is(err, context.Canceled) {
		return stopped(cfg)
	} else if err != nil {
		return err
	}
	for _, name := range cfg.UnknownVariables() {
		logger.Warn("No flag has this environment variable", "variable", name)
	}
	if cfg.Command() != config.Serve {
		return runCommand(ctx, cfg, api, stdout, stderr)
	}

	exporter, stop, err := newExporter(cfg, api, logger)
	if err != nil {
		return err
	}
	defer stop()
	logger.Info("Starting factory_exporter", append(version.Slog(), cfg.Settings()...)...)
	return exporter.Serve(ctx, func(address net.Addr, tls bool) {
		if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil { // nil without systemd
			logger.Error("Cannot tell systemd that the exporter serves", "err", err)
		}
		if cfg.Demo() {
			printDemo(stdout, address, tls, cfg.Server().TelemetryPath)
		}
	})
}

func runCommand(ctx context.Context, cfg *config.Config, api factoryapi.Config, stdout, stderr io.Writer) error {
	api.Observe = func(endpoint string) func(error) {
		start := time.Now()
		return func(err error) {
			api.Logger.Debug("Request ended", "endpoint", endpoint, "duration", time.Since(start), "err", err)
		}
	}
	if cfg.Command() == config.Check {
		return check.Print(ctx, api, cfg.Check(), stdout)
	}
	client, err := factoryapi.New(api)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	return cfg.UserList().Print(ctx, client, api.Logger, stdout, stderr)
}

// addKey adds the key of the key file or, without one, of the environment.
func addKey(ctx context.Context, api *factoryapi.Config, file string, logger *slog.Logger) (err error) {
	if file != "" {
		if api.Credentials, err = apikey.Open(ctx, file, logger); err != nil {
			return fmt.Errorf("--factory.api-key-file: %w", err)
		}
		return nil
	}
	value, ok := os.LookupEnv(config.KeyVariable)
	if !ok {
		return fmt.Errorf("no API key: set --factory.api-key-file=FILE or the environment variable %s, or use --demo", config.KeyVariable)
	}
	api.Credentials, err = apikey.Parse(value, "environment variable "+config.KeyVariable)
	return err
}

// startDemo serves a simulated organization on a loopback port until stop is called, and
// lets api ask it.
func startDemo(api *factoryapi.Config) (stop func(), err error) {
	const demoKey = "demo"
	key, err := apikey.Parse(demoKey, "--demo")
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	api.URL, api.Credentials = "http://"+listener.Addr().String(), key
	return fakeapi.NewDemo(demoKey, 1, time.Now()).Serve(listener), nil
}

// printDemo says what to open.
func printDemo(w io.Writer, address net.Addr, tls bool, telemetryPath string) {
	base := "http://localhost"
	if tls {
		base = "https://localhost"
	}
	if _, port, err := net.SplitHostPort(address.String()); err == nil { // not a Unix socket
		base += ":" + port
	}
	_, _ = w.Write(apikey.Hide(fmt.Appendf(nil, "\nThis is a simulated organization: no API key and no network are needed.\n\n"+
		"  Metrics  %s%s\n  Pages    %s/\n\nEnd it with Ctrl-C.\n\n", base, telemetryPath, base)))
}

// newExporter ties the client, the collector and the pages together. stop cancels what is
// under way.
func newExporter(cfg *config.Config, api factoryapi.Config, logger *slog.Logger) (exporter *server.Server, stop func(), err error) {
	requests := collector.NewRequestMetrics(cfg.Usage())
	api.Observe = requests.Observe
	client, err := factoryapi.New(api)
	if err != nil {
		return nil, nil, err
	}
	counting := cfg.Collector()
	counting.Logger = logger
	if cfg.Usage() {
		counting.Analytics = client
	}
	users := collector.New(client, counting)
	return server.New(cfg.Server(), users, requests, logger), func() {
		users.Close()
		client.CloseIdleConnections()
	}, nil
}
