package fakeapi

import (
	"hash/fnv"
	"math"
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

// styleOf picks a style. Some who sign in every day never work, and some work every day
// who do not sign in any more.
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

// Models of a Demo. The last one costs several times as much for the same work, and one
// team has discovered it in the last weeks.
const (
	mainModel  = "claude-sonnet-4-20250514"
	otherModel = "gpt-5-codex"
	cheapModel = "droid-core"
	dearModel  = "claude-opus-4-20250514"

	dearTeam  = "research"
	dearSince = 24 * day // before the simulation begins
)

// worker makes the worker that a user is. What it did on a day depends on the id and the
// day alone.
func worker(m User, h habit, now time.Time) UserWork {
	seed := seedOf(m.ID)
	rng := rand.New(rand.NewPCG(seed, 0))
	style := styleOf(rng, h)
	joined, _ := time.Parse(time.RFC3339, m.CreatedAt)
	ended := now.Add(-time.Duration(20+rng.IntN(100)) * day) // of those who are gone
	// A few people consume most of the credits.
	appetite := math.Exp(min(1.1*rng.NormFloat64(), 3.2))
	discovered := now.Add(-dearSince + time.Duration(rng.IntN(14))*day)
	return UserWork{ID: m.ID, Email: m.Email, On: func(d time.Time) (Work, bool) {
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
		work := workOf(rng, appetite)
		if m.Metadata["team"] == dearTeam && d.After(discovered) && rng.Float64() < 0.8 {
			work.Model = dearModel
			work.BillableTokens *= 5
		}
		return work, true
	}}
}

// serviceAccount makes a worker who is no member and works every day.
func serviceAccount(id string) UserWork {
	seed := seedOf(id)
	return UserWork{ID: id, On: func(d time.Time) (Work, bool) {
		work := workOf(rand.New(rand.NewPCG(seed, uint64(d.Unix()))), 4)
		work.Clients = []string{"non-interactive-cli"}
		return work, true
	}}
}

func seedOf(id string) uint64 {
	hash := fnv.New64a()
	hash.Write([]byte(id))
	return hash.Sum64()
}

// workOf makes up what somebody did on a day, who consumes so many times as much as
// others for it.
func workOf(rng *rand.Rand, appetite float64) Work {
	w := Work{Clients: []string{"terminal-ui"}, Model: mainModel, Sessions: 1 + rng.IntN(12)}
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
	w.OutputTokens = int(appetite * float64(w.AssistantMessages*(300+rng.IntN(500))))
	w.InputTokens = w.OutputTokens * (2 + rng.IntN(6))
	w.CacheRead = w.InputTokens * (5 + rng.IntN(15))
	w.CacheWrite = w.InputTokens / 2
	w.BillableTokens = w.InputTokens + 4*w.OutputTokens + w.CacheRead/10
	switch p := rng.Float64(); {
	case p < 0.2:
		w.Model = otherModel
	case p < 0.35:
		w.Model = cheapModel
		w.BillableTokens /= 3
	}
	return w
}
