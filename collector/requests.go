package collector

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"factory_exporter/factoryapi"
)

// RequestMetrics counts the requests to the API. Its Observe method fits the field
// Observe of factoryapi.Config.
type RequestMetrics struct {
	requests prometheus.Counter
	errors   *prometheus.CounterVec
	duration prometheus.Histogram
}

var _ prometheus.Collector = (*RequestMetrics)(nil)

// NewRequestMetrics returns metrics that start at zero. The most usual failures have
// a series from the start.
func NewRequestMetrics() *RequestMetrics {
	m := &RequestMetrics{
		requests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "factory_api_requests_total",
			Help: "Requests sent to the Factory API, retries included.",
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "factory_api_errors_total",
			Help: "Requests to the Factory API that failed. The status is an HTTP status, or one of timeout, connection and invalid_response.",
		}, []string{"status"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "factory_api_request_duration_seconds",
			Help:    "Time from sending a request to the Factory API to the end of its answer. Failed requests are included.",
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

// Observe counts a request that is about to be sent. Call the function that it
// returns when the request has ended, with the request's error or nil. A canceled
// request is not an error.
func (m *RequestMetrics) Observe() (ended func(error)) {
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

// Describe implements prometheus.Collector.
func (m *RequestMetrics) Describe(ch chan<- *prometheus.Desc) {
	m.requests.Describe(ch)
	m.errors.Describe(ch)
	m.duration.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *RequestMetrics) Collect(ch chan<- prometheus.Metric) {
	m.requests.Collect(ch)
	m.errors.Collect(ch)
	m.duration.Collect(ch)
}
