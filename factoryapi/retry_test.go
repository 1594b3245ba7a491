package factoryapi_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
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
		var requests arrivals
		client := newClient(t, serve(t, requests.of(api)), factoryapi.Config{MaxRetries: retries})
		var waits [retries][]time.Duration
		for range listings {
			requests.forget()
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
		var requests arrivals
		client := newClient(t, serve(t, requests.of(api)), factoryapi.Config{PageSize: 1, MaxRetries: retries})
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
		{"zero", is("0"), backOff},
		{"empty", is(""), backOff},
		{"negative", is("-7"), backOff},
		{"with a sign", is("+7"), backOff},
		{"with a fraction", is("6.1"), 7 * time.Second},
		{"with a fraction of zero", is("7.0"), 7 * time.Second},
		{"with two points", is("7.5.0"), backOff},
		{"with an exponent", is("7e0"), backOff},
		{"a point", is("."), backOff},
		{"with a unit", is("7s"), backOff},
		{"hexadecimal", is("0x7"), backOff},
		{"rubbish", is("soon"), backOff},
		{"rubbish behind many digits", is("99999999999999999999 or so"), backOff},
		{"ISO date", date(7*time.Second, time.RFC3339), backOff},
	} {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable} {
			t.Run(fmt.Sprint(tt.name, " ", status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					api := organizationOf(1)
					api.Inject(fakeapi.Fault{Times: 1, Serve: fakeapi.Status(status, "Retry-After", tt.header(time.Now()))})
					var requests arrivals
					var seen observer
					client := newClient(t, serve(t, requests.of(api)), factoryapi.Config{MaxRetries: 1, Observe: seen.observe})
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
	now := time.Now()
	for _, tt := range []struct {
		name string
		date string // of the answer
		want time.Duration
	}{
		{"an hour ahead", now.Add(time.Hour).UTC().Format(http.TimeFormat), 7 * time.Second},
		{"an hour behind", now.Add(-time.Hour).UTC().Format(http.TimeFormat), 7 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			date, err := http.ParseTime(tt.date)
			if err != nil {
				t.Fatal(err)
			}
			got := failure(t, key, answer{status: http.StatusTooManyRequests, header: http.Header{
				"Date": {tt.date}, "Retry-After": {date.Add(7 * time.Second).Format(http.TimeFormat)},
			}})
			if got.RetryAfter != tt.want {
				t.Errorf("%s, want %s", got.RetryAfter, tt.want)
			}
		})
	}
	for _, date := range []string{"", "rubbish"} { // which leaves our own clock
		got := failure(t, key, answer{status: http.StatusTooManyRequests, header: http.Header{
			"Date": {date}, "Retry-After": {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)},
		}})
		if got.RetryAfter < 59*time.Minute || got.RetryAfter > time.Hour {
			t.Errorf("with the date %q: %s", date, got.RetryAfter)
		}
	}
}

func TestRetryAfterDoesNotShortenTheBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := organizationOf(1)
		api.Inject(fakeapi.Fault{Serve: fakeapi.Status(http.StatusTooManyRequests, "Retry-After", "1")})
		var requests arrivals
		client := newClient(t, serve(t, requests.of(api)), factoryapi.Config{MaxRetries: 8})
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

func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{
		"", "0", "7", " 120\t", "-1", "+1", "1.5", "1e3", "1_000", "١", "soon",
		"9223372036", "9223372037", "18446744073709551615", "18446744073709551616", "99999999999999999999 or so", strings.Repeat("9", 400),
		"Fri, 31 Dec 2100 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:59 GMT", "Friday, 31-Dec-60 23:59:59 GMT",
		"Fri Dec 31 23:59:59 2100", "Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 2100 23:59:59 +0100",
	} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		client := newClient(t, nil, factoryapi.Config{Transport: answer{
			status: http.StatusTooManyRequests,
			header: http.Header{"Retry-After": {value}},
		}})
		before := time.Now()
		err := askOnce(t.Context(), client)
		after := time.Now()
		got := apiError(t, err).RetryAfter

		trimmed := strings.TrimSpace(value)
		if regexp.MustCompile(`^([0-9]+\.?[0-9]*|\.[0-9]+)$`).MatchString(trimmed) {
			seconds, ok := new(big.Rat).SetString(trimmed)
			if !ok {
				t.Fatal(value)
			}
			const most = 24 * 60 * 60
			least, _ := seconds.Float64()
			if least > most && got != most*time.Second || least <= most && (got.Seconds() < least*(1-1e-15) || got.Seconds() >= least+1+1e-6) {
				t.Errorf("%q: %s", value, got)
			}
			return
		}
		var least, most time.Duration
		if date, err := http.ParseTime(trimmed); err == nil {
			least, most = min(24*time.Hour, max(0, date.Sub(after))), min(24*time.Hour, max(0, date.Sub(before)))
		}
		if got < least || got > most {
			t.Errorf("%q: %s, want %s to %s", value, got, least, most)
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

// arrivals keeps when requests arrived.
type arrivals struct {
	mu    sync.Mutex
	times []time.Time
}

func (a *arrivals) of(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.times = append(a.times, time.Now())
		a.mu.Unlock()
		handler.ServeHTTP(w, r)
	})
}

func (a *arrivals) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.times = nil
}

// gaps returns the time between each request and the next.
func (a *arrivals) gaps() []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	var gaps []time.Duration
	for i := 1; i < len(a.times); i++ {
		gaps = append(gaps, a.times[i].Sub(a.times[i-1]))
	}
	return gaps
}
