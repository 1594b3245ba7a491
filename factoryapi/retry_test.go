package factoryapi_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

func TestBackOffGrowsAndIsJittered(t *testing.T) {
	const listings, retries = 200, 7
	synctest.Test(t, func(t *testing.T) {
		requests := record(organizationOf(1, fakeapi.Fault{Serve: fakeapi.Status(http.StatusInternalServerError)}))
		client := newClient(t, serve(t, requests), factoryapi.Config{MaxRetries: retries})
		var waits [retries][]time.Duration
		for range listings {
			requests.times = nil
			if err := askOnce(t.Context(), client); err == nil {
				t.Fatal("no error")
			}
			for i, wait := range requests.gaps() {
				waits[i] = append(waits[i], wait)
			}
		}
		middle := 500 * time.Millisecond
		for i := range waits {
			least, most := slices.Min(waits[i]), slices.Max(waits[i])
			if len(waits[i]) != listings || least < middle/2 || most > middle*3/2+1 {
				t.Errorf("wait %d lasts from %s to %s, want %s within 50 %%", i+1, least, most, middle)
			}
			if least > middle*3/4 || most < middle*5/4 {
				t.Errorf("wait %d lasts from %s to %s: there is little jitter around %s", i+1, least, most, middle)
			}
			middle = middle * 3 / 2
		}
	})
}

func TestEachPageHasRetriesOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pages, retries = 5, 3
		api := organizationOf(pages)
		for page := range pages {
			api.Inject(fakeapi.Fault{Page: page + 1, Times: retries, Serve: fakeapi.Status(http.StatusBadGateway)})
		}
		requests := record(api)
		client := newClient(t, serve(t, requests), factoryapi.Config{PageSize: 1, MaxRetries: retries})
		if users, err := list(t.Context(), client); err != nil || len(users) != pages {
			t.Fatalf("%d users, error %v", len(users), err)
		}
		gaps := requests.gaps()
		if got, want := len(gaps)+1, pages*(1+retries); got != want {
			t.Fatalf("%d requests, want %d", got, want)
		}
		for first := 0; first < len(gaps); first += 1 + retries {
			if got := gaps[first]; got > 750*time.Millisecond+1 {
				t.Errorf("first wait of a page lasts %s: the back-off did not begin anew", got)
			}
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	const backOff = 0 // the usual wait
	const farthest = 24 * time.Hour
	for _, tt := range []struct {
		name   string
		header func(now time.Time) string
		want   time.Duration
	}{
		{"seconds", is("7"), 7 * time.Second},
		{"spaces around", is("  7 "), 7 * time.Second},
		{"HTTP date", date(7*time.Second, http.TimeFormat), 7 * time.Second},
		{"RFC 850 date", date(7*time.Second, "Monday, 02-Jan-06 15:04:05 GMT"), 7 * time.Second},
		{"date of a later century", is("Fri, 01 Nov 2726 00:00:00 GMT"), farthest},
		{"seconds beyond any", is(strings.Repeat("9", 400)), farthest},
		{"date in the past", date(-time.Hour, http.TimeFormat), backOff},
		{"ISO date", date(7*time.Second, time.RFC3339), backOff},
		{"with a fraction", is("6.1"), 7 * time.Second},
		{"zero", is("0"), backOff},
		{"empty", is(""), backOff},
		{"with a sign", is("-7"), backOff},
		{"a point", is("."), backOff},
		{"with a unit", is("7s"), backOff},
		{"rubbish behind many digits", is("99999999999999999999 or so"), backOff},
	} {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			t.Run(fmt.Sprint(tt.name, " ", status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					requests := record(organizationOf(1, fakeapi.Fault{Times: 1, Serve: fakeapi.Status(status, "Retry-After", tt.header(time.Now()))}))
					var seen observer
					client := newClient(t, serve(t, requests), factoryapi.Config{MaxRetries: 1, Observe: seen.observe})
					if err := askOnce(t.Context(), client); err != nil {
						t.Fatal(err)
					}
					if got := apiError(t, seen.ended[0]).RetryAfter; got != tt.want {
						t.Errorf("the error tells of %s, want %s", got, tt.want)
					}
					got := requests.gaps()[0]
					if tt.want == backOff && (got < 250*time.Millisecond || got > 750*time.Millisecond+1) || tt.want != backOff && got != tt.want {
						t.Errorf("waited %s, want %s, or 250 to 750 ms if that is 0", got, tt.want)
					}
				})
			})
		}
	}
}

// The API's clock may be wrong, or ours.
func TestARetryAfterDateCountsFromTheAnswersOwn(t *testing.T) {
	after := func(date, until string) time.Duration {
		return failure(t, key, answer{status: http.StatusTooManyRequests, header: http.Header{"Date": {date}, "Retry-After": {until}}}).RetryAfter
	}
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		if got := after(in(ahead), in(ahead+time.Minute)); got < 59*time.Second || got > 61*time.Second {
			t.Errorf("%s ahead: %s, want a minute", ahead, got)
		}
	}
	for _, date := range []string{"", "rubbish"} { // which leaves our own clock
		if got := after(date, in(time.Hour)); got < 59*time.Minute || got > time.Hour {
			t.Errorf("with the date %q: %s", date, got)
		}
	}
}

func TestRetryAfterDoesNotShortenTheBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := record(organizationOf(1, fakeapi.Fault{Serve: fakeapi.Status(http.StatusTooManyRequests, "Retry-After", "1")}))
		client := newClient(t, serve(t, requests), factoryapi.Config{MaxRetries: 8})
		if err := askOnce(t.Context(), client); err == nil {
			t.Fatal("no error")
		}
		least := 250 * time.Millisecond
		for i, got := range requests.gaps() {
			if want := max(time.Second, least); got < want {
				t.Errorf("wait %d lasts %s, want at least %s", i+1, got, want)
			}
			least = least * 3 / 2
		}
	})
}

func TestAWaitPastTheDeadlineFailsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name       string
		timeout    time.Duration
		retryAfter string
		waits      time.Duration
	}{
		{"longer", 10 * time.Second, "11", 0},
		{"just as long", 10 * time.Second, "10", 0},
		{"longer than a duration can be", 10 * time.Second, "10000000000", 0},
		{"shorter", 10 * time.Second, "9", 9 * time.Second},
		{"the usual back-off", 200 * time.Millisecond, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := organizationOf(1, fakeapi.Fault{Serve: fakeapi.Status(http.StatusTooManyRequests, "Retry-After", tt.retryAfter)})
				client := newClient(t, serve(t, api), factoryapi.Config{MaxRetries: 100})
				ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
				defer cancel()
				start := time.Now()
				err := askOnce(ctx, client)
				if got, waited := apiError(t, err).Reason(), time.Since(start); got != "429" || waited != tt.waits {
					t.Errorf("error %v after %s, want a 429 after %s", err, waited, tt.waits)
				}
			})
		})
	}
}

func is(value string) func(time.Time) string {
	return func(time.Time) string { return value }
}

// date is a header with the time so much after now.
func date(after time.Duration, layout string) func(time.Time) string {
	return func(now time.Time) string { return now.Add(after).UTC().Format(layout) }
}
