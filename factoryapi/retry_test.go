package factoryapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

func TestBackOffGrowsAndIsJittered(t *testing.T) {
	const listings, retries = 200, 7
	synctest.Test(t, func(t *testing.T) {
		api := organizationOf(1)
		api.Inject(fakeapi.Fault{Serve: fakeapi.Status(http.StatusInternalServerError)})
		requests := record(api)
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
		{"minutes", is("300"), 5 * time.Minute},
		{"leading zeros", is("007"), 7 * time.Second},
		{"spaces around", is("  7 "), 7 * time.Second},
		{"HTTP date", date(7*time.Second, http.TimeFormat), 7 * time.Second},
		{"RFC 850 date", date(7*time.Second, "Monday, 02-Jan-06 15:04:05 GMT"), 7 * time.Second},
		{"asctime date", date(7*time.Second, time.ANSIC), 7 * time.Second},
		{"date of tomorrow", date(24*time.Hour, http.TimeFormat), 24 * time.Hour},
		{"date of a later century", is("Fri, 01 Nov 2726 00:00:00 GMT"), farthest},
		{"seconds beyond any", is("99999999999999999999"), farthest},
		{"date in the past", date(-time.Hour, http.TimeFormat), backOff},
		{"date of now", date(0, http.TimeFormat), backOff},
		{"ISO date", date(7*time.Second, time.RFC3339), backOff},
		{"with a fraction", is("6.1"), 7 * time.Second},
		{"with a fraction of zero", is("7.0"), 7 * time.Second},
		{"zero", is("0"), backOff},
		{"empty", is(""), backOff},
		{"with a sign", is("-7"), backOff},
		{"with a sign too much", is("+7"), backOff},
		{"with two points", is("7.5.0"), backOff},
		{"with an exponent", is("7e0"), backOff},
		{"a point", is("."), backOff},
		{"with a unit", is("7s"), backOff},
		{"hexadecimal", is("0x7"), backOff},
		{"rubbish behind many digits", is("99999999999999999999 or so"), backOff},
	} {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable} {
			t.Run(fmt.Sprint(tt.name, " ", status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					api := organizationOf(1)
					api.Inject(fakeapi.Fault{Times: 1, Serve: fakeapi.Status(status, "Retry-After", tt.header(time.Now()))})
					requests := record(api)
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
		api := organizationOf(1)
		api.Inject(fakeapi.Fault{Serve: fakeapi.Status(http.StatusTooManyRequests, "Retry-After", "1")})
		requests := record(api)
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
	const timeout = 10 * time.Second
	for _, tt := range []struct {
		name   string
		header func(now time.Time) string
		waits  time.Duration
	}{
		{"seconds", is("11"), 0},
		{"just as long", is("10"), 0},
		{"date", date(time.Minute, http.TimeFormat), 0},
		{"longer than a duration can be", is("10000000000"), 0},
		{"longer than a number can be", is("99999999999999999999"), 0},
		{"shorter", is("9"), 9 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := organizationOf(1)
				api.Inject(fakeapi.Fault{Serve: fakeapi.Status(http.StatusTooManyRequests, "Retry-After", tt.header(time.Now()))})
				client := newClient(t, serve(t, api), factoryapi.Config{MaxRetries: 100})
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				start := time.Now()
				err := askOnce(ctx, client)
				if got := apiError(t, err); got.Reason() != "429" || got.RetryAfter <= 0 {
					t.Errorf("error %v, which asks for %s", err, got.RetryAfter)
				}
				if got := time.Since(start); got != tt.waits {
					t.Errorf("failed after %s, want %s", got, tt.waits)
				}
			})
		})
	}

	t.Run("back-off", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			api := organizationOf(1)
			api.Inject(fakeapi.Fault{Serve: fakeapi.Status(http.StatusServiceUnavailable)})
			client := newClient(t, serve(t, api), factoryapi.Config{MaxRetries: 100})
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			start := time.Now()
			err := askOnce(ctx, client)
			if got, waited := apiError(t, err).Reason(), time.Since(start); got != "503" || waited != 0 {
				t.Errorf("error %v after %s", err, waited)
			}
		})
	})
}

func TestCancellingAWaitEndsItAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := organizationOf(1)
		api.Inject(fakeapi.Fault{Serve: fakeapi.Status(http.StatusTooManyRequests, "Retry-After", "60")})
		var seen observer
		client := newClient(t, serve(t, api), factoryapi.Config{MaxRetries: 3, Observe: seen.observe})
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		time.AfterFunc(5*time.Second, cancel)
		_, err := list(ctx, client)
		if !errors.Is(err, context.Canceled) || errors.As(err, new(*factoryapi.Error)) {
			t.Errorf("error %v, want context.Canceled alone", err)
		}
		if got := time.Since(start); got != 5*time.Second {
			t.Errorf("ended after %s", got)
		}
		if got := seen.results(); !slices.Equal(got, []string{"429"}) {
			t.Errorf("requests ended with %q", got)
		}
	})
}

func is(value string) func(time.Time) string {
	return func(time.Time) string { return value }
}

// date is a header with the time so much after now.
func date(after time.Duration, layout string) func(time.Time) string {
	return func(now time.Time) string { return now.Add(after).UTC().Format(layout) }
}
