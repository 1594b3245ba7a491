package collector_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
)

func TestRequestMetricsStartAtZero(t *testing.T) {
	got := read(t, collector.NewRequestMetrics(false))
	want := samples{"factory_api_requests_total": 0, "factory_api_request_duration_seconds_count": 0, "factory_api_request_duration_seconds_sum": 0}
	for _, status := range []string{"401", "403", "429", "500", "timeout", "connection", "invalid_response"} {
		want[errorsOf(status)] = 0
	}
	got.Check(t, "at the start", want)
	if n := testutil.CollectAndCount(collector.NewRequestMetrics(false), "factory_api_errors_total"); n != 7 {
		t.Errorf("%d statuses, want 7", n)
	}
}

func TestRequestMetricsCountByReason(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string // the status
	}{
		{&factoryapi.Error{Kind: factoryapi.KindStatus, StatusCode: 401}, "401"},
		{&factoryapi.Error{Kind: factoryapi.KindStatus, StatusCode: 302, Message: "redirect"}, "302"},
		{&factoryapi.Error{Kind: factoryapi.KindStatus, StatusCode: 503, RetryAfter: time.Second}, "503"},
		{&factoryapi.Error{Kind: factoryapi.KindTimeout, Message: "late"}, "timeout"},
		{&factoryapi.Error{Kind: factoryapi.KindConnection}, "connection"},
		{&factoryapi.Error{Kind: factoryapi.KindInvalidResponse, StatusCode: 204}, "invalid_response"},
		{fmt.Errorf("page 2: %w", &factoryapi.Error{Kind: factoryapi.KindStatus, StatusCode: 429}), "429"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			m := collector.NewRequestMetrics(false)
			m.Observe(factoryapi.UsersEndpoint)(tt.err)
			m.Observe(factoryapi.UsersEndpoint)(tt.err)
			m.Observe(factoryapi.UsersEndpoint)(nil)
			got := read(t, m)
			got.Check(t, "after two failures and a success", samples{
				"factory_api_requests_total": 3, errorsOf(tt.want): 2, "factory_api_request_duration_seconds_count": 3,
			})
			if n := got.Sum("factory_api_errors_total"); n != 2 {
				t.Errorf("%v errors in all, want 2", n)
			}
		})
	}
}

func TestRequestMetricsOfCanceledRequests(t *testing.T) {
	for _, err := range []error{context.Canceled, fmt.Errorf("page 2: %w", context.Canceled), errors.Join(errors.New("stop"), context.Canceled)} {
		m := collector.NewRequestMetrics(false)
		m.Observe(factoryapi.UsersEndpoint)(err)
		got := read(t, m)
		got.Check(t, err.Error(), samples{"factory_api_requests_total": 1, "factory_api_request_duration_seconds_count": 0})
		if n := got.Sum("factory_api_errors_total"); n != 0 {
			t.Errorf("%v: %v errors", err, n)
		}
	}
}

func TestRequestMetricsCountARequestWhenItIsSent(t *testing.T) {
	m := collector.NewRequestMetrics(false)
	ended := m.Observe(factoryapi.UsersEndpoint)
	read(t, m).Check(t, "under way", samples{"factory_api_requests_total": 1, "factory_api_request_duration_seconds_count": 0})
	ended(nil)
	read(t, m).Check(t, "ended", samples{"factory_api_requests_total": 1, "factory_api_request_duration_seconds_count": 1})
}

func TestRequestMetricsDurationIsNativeAndClassic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := collector.NewRequestMetrics(false)
		for _, d := range []time.Duration{250 * time.Millisecond, 750 * time.Millisecond, 3 * time.Second, time.Hour} {
			ended := m.Observe(factoryapi.UsersEndpoint)
			time.Sleep(d)
			ended(nil)
		}
		read(t, m).Check(t, "classic", samples{
			"factory_api_request_duration_seconds_count":               4,
			"factory_api_request_duration_seconds_sum":                 3604,
			`factory_api_request_duration_seconds_bucket{le="1"}`:      2,
			`factory_api_request_duration_seconds_bucket{le="+Inf"}`:   4,
			`factory_api_request_duration_seconds_bucket{le="0.1"}`:    0,
			`factory_api_request_duration_seconds_bucket{le="0.0001"}`: absent,
		})

		families, err := registryOf(t, m).Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() != "factory_api_request_duration_seconds" {
				continue
			}
			native := family.GetMetric()[0].GetHistogram()
			if native.Schema == nil || len(native.GetPositiveSpan()) == 0 || native.GetSampleCount() != 4 {
				t.Errorf("no native histogram of four requests: %v", native)
			}
		}
	})
}

func errorsOf(status string) string {
	return fmt.Sprintf("factory_api_errors_total{status=%q}", status)
}
