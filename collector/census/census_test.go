package census_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"factory_exporter/collector/census"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

// Timestamps that are no points in time.
var (
	missing    = factoryapi.Timestamp{}
	unreadable = factoryapi.Timestamp{State: factoryapi.Invalid}
)

func TestCensusOfOneUser(t *testing.T) {
	const week = 7 * day
	old := ago(1000 * day)
	for _, tt := range []struct {
		name                    string
		createdAt, lastSignInAt factoryapi.Timestamp
		want                    string // what the user counts as, beside being a user
	}{
		{"signed in just now", old, ago(0), "active aged"},
		{"signed in exactly a window ago", old, ago(week), "active aged"},
		{"signed in a nanosecond after the edge", old, ago(week + 1), "idle aged"},
		{"signs in in the far future", old, date(9999), "active aged"},
		{"signed in in the year 1", date(1), date(1), "idle aged"},

		{"never signed in", old, missing, "idle never"},
		{"never signed in, created a nanosecond before the window", ago(week + 1), missing, "idle never"},
		{"created exactly a window ago", ago(week), missing, "new never"},
		{"created in the far future", date(9999), missing, "new never"},
		{"created and signed in at once, at the edge", ago(week), ago(week), "active new aged"},
		{"created and signed in at once, before the window", ago(week + 1), ago(week + 1), "idle aged"},
		{"created before the window, signed in within it", ago(week + 1), ago(week), "active aged"},
		{"new, signed in before the window only", ago(week), ago(week + 1), "new aged"},

		{"sign-in unreadable", old, unreadable, "badSignIn"},
		{"creation unreadable, active", unreadable, ago(week), "active aged badCreated"},
		{"creation unreadable, not active", unreadable, ago(week + 1), "aged badCreated"},
		{"creation unreadable, never signed in", unreadable, missing, "never badCreated"},
		{"creation missing, never signed in", missing, missing, "never badCreated"},
		{"nothing readable", unreadable, unreadable, "badCreated badSignIn"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			user := factoryapi.User{ID: "user_1", CreatedAt: tt.createdAt, LastSignInAt: tt.lastSignInAt}
			counts := count(windows("7d"), user)
			if got := describe(counts); got != tt.want {
				t.Errorf("counts as %q, want %q", got, tt.want)
			}
			if counts.Users != 1 || counts.Duplicates != 0 {
				t.Errorf("%d users, %d duplicates", counts.Users, counts.Duplicates)
			}
		})
	}
}

func TestCensusWindowsAreTheConfiguredOnesInTheirOrder(t *testing.T) {
	cfg := census.Config{Windows: []census.Window{
		{Label: "1y", Length: 365 * day}, {Label: "500ms", Length: 500 * time.Millisecond}, {Label: "36h", Length: 36 * time.Hour},
	}}
	users := []factoryapi.User{
		{ID: "a", CreatedAt: ago(400 * day), LastSignInAt: ago(500 * time.Millisecond)},
		{ID: "b", CreatedAt: ago(37 * time.Hour), LastSignInAt: ago(36 * time.Hour)},
		{ID: "c", CreatedAt: ago(36 * time.Hour)},
		{ID: "d", CreatedAt: ago(366 * day)},
	}
	got := count(cfg, users...).Windows
	want := []census.WindowCounts{
		{Active: 2, Idle: 1, New: 2},
		{Active: 1, Idle: 3, New: 0},
		{Active: 2, Idle: 1, New: 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("windows %+v, want %+v", got, want)
	}
	if got := count(census.Config{}, users...); got.Users != 4 || len(got.Windows) != 0 {
		t.Errorf("without windows: %+v", got)
	}
}

func TestCensusCountsTheFirstOfDuplicates(t *testing.T) {
	cfg := windows("7d")
	cfg.GroupBy, cfg.GroupLimit, cfg.PerUser = harness.Attributes(t, "email_domain"), 10, true
	first := factoryapi.User{ID: "a", Email: "a@first.example", CreatedAt: ago(100 * day), LastSignInAt: ago(day)}
	got := count(cfg, first,
		factoryapi.User{ID: "b", CreatedAt: ago(day)},
		factoryapi.User{ID: "a", Email: "a@second.example", CreatedAt: unreadable, LastSignInAt: ago(50 * day)},
		factoryapi.User{ID: "a", CreatedAt: ago(0), LastSignInAt: unreadable},
		first,
	)
	want := count(cfg, first, factoryapi.User{ID: "b", CreatedAt: ago(day)})
	want.Duplicates = 3
	if !reflect.DeepEqual(got, want) {
		t.Errorf("counts\n%+v, want\n%+v", got, want)
	}
}

func TestCensusHistogramSum(t *testing.T) {
	for _, tt := range []struct {
		name string
		ages []time.Duration
		want float64
	}{
		{"fractions are rounded up", []time.Duration{1500 * time.Millisecond, 2250 * time.Millisecond, 250 * time.Millisecond}, 6},
		{"the future is just now", []time.Duration{-time.Hour, -1, 0, time.Second}, 1},
		{"more nanoseconds than a Duration holds", slices.Repeat([]time.Duration{200 * 365 * day}, 1000), 1000 * 200 * 365 * 86400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			users := make([]factoryapi.User, len(tt.ages))
			for i, age := range tt.ages {
				users[i] = factoryapi.User{ID: fmt.Sprint(i), LastSignInAt: ago(age)}
			}
			got := count(census.Config{}, users...).SignInAges
			if got.Sum != tt.want || got.Count != uint64(len(users)) {
				t.Errorf("sum %v of %d, want %v of %d", got.Sum, got.Count, tt.want, len(users))
			}
		})
	}
}

func TestCensusGroups(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit int
		teams []string // one for each member, empty for none
		want  string   // value=users, in order
	}{
		{"the largest first", 9, []string{"x", "y", "y", "z", "z", "z"}, "z=3 y=2 x=1"},
		{"those of one size by name", 9, []string{"c", "a", "b", "d", "d"}, "d=2 a=1 b=1 c=1"},
		{"nobody", 9, nil, ""},
		{"one more than the limit", 2, []string{"x", "y", "y", "z"}, "y=2 x=1 (other)=1"},
		{"a tie at the limit goes by name", 1, []string{"z", "x", "y"}, "x=1 (other)=2"},
		{"no value does not count towards the limit", 1, []string{"", "", "", "x", "x", "y"}, "x=2 (none)=3 (other)=1"},
		{"a value named as no value", 9, []string{"(none)", "", "x"}, "x=1 (none)=2"},
		{"a value named as the others joins them", 1, []string{"(other)", "(other)", "(other)", "x", "x", "y"}, "x=2 (other)=4"},
		{"limit zero keeps none", 0, []string{"x", "y", ""}, "(none)=1 (other)=2"},
		{"text is kept as it is", 9, []string{"x y", "\"\n\\"}, "\"\n\\=1 x y=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var members []fakeapi.User
			for i, team := range tt.teams {
				members = append(members, fakeapi.User{ID: fmt.Sprint(i), Metadata: map[string]string{"team": team}})
			}
			cfg := census.Config{GroupBy: harness.Attributes(t, "metadata.team"), GroupLimit: tt.limit}
			var texts []string
			for _, group := range count(cfg, harness.Users(t, members...)...).Groups {
				texts = append(texts, fmt.Sprintf("%s=%d", group.Value, group.Users))
				if group.Attribute != "metadata.team" {
					t.Errorf("%q is of the attribute %q", group.Value, group.Attribute)
				}
			}
			if got := strings.Join(texts, " "); got != tt.want {
				t.Errorf("groups %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCensusGroupsHaveWindows(t *testing.T) {
	cfg := windows("1d", "30d")
	cfg.GroupBy, cfg.GroupLimit = harness.Attributes(t, "email_domain"), 1
	got := count(cfg,
		factoryapi.User{ID: "1", Email: "1@x", CreatedAt: ago(400 * day), LastSignInAt: ago(day)},
		factoryapi.User{ID: "2", Email: "2@x", CreatedAt: ago(30 * day)},
		factoryapi.User{ID: "3", Email: "3@x", CreatedAt: ago(31 * day), LastSignInAt: unreadable},
		factoryapi.User{ID: "4", CreatedAt: ago(31 * day)},
		factoryapi.User{ID: "5", Email: "5@y", CreatedAt: ago(400 * day), LastSignInAt: ago(2 * day)},
		factoryapi.User{ID: "6", Email: "6@z", CreatedAt: ago(400 * day), LastSignInAt: ago(31 * day)},
	).Groups
	want := []census.GroupCounts{
		{Attribute: "email_domain", Value: "x", Users: 3, Windows: []census.WindowCounts{{Active: 1, Idle: 1}, {Active: 1, New: 1}}},
		{Attribute: "email_domain", Value: "(none)", Users: 1, Windows: []census.WindowCounts{{Idle: 1}, {Idle: 1}}},
		{Attribute: "email_domain", Value: "(other)", Users: 2, Windows: []census.WindowCounts{{Idle: 2}, {Active: 1, Idle: 1}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("groups\n%+v, want\n%+v", got, want)
	}
}

func TestCensusGroupsByEachAttribute(t *testing.T) {
	cfg := census.Config{GroupBy: harness.Attributes(t, "metadata.team", "email_domain", "metadata.site"), GroupLimit: 1}
	users := harness.Users(t,
		fakeapi.User{ID: "1", Email: "1@x", Metadata: map[string]string{"team": "Data", "site": "B"}},
		fakeapi.User{ID: "2", Email: "2@x", Metadata: map[string]string{"team": "data"}},
		fakeapi.User{ID: "3", Email: "3@y", Metadata: map[string]string{"team": "Data"}},
		fakeapi.User{ID: "4", Email: "4"},
	)
	var got []string
	for _, group := range count(cfg, users...).Groups {
		got = append(got, fmt.Sprintf("%s %s=%d", group.Attribute, group.Value, group.Users))
	}
	want := []string{
		"metadata.team Data=2", "metadata.team (none)=1", "metadata.team (other)=1",
		"email_domain x=2", "email_domain (none)=1", "email_domain (other)=1",
		"metadata.site B=1", "metadata.site (none)=3",
	}
	if !slices.Equal(got, want) {
		t.Errorf("groups %q, want %q", got, want)
	}
}

func TestCensusLabelValuesAreBoundedValidAndDistinct(t *testing.T) {
	const size = 100_000
	long := strings.Repeat("x", size)
	values := []string{
		"short",
		long + "1", long + "2", // which differ at the end
		"1" + long,                                                                                                             // and at the start
		strings.Repeat("é", size), "x" + strings.Repeat("é", size), strings.Repeat("日", size), "x" + strings.Repeat("🙂", size), // wherever the cut is
		"an ellipsis…", "…", strings.Repeat("y", 127) + "é",
	}
	// A value that is written as a shortened one must not meet it.
	values = append(values, labelsOf(values...)...)
	distinct := map[string]bool{}
	for _, label := range labelsOf(values...) {
		distinct[label] = true
		if len(label) > 128 || !utf8.ValidString(label) {
			t.Errorf("%d bytes, valid UTF-8 %t: %.200q", len(label), utf8.ValidString(label), label)
		}
	}
	want := map[string]bool{}
	for _, value := range values {
		want[value] = true
		if len(value) < 60 && !distinct[value] {
			t.Errorf("the short value %q is not kept as it is", value)
		}
	}
	if len(distinct) != len(want) {
		t.Errorf("%d label values for %d values", len(distinct), len(want))
	}
}

// labelsOf are the label values that ids become.
func labelsOf(ids ...string) (labels []string) {
	for _, id := range ids {
		labels = append(labels, count(census.Config{PerUser: true}, factoryapi.User{ID: id}).PerUser[0].ID)
	}
	return labels
}

// FuzzCensus holds counts against each other, and against a user by user reading of
// the definitions.
func FuzzCensus(f *testing.F) {
	f.Add([]byte{}, uint8(0), uint64(0))
	f.Add([]byte("\x01\x00\x02\x0a\x00\x02\x03\x00"), uint8(1), uint64(1)) // one user
	f.Add([]byte("\x01\x03\x02\x0a\x00\x02\x04\x00"+"\x01\x04\x02\x0a\x00\x02\x05\x01"), uint8(1), uint64(2))
	f.Add(slices.Repeat([]byte("\x07\x05\x02\x0b\x00\x02\x05\xff"), 5), uint8(2), uint64(3)) // duplicates only
	var everything, edges []byte
	for i := range byte(120) {
		everything = append(everything, i, i, i, i/2, i*3, i/8, i*5, i*7)
		edges = append(edges, i, i%9, 2, i%16, i%3-1, 2+i%2, (i/2)%16, i%3-1)
	}
	f.Add(everything, uint8(3), uint64(4))
	f.Add(edges, uint8(2), uint64(5))

	f.Fuzz(func(t *testing.T, data []byte, limit uint8, seed uint64) {
		users := usersOf(data)
		unique := users[:0:0]
		for _, user := range users {
			if !slices.ContainsFunc(unique, func(u factoryapi.User) bool { return u.ID == user.ID }) {
				unique = append(unique, user)
			}
		}
		cfg := census.Config{GroupBy: harness.Attributes(t, "email_domain"), GroupLimit: int(limit)}
		for _, days := range bucketDays(t) {
			cfg.Windows = append(cfg.Windows, census.Window{Label: fmt.Sprint(days, "d"), Length: time.Duration(days) * day})
		}
		got := count(cfg, users...)

		if got.Users != len(unique) || got.Duplicates != len(users)-len(unique) {
			t.Errorf("%d users, %d duplicates; want %d, %d", got.Users, got.Duplicates, len(unique), len(users)-len(unique))
		}
		checkStates(t, got, unique)
		for i, w := range got.Windows {
			checkWindow(t, w, unique, cfg.Windows[i])
			if i > 0 && (w.Active < got.Windows[i-1].Active || w.New < got.Windows[i-1].New || w.Idle > got.Windows[i-1].Idle) {
				t.Errorf("a longer window: %+v after %+v", w, got.Windows[i-1])
			}
			if le := got.SignInAges.Buckets[cfg.Windows[i].Length.Seconds()]; le != uint64(w.Active) {
				t.Errorf("window %s: %d in the bucket, %d active", cfg.Windows[i].Label, le, w.Active)
			}
		}
		checkGroups(t, got, int(limit))

		shuffled := slices.Clone(unique)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		inOrder := count(cfg, unique...)
		if other := count(cfg, shuffled...); !reflect.DeepEqual(inOrder, other) {
			t.Errorf("in another order\n%+v, in this one\n%+v", other, inOrder)
		}
		inOrder.Duplicates = got.Duplicates
		if !reflect.DeepEqual(inOrder, got) {
			t.Errorf("with duplicates\n%+v, without\n%+v", got, inOrder)
		}
	})
}

// checkStates holds what is apart from windows against the users one by one.
func checkStates(t *testing.T, got census.Counts, unique []factoryapi.User) {
	var never, signedIn, badSignIn, badCreated int
	for _, user := range unique {
		switch user.LastSignInAt.State {
		case factoryapi.Missing:
			never++
		case factoryapi.Valid:
			signedIn++
		default:
			badSignIn++
		}
		if user.CreatedAt.State != factoryapi.Valid {
			badCreated++
		}
	}
	if got.NeverSignedIn != never || got.SignInAges.Count != uint64(signedIn) {
		t.Errorf("%d never, %d aged; want %d, %d", got.NeverSignedIn, got.SignInAges.Count, never, signedIn)
	}
	if got.InvalidCreatedAt != badCreated || got.InvalidLastSignInAt != badSignIn {
		t.Errorf("invalid createdAt %d, lastSignInAt %d; want %d, %d", got.InvalidCreatedAt, got.InvalidLastSignInAt, badCreated, badSignIn)
	}
}

// checkWindow checks that each user is one of: active, idle, new and quiet, or one of
// whom too little is known.
func checkWindow(t *testing.T, got census.WindowCounts, unique []factoryapi.User, window census.Window) {
	var want census.WindowCounts
	silent, unclear := 0, 0
	for _, user := range unique {
		active := recent(user.LastSignInAt, window.Length)
		isNew := recent(user.CreatedAt, window.Length)
		if isNew {
			want.New++
		}
		switch {
		case active:
			want.Active++
		case isNew:
			silent++
		case readable(user):
			want.Idle++
		default:
			unclear++
		}
	}
	if got != want {
		t.Errorf("window %s: %+v, want %+v", window.Label, got, want)
	}
	if got.Active+got.Idle+silent+unclear != len(unique) {
		t.Errorf("window %s: %+v, %d new and quiet and %d unclear are not %d users", window.Label, got, silent, unclear, len(unique))
	}
}

// checkGroups checks that the groups are the users again, and in their order.
func checkGroups(t *testing.T, got census.Counts, limit int) {
	users, kept := 0, 0
	windows := make([]census.WindowCounts, len(got.Windows))
	seen := map[string]bool{}
	for i, group := range got.Groups {
		users += group.Users
		for i, w := range group.Windows {
			windows[i].Active += w.Active
			windows[i].Idle += w.Idle
			windows[i].New += w.New
		}
		if seen[group.Value] || group.Users == 0 {
			t.Errorf("group %q: %d users, met before: %t", group.Value, group.Users, seen[group.Value])
		}
		seen[group.Value] = true
		if group.Value == census.NoValue || group.Value == census.OtherValue {
			continue
		}
		kept++
		if i > 0 {
			before := got.Groups[i-1]
			if before.Users < group.Users || before.Users == group.Users && before.Value >= group.Value {
				t.Errorf("group %q of %d after %q of %d", group.Value, group.Users, before.Value, before.Users)
			}
		}
	}
	if users != got.Users || !slices.Equal(windows, got.Windows) {
		t.Errorf("groups sum up to %d, %+v; users are %d, %+v", users, windows, got.Users, got.Windows)
	}
	if kept > limit {
		t.Errorf("%d values, the limit is %d", kept, limit)
	}
}

// usersOf reads users from bytes, eight a user. Timestamps are mostly near an edge.
func usersOf(data []byte) []factoryapi.User {
	domains := [...]string{"", "nobody", "a@", "a@x.example", "a@X.Example", "a@y.example", "a@(other)", "a@(none)", "a@" + strings.Repeat("z", 300)}
	days := [...]int{-3_000_000, -1, 0, 1, 3, 7, 14, 30, 60, 90, 180, 365, 366, 1000, 100_000, 700_000}
	timestamp := func(b []byte) factoryapi.Timestamp {
		switch b[0] % 8 {
		case 0:
			return missing
		case 1:
			return unreadable
		}
		at := now.AddDate(0, 0, -days[int(b[1])%len(days)]).Add(time.Duration(int8(b[2])))
		return factoryapi.Timestamp{Time: at, State: factoryapi.Valid}
	}
	var users []factoryapi.User
	for chunk := range slices.Chunk(data, 8) {
		if len(chunk) < 8 {
			break
		}
		users = append(users, factoryapi.User{
			ID:           string(chunk[:1]),
			Email:        domains[int(chunk[1])%len(domains)],
			CreatedAt:    timestamp(chunk[2:5]),
			LastSignInAt: timestamp(chunk[5:8]),
		})
	}
	return users
}

// describe tells what the one user of a census with one window counts as.
func describe(c census.Counts) string {
	var words []string
	for _, part := range []struct {
		word  string
		count int
	}{
		{"active", c.Windows[0].Active}, {"idle", c.Windows[0].Idle}, {"new", c.Windows[0].New},
		{"never", c.NeverSignedIn}, {"aged", int(c.SignInAges.Count)},
		{"badCreated", c.InvalidCreatedAt}, {"badSignIn", c.InvalidLastSignInAt},
	} {
		if part.count > 0 {
			words = append(words, part.word)
		}
	}
	return strings.Join(words, " ")
}

// bucketDays are the bounds of the histogram, ascending.
func bucketDays(t testing.TB) []int {
	t.Helper()
	var days []int
	for _, seconds := range slices.Sorted(maps.Keys(count(census.Config{}).SignInAges.Buckets)) {
		n := int(seconds / day.Seconds())
		if float64(n)*day.Seconds() != seconds {
			t.Errorf("bucket of %v s is not of whole days", seconds)
		}
		days = append(days, n)
	}
	return days
}

// recent is the definition of "within the window": known, and not longer ago.
func recent(at factoryapi.Timestamp, length time.Duration) bool {
	return at.State == factoryapi.Valid && !at.Time.Before(now.Add(-length))
}

// readable tells whether nothing about a user is unknown.
func readable(user factoryapi.User) bool {
	return user.CreatedAt.State == factoryapi.Valid && user.LastSignInAt.State != factoryapi.Invalid
}

func ago(d time.Duration) factoryapi.Timestamp {
	return factoryapi.Timestamp{Time: now.Add(-d), State: factoryapi.Valid}
}

func date(year int) factoryapi.Timestamp {
	return factoryapi.Timestamp{Time: time.Date(year, time.January, 1, 0, 0, 0, 0, time.UTC), State: factoryapi.Valid}
}
