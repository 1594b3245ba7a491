package collector_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
)

func TestRequestMetricsCountByReason(t *testing.T) {
	m := collector.NewRequestMetrics(false)
	status := func(code int) error { return &factoryapi.Error{Kind: factoryapi.KindStatus, StatusCode: code} }
	for _, err := range []error{
		nil, status(401), status(503), status(302), status(302), fmt.Errorf("page 2: %w", status(429)),
		&factoryapi.Error{Kind: factoryapi.KindTimeout}, &factoryapi.Error{Kind: factoryapi.KindConnection},
		&factoryapi.Error{Kind: factoryapi.KindInvalidResponse, StatusCode: 204},
		context.Canceled, fmt.Errorf("page 2: %w", context.Canceled), // no errors, and without an end
	} {
		m.Observe(factoryapi.UsersEndpoint)(err)
	}
	want := samples{"factory_api_requests_total": 11, "factory_api_request_duration_seconds_count": 9}
	for status, n := range map[string]float64{
		"401": 1, "503": 1, "302": 2, "429": 1, "timeout": 1, "connection": 1, "invalid_response": 1, "403": 0, "500": 0, "204": absent,
	} {
		want[fmt.Sprintf("factory_api_errors_total{status=%q}", status)] = n
	}
	got := read(t, m)
	got.Check(t, "after all of them", want)
	if n := got.Sum("factory_api_errors_total"); n != 8 {
		t.Errorf("%v errors in all, want 8", n)
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
