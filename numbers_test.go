package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"factory_exporter/factoryapi/fakeapi"
)

// TestNumbers compares what the whole program says with a count of the same members by hand.
func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 99, 100, 101, 1234, 20000} {
		for _, pageSize := range []int{1, 7, 100} {
			if size == 20000 && pageSize == 1 {
				continue // says no more than 1,234 members do
			}
			t.Run(fmt.Sprintf("%d members by %d", size, pageSize), func(t *testing.T) {
				t.Parallel()
				checkNumbers(t, members(size, time.Now()), max(1, (size+pageSize-1)/pageSize), nil,
					fmt.Sprintf("--factory.page-size=%d", pageSize))
			})
		}
	}
	t.Run("windows of one's own", func(t *testing.T) {
		t.Parallel()
		checkNumbers(t, members(500, time.Now()), 5, []string{"36h", "2w", "1y", "10m"})
	})
	t.Run("generated members", func(t *testing.T) {
		t.Parallel()
		checkNumbers(t, fakeapi.Generate(3000, 7, time.Now()), 30, nil)
	})
}

// checkNumbers runs the program on an API below a path, and checks a scrape.
func checkNumbers(t *testing.T, members []fakeapi.Member, pages int, windows []string, args ...string) {
	mux := http.NewServeMux()
	mux.Handle("/some/base/", http.StripPrefix("/some/base", fakeapi.NewServer(fakeapi.NewOrganization(members...), testKey)))
	args = withKey(t, append(args, "--factory.url="+serveAPI(t, mux)+"/some/base/",
		"--collector.group-by=email_domain", "--collector.group-by=metadata.team")...)
	perUser := len(members) < 2000
	if perUser {
		args = append(args, "--collector.per-user")
	}
	for _, window := range windows {
		args = append(args, "--collector.window="+window)
	}
	if windows == nil {
		windows = []string{"1d", "7d", "30d", "90d"}
	}
	p := start(t, args...)
	before := time.Now()
	s := p.scrape(t)
	after := time.Now()

	now := s.listingStart()
	if now.Before(before.Add(-clockSlack)) || now.After(after.Add(clockSlack)) {
		t.Errorf("the listing began at %s, the scrape at %s, which ended at %s", now, before, after)
	}
	var people []person
	for _, m := range members {
		people = append(people, personOf(m))
	}
	want := countByHand(people, windows, []string{"email_domain", "metadata.team"}, now)
	want["factory_listing_pages"] = float64(pages)
	if !perUser {
		maps.DeleteFunc(want, func(series string, _ float64) bool { return strings.HasPrefix(series, "factory_user_") })
	}
	checkUserSeries(t, s, want)
	if s["factory_up"] != 1 || s["factory_api_requests_total"] != float64(pages) {
		t.Errorf("factory_up is %g, requests are %g, want 1 and %d", s["factory_up"], s["factory_api_requests_total"], pages)
	}
}

// members makes up n members that differ in whatever the API document lets them differ in.
func members(n int, now time.Time) []fakeapi.Member {
	zones := []*time.Location{time.UTC, time.FixedZone("", 2*3600), time.FixedZone("", -7*3600), time.FixedZone("", 5*3600+1800)}
	layouts := []string{
		"2006-01-02T15:04:05Z07:00",
		"2006-01-02T15:04:05.000Z07:00",
		"2006-01-02T15:04:05.000000Z07:00",
		"2006-01-02T15:04:05.000000000Z07:00",
		"2006-01-02T15:04:05.000-0700",
	}
	domains := []string{"acme.example", "Labs.ACME.example", "partner.example"}
	teams := []string{"platform", `re"search\`, "Größe"}
	members := make([]fakeapi.Member, n)
	for i := range members {
		format := func(t time.Time) string { return t.In(zones[i%len(zones)]).Format(layouts[i%len(layouts)]) }
		m := fakeapi.Member{
			ID:        fmt.Sprintf("user_%05d", i),
			Email:     fmt.Sprintf("p%d@%s", i, domains[i%len(domains)]),
			CreatedAt: format(now.Add(-time.Duration(i%431) * 23 * time.Hour)),
		}
		if i%3 > 0 {
			m.FirstName = "Ada"
		}
		if i%4 > 0 {
			m.LastName = "Lovelace"
		}
		if i%5 > 0 {
			m.Metadata = map[string]string{"team": teams[i%len(teams)], "other": "x"}
		}
		switch i % 7 {
		case 0: // never signed in, the field is absent
		case 1: // never, the field is null
			m.Raw = map[string]json.RawMessage{"lastSignInAt": json.RawMessage("null")}
		case 2:
			m.LastSignInAt = format(now.Add(time.Duration(i%11+1) * time.Hour))
		default:
			m.LastSignInAt = format(now.Add(-time.Duration(i%397) * 17 * time.Hour))
		}
		if i%13 == 0 {
			m.CreatedAt = format(now.Add(time.Duration(i%5+1) * time.Hour))
		}
		members[i] = m
	}
	return members
}

// person is what a count needs to know of a member.
type person struct {
	id, created, signedIn string // timestamps are empty if there are none
	attributes            map[string]string
}

func personOf(m fakeapi.Member) person {
	p := person{id: m.ID, created: m.CreatedAt, signedIn: m.LastSignInAt, attributes: map[string]string{}}
	if string(m.Raw["lastSignInAt"]) == "null" {
		p.signedIn = ""
	}
	if _, domain, ok := strings.Cut(m.Email, "@"); ok {
		p.attributes["email_domain"] = strings.ToLower(domain)
	}
	for key, value := range m.Metadata {
		p.attributes["metadata."+key] = value
	}
	return p
}

// countByHand counts people at the instant now, with as little cleverness as possible. It returns
// the user series of a scrape, those of each user included, but for the number of pages.
func countByHand(people []person, windows, attributes []string, now time.Time) samples {
	s := samples{
		"factory_users":                                            0,
		"factory_users_never_signed_in":                            0,
		"factory_listing_duplicate_users":                          0,
		`factory_listing_invalid_timestamps{field="createdAt"}`:    0,
		`factory_listing_invalid_timestamps{field="lastSignInAt"}`: 0,
		"factory_users_last_sign_in_age_seconds_sum":               0,
		"factory_users_last_sign_in_age_seconds_count":             0,
		`factory_users_last_sign_in_age_seconds_bucket{le="+Inf"}`: 0,
	}
	day := 24 * time.Hour
	buckets := []time.Duration{1 * day, 3 * day, 7 * day, 14 * day, 30 * day, 60 * day, 90 * day, 180 * day, 365 * day}
	bucket := func(d time.Duration) string {
		return `factory_users_last_sign_in_age_seconds_bucket{le="` + strconv.FormatFloat(d.Seconds(), 'g', -1, 64) + `"}`
	}
	for _, d := range buckets {
		s[bucket(d)] = 0
	}
	begins := map[string]time.Time{}
	for _, window := range windows {
		length, err := model.ParseDuration(window)
		if err != nil {
			panic(err)
		}
		begins[window] = now.Add(-time.Duration(length))
		for _, name := range []string{"active", "idle", "new"} {
			s["factory_users_"+name+`{window="`+window+`"}`] = 0
		}
	}

	met := map[string]bool{}
	for _, p := range people {
		if met[p.id] {
			s["factory_listing_duplicate_users"]++
			continue
		}
		met[p.id] = true
		s["factory_users"]++
		created, createdOK := readTime(p.created)
		signedIn, signedInOK := readTime(p.signedIn)
		never := p.signedIn == ""

		if createdOK {
			s["factory_user_created_timestamp_seconds{id="+quote(p.id)+"}"] = unix(created)
		} else {
			s[`factory_listing_invalid_timestamps{field="createdAt"}`]++
		}
		switch {
		case never:
			s["factory_users_never_signed_in"]++
		case signedInOK:
			age := max(0, now.Sub(signedIn))
			s["factory_users_last_sign_in_age_seconds_count"]++
			s[`factory_users_last_sign_in_age_seconds_bucket{le="+Inf"}`]++
			s["factory_users_last_sign_in_age_seconds_sum"] += age.Seconds()
			for _, d := range buckets {
				if age <= d {
					s[bucket(d)]++
				}
			}
			s["factory_user_last_sign_in_timestamp_seconds{id="+quote(p.id)+"}"] = unix(signedIn)
		default:
			s[`factory_listing_invalid_timestamps{field="lastSignInAt"}`]++
		}

		for _, attribute := range attributes {
			s["factory_users_by_attribute"+labels(attribute, p.attributes[attribute], "")]++
		}
		for _, window := range windows {
			begin := begins[window]
			active := signedInOK && !signedIn.Before(begin)
			fresh := createdOK && !created.Before(begin)
			idle := createdOK && created.Before(begin) && (never || signedInOK && signedIn.Before(begin))
			for name, is := range map[string]bool{"active": active, "new": fresh, "idle": idle} {
				if is {
					s["factory_users_"+name+`{window="`+window+`"}`]++
				}
			}
			for _, attribute := range attributes {
				of := labels(attribute, p.attributes[attribute], window)
				s["factory_users_active_by_attribute"+of] += boolean01(active)
				s["factory_users_idle_by_attribute"+of] += boolean01(idle)
			}
		}
	}
	return s
}

func boolean01(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func labels(attribute, value, window string) string {
	if value == "" {
		value = "(none)"
	}
	text := "{attribute=" + quote(attribute) + ",value=" + quote(value)
	if window != "" {
		text += ",window=" + quote(window)
	}
	return text + "}"
}

// quote quotes a label value as the text format does.
func quote(value string) string {
	return `"` + labelEscaper.Replace(value) + `"`
}

var labelEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func readTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func unix(t time.Time) float64 { return float64(t.Unix()) + float64(t.Nanosecond())/1e9 }

// clockSlack is how far listingStart may be off: a duration is right even where the clock on the wall
// is being adjusted.
const clockSlack = 10 * time.Millisecond

// listingStart is the instant at which members were counted.
func (s samples) listingStart() time.Time {
	start := s["factory_listing_timestamp_seconds"] - s["factory_listing_duration_seconds"]
	return time.UnixMicro(int64(math.Round(start * 1e6)))
}

// userSeries are the series that stem from a listing.
func (s samples) userSeries() samples {
	users := maps.Clone(s)
	maps.DeleteFunc(users, func(series string, _ float64) bool {
		name, _, _ := strings.Cut(series, "{")
		switch name {
		case "factory_listing_pages", "factory_listing_duplicate_users", "factory_listing_invalid_timestamps":
			return false
		case "factory_users_joined_total", "factory_users_left_total":
			return true
		}
		return !strings.HasPrefix(name, "factory_user")
	})
	return users
}

// checkUserSeries compares the user series of a scrape with those wanted.
func checkUserSeries(t testing.TB, s, want samples) {
	t.Helper()
	got := s.userSeries()
	const sum = "factory_users_last_sign_in_age_seconds_sum"
	if _, ok := got[sum]; ok && math.Abs(got[sum]-want[sum]) <= clockSlack.Seconds()*want["factory_users_last_sign_in_age_seconds_count"] {
		got[sum] = want[sum]
	}
	if maps.Equal(got, want) {
		return
	}
	differences := 0
	series := slices.Concat(slices.Collect(maps.Keys(got)), slices.Collect(maps.Keys(want)))
	slices.Sort(series)
	for _, name := range slices.Compact(series) {
		g, gotOK := got[name]
		w, wantOK := want[name]
		if (g != w || gotOK != wantOK) && differences < 20 {
			t.Errorf("%s is %g (there: %v), want %g (there: %v)", name, g, gotOK, w, wantOK)
			differences++
		}
	}
}
