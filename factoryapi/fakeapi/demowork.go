package fakeapi

import (
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// style is how a member of a Demo works with the product. It has little to do with the
// habit of signing in: a session of the product lives long.
type style int

const (
	steady style = iota // most weekdays
	casual              // now and then
	gone                // used to work, until some weeks ago
	none                // never
)

// styleOf picks a style. Some who sign in rarely, or not any more, work every day; some
// who sign in every day never work.
func styleOf(rng *rand.Rand, h habit) style {
	p := rng.Float64()
	switch {
	case h == invited:
		return none
	case h == stopped && p < 0.75:
		return gone
	case h == rare && p < 0.55, h == weekly && p < 0.2:
		return casual
	case h != stopped && p > 0.88:
		return none
	}
	return steady
}

// worker makes the worker that a member is, who joined on a day. What it did on a day
// depends on the id and the day alone.
func worker(m Member, h habit, now time.Time) Worker {
	id := fnv.New64a()
	id.Write([]byte(m.ID))
	seed := id.Sum64()
	rng := rand.New(rand.NewPCG(seed, 0))
	style := styleOf(rng, h)
	joined, _ := time.Parse(time.RFC3339, m.CreatedAt)
	ended := now.Add(-time.Duration(20+rng.IntN(100)) * day) // of those who are gone
	return Worker{ID: m.ID, Email: m.Email, On: func(d time.Time) (Work, bool) {
		if d.Add(day).Before(joined) || style == none || style == gone && d.After(ended) {
			return Work{}, false
		}
		rng := rand.New(rand.NewPCG(seed, uint64(d.Unix())))
		chance := 0.85
		if style == casual {
			chance = 0.12
		}
		if weekday := d.Weekday(); weekday == time.Saturday || weekday == time.Sunday {
			chance /= 6
		}
		if rng.Float64() >= chance {
			return Work{}, false
		}
		return workOf(rng), true
	}}
}

// workOf makes up what somebody did on a day.
func workOf(rng *rand.Rand) Work {
	w := Work{Clients: []string{"terminal-ui"}, Sessions: 1 + rng.IntN(12)}
	switch p := rng.Float64(); {
	case p < 0.15:
		w.Clients = []string{"terminal-ui", "web"}
	case p < 0.35:
		w.Clients = []string{"web"}
	case p < 0.45:
		w.Clients = []string{"non-interactive-cli"}
	}
	w.UserMessages = w.Sessions * (2 + rng.IntN(6))
	w.AssistantMessages = w.UserMessages * (1 + rng.IntN(4))
	w.ToolCalls = w.AssistantMessages * rng.IntN(6)
	w.OutputTokens = w.AssistantMessages * (300 + rng.IntN(500))
	w.InputTokens = w.OutputTokens * (2 + rng.IntN(6))
	w.CacheRead = w.InputTokens * (5 + rng.IntN(15))
	w.CacheWrite = w.InputTokens / 2
	w.BillableTokens = w.InputTokens + 4*w.OutputTokens + w.CacheRead/10
	return w
}
