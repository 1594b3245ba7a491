package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/exporter-toolkit/web"

	"factory_exporter/collector"
)

// StopTimeout is how long the answers under way may take when the server is told to stop.
const StopTimeout = 3 * time.Second

// Config says where and how to serve the pages.
type Config struct {
	Web                    *web.FlagConfig
	TelemetryPath          string
	TimeoutOffset          time.Duration // taken off Prometheus's scrape timeout
	MaxRequests            int           // answers made or read at once; 0: no limit
	DisableExporterMetrics bool
	Demo                   bool // the organization is simulated
}

// Server serves the exporter's pages.
type Server struct {
	cfg    Config
	users  *collector.Collector
	logger *slog.Logger
	http   *http.Server
}

// New returns a server that shows what users counts, and the requests that this took.
func New(cfg Config, users *collector.Collector, requests prometheus.Collector, logger *slog.Logger) *Server {
	logger = onceAMinute(logger)
	return &Server{
		cfg:    cfg,
		users:  users,
		logger: logger,
		// The bounds are what a client can make the exporter wait for or keep.
		http: &http.Server{
			Handler:           newHandler(cfg, users, requests, logger),
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       20 * time.Second,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       5 * time.Minute, // longer than a scrape interval
			MaxHeaderBytes:    32 << 10,
			ErrorLog:          serverLog(logger, *cfg.Web.WebConfigFile),
		},
	}
}

// Serve serves until ctx ends, and then ends what is under way: it closes users, which
// answers the scrapes that wait. ready is called once, when the first listener accepts
// connections.
func (s *Server) Serve(ctx context.Context, ready func(address net.Addr, tls bool)) error {
	var once sync.Once
	s.http.BaseContext = func(l net.Listener) context.Context {
		// exporter-toolkit sets this function if TLS is configured.
		tls := s.http.TLSConfig != nil && s.http.TLSConfig.GetConfigForClient != nil
		once.Do(func() { ready(l.Addr(), tls) })
		return context.Background()
	}
	stopped := make(chan error, 1)
	go func() { stopped <- web.ListenAndServe(s.http, s.cfg.Web, s.logger) }()
	select {
	case err := <-stopped:
		if *s.cfg.Web.WebSystemdSocket {
			return fmt.Errorf("cannot serve on --web.systemd-socket: %w", err)
		}
		return fmt.Errorf("cannot serve on --web.listen-address: %w", err)
	case <-ctx.Done():
	}

	s.logger.Info("Stopping")
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.users.Close()
	}()
	ctx, cancel := context.WithTimeout(context.Background(), StopTimeout)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close() // a client that has not read its answer by now loses it
	}
	<-closed
	if err := <-stopped; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving ended: %w", err)
	}
	return nil
}
