package collector_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

func TestRosterSince(t *testing.T) {
	for _, tt := range []struct {
		name           string
		earlier, later []string
		joined, left   int
	}{
		{"nobody, ever", nil, nil, 0, 0},
		{"all stayed, in another order", []string{"a", "b", "c"}, []string{"c", "a", "b"}, 0, 0},
		{"all came", nil, []string{"a", "b"}, 2, 0},
		{"all went", []string{"a", "b"}, nil, 0, 2},
		{"somebody came", []string{"a"}, []string{"a", "b"}, 1, 0},
		{"somebody went", []string{"a", "b"}, []string{"b"}, 0, 1},
		{"one for another", []string{"a", "b"}, []string{"b", "c"}, 1, 1},
		{"all were replaced", []string{"a", "b"}, []string{"c", "d", "e"}, 3, 2},
		{"ids differ by case", []string{"a"}, []string{"A"}, 1, 1},
		{"listed twice is one member", []string{"a", "a", "b"}, []string{"b", "c", "c"}, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			earlier := collector.NewRoster()
			enroll(earlier, tt.earlier...)
			later := earlier.Next()
			enroll(later, tt.later...)
			if joined, left := later.Since(earlier); joined != tt.joined || left != tt.left {
				t.Errorf("%d joined, %d left; want %d, %d", joined, left, tt.joined, tt.left)
			}
		})
	}
}

func TestRosterNextIsEmptyAndLeavesTheOldOneAlone(t *testing.T) {
	first := collector.NewRoster()
	enroll(first, "a", "b")
	second := first.Next()
	if joined, left := second.Since(first); joined != 0 || left != 2 {
		t.Errorf("%d joined, %d left", joined, left)
	}
	enroll(second, "c")
	if joined, left := first.Next().Since(first); joined != 0 || left != 2 {
		t.Errorf("the old one changed: %d joined, %d left", joined, left)
	}
}

// Sizes about those at which a roster grows, and of two that differ in room.
func TestRosterOfAnySize(t *testing.T) {
	sizes := []int{100_000}
	for n := range 200 {
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		gone, came := n/10, n/3
		earlier := collector.NewRoster()
		later := earlier.Next()
		enroll(earlier, ids(0, n)...)
		enroll(later, ids(gone, n+came)...)
		if joined, left := later.Since(earlier); joined != came || left != gone {
			t.Errorf("of %d: %d joined, %d left; want %d, %d", n, joined, left, came, gone)
		}
		third := later.Next()
		enroll(third, ids(0, n+came)...)
		enroll(third, ids(0, n)...)
		if joined, left := third.Since(later); joined != gone || left != 0 {
			t.Errorf("of %d, again: %d joined, %d left; want %d, 0", n, joined, left, gone)
		}
	}
}

// ids are those of the members from first to end, without end.
func ids(first, end int) []string {
	var all []string
	for i := first; i < end; i++ {
		all = append(all, fmt.Sprint("user_", i))
	}
	return all
}

func TestJoinedAndLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, settings{members: members("a", "b", "c", "d", "e"), client: factoryapi.Config{PageSize: 2}})
		failOnLastPage := fakeapi.Fault{Page: fakeapi.LastPage, Times: 1, Serve: fakeapi.Status(http.StatusInternalServerError)}
		for _, step := range []struct {
			name         string
			change       func()
			joined, left float64 // in all
			up           float64
		}{
			{"a failure before the first listing", func() { f.api.Inject(failOnLastPage) }, 0, 0, 0},
			{"the first listing moves neither", func() {}, 0, 0, 1},
			{"nothing happens", func() {}, 0, 0, 1},
			{"two join", func() { f.org.Add(members("f", "g")...) }, 2, 0, 1},
			{"one leaves", func() { f.org.Remove("a") }, 2, 1, 1},
			{"one for another", func() { f.org.Remove("b"); f.org.Add(members("h")...) }, 3, 2, 1},
			{"a failed listing changes nothing", func() {
				f.org.Remove("c")
				f.org.Add(members("i", "j")...)
				f.api.Inject(failOnLastPage)
			}, 3, 2, 0},
			{"what it missed counts with the next one", func() {}, 5, 3, 1},
			{"who was away during a failed listing only never left", func() {
				f.org.Remove("d")
				f.api.Inject(failOnLastPage)
				f.scrape(t, t.Context())
				f.org.Add(members("d")...)
			}, 5, 3, 1},
			{"somebody leaves", func() { f.org.Remove("d") }, 5, 4, 1},
			{"and comes back", func() { f.org.Add(members("d")...) }, 6, 4, 1},
			{"an entry that is listed twice is nobody new", func() { f.org.Add(members("d")...) }, 6, 4, 1},
			{"while a listing has duplicates it tells nothing", func() { f.org.Remove("f"); f.org.Add(members("k")...) }, 6, 4, 1},
			{"the next one without counts from the last one without", func() { f.org.Remove("d"); f.org.Add(members("d", "l")...) }, 8, 5, 1},
			{"all leave", func() {
				for _, m := range f.org.Members() {
					f.org.Remove(m.ID)
				}
			}, 8, 13, 1},
		} {
			step.change()
			f.scrape(t, t.Context()).check(t, step.name, samples{
				"factory_users_joined_total": step.joined, "factory_users_left_total": step.left, "factory_up": step.up,
			})
		}
	})
}

// enroll puts ids into a roster.
func enroll(roster *collector.Roster, ids ...string) {
	users := make([]factoryapi.User, len(ids))
	for i, id := range ids {
		users[i].ID = id
	}
	collector.NewCensus(collector.CensusConfig{}, now, nil, roster).Add(users...)
}
