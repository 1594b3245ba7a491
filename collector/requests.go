package collector

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"factory_exporter/factoryapi"
)

// RequestMetrics counts the requests to the API: those for listings, and apart from them
// those for the analytics. Its Observe method fits the field Observe of
// factoryapi.Config.
type RequestMetrics struct {
	listings  *requestMetrics
	analytics *requestMetrics // nil without
}

var _ prometheus.Collector = (*RequestMetrics)(nil)

// NewRequestMetrics returns metrics that start at zero, with those of the analytics or
// without. The most usual failures have a series from the start.
func NewRequestMetrics(analytics bool) *RequestMetrics {
	m := &RequestMetrics{listings: newRequestMetrics("factory_api", "the Factory API")}
	if analytics {
		m.analytics = newRequestMetrics("factory_usage_api", "the analytics of the Factory API")
	}
	return m
}

// Observe counts a request to an endpoint that is about to be sent. Call the function
// that it returns when the request has ended, with the request's error or nil. A canceled
// request is not an error.
func (m *RequestMetrics) Observe(endpoint string) (ended func(error)) {
	if endpoint == factoryapi.UsersEndpoint {
		return m.listings.observe()
	}
	return m.analytics.observe()
}

func (m *RequestMetrics) Describe(ch chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(m, ch)
}

func (m *RequestMetrics) Collect(ch chan<- prometheus.Metric) {
	m.listings.collect(ch)
	if m.analytics != nil {
		m.analytics.collect(ch)
	}
}

// requestMetrics are the series about the requests of one kind.
type requestMetrics struct {
	requests prometheus.Counter
	errors   *prometheus.CounterVec
	duration prometheus.Histogram
}

func newRequestMetrics(prefix, api string) *requestMetrics {
	m := &requestMetrics{
		requests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "_requests_total",
			Help: "Requests sent to " + api + ", retries included.",
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "_errors_total",
			Help: "Requests to " + api + " that failed, by HTTP status or one of timeout, connection and invalid_response.",
		}, []string{"status"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    prefix + "_request_duration_seconds",
			Help:    "Time from sending a request to " + api + " to the end of its answer, failed requests included.",
			Unit:    "seconds",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30},

			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}),
	}
	for _, status := range []string{
		"401", "403", "429", "500",
		string(factoryapi.KindTimeout), string(factoryapi.KindConnection), string(factoryapi.KindInvalidResponse),
	} {
		m.errors.WithLabelValues(status)
	}
	return m
}

func (m *requestMetrics) observe() (ended func(error)) {
	m.requests.Inc()
	start := time.Now()
	return func(err error) {
		if errors.Is(err, context.Canceled) {
			return
		}
		m.duration.Observe(time.Since(start).Seconds())
		if err != nil {
			m.errors.WithLabelValues(reasonOf(err)).Inc()
		}
	}
}

func (m *requestMetrics) collect(ch chan<- prometheus.Metric) {
	m.requests.Collect(ch)
	m.errors.Collect(ch)
	m.duration.Collect(ch)
}
