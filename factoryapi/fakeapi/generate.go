package fakeapi

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Generate returns n made-up members of an organization that has grown over the two years
// before now. They are the same for the same n, seed and now, and Generate(m) is the
// beginning of Generate(n) for m < n.
//
// Just under half sign in every day, others every few days or now and then; some have
// stopped, about 8 % never started. Mail domains and the metadata team, cost_center and
// location are skewed: few values are frequent. Some members have no names, some no
// metadata. Members with the same metadata share one map, which must not be changed.
func Generate(n int, seed uint64, now time.Time) []User {
	g := newGenerator(seed)
	users := make([]User, n)
	for i := range users {
		users[i], _ = g.user(now)
	}
	return users
}

// habit is how a member uses the product.
type habit int

const (
	daily habit = iota
	weekly
	rare
	stopped // used to sign in
	invited // never did
)

// pause is the mean time between two sign-ins, 0 when there are none.
func (h habit) pause() time.Duration {
	return [...]time.Duration{daily: 2 * time.Hour, weekly: 2 * day, rare: 14 * day, stopped: 0, invited: 0}[h]
}

// generator makes users up, one after another.
type generator struct {
	rng  *rand.Rand
	made int // users so far

	firstNames, lastNames []string
	domains               []string
	metadata              []map[string]string // skewed by its order and by repetition
}

func newGenerator(seed uint64) *generator {
	g := &generator{
		rng:        rand.New(rand.NewPCG(seed, 0)),
		firstNames: strings.Fields("Amara Bruno Chidi Dalia Emre Freya Goran Hana Ilse Jonas Keiko Luca Mira Nadia Omar Priya Quentin Rosa Sven Tomas Uma Vera Wanda Ximena Yusuf Zoe"),
		lastNames:  strings.Fields("Abara Bergman Costa Dimitrov Eriksen Fischer Garcia Haddad Ivanova Jansen Kimura Larsen Moreau Novak Okafor Petrov Quispe Rossi Sato Tanaka Ueda Varga Weber Xu Yilmaz Zeman"),
		domains:    strings.Fields("acme.example labs.acme.example acme-robotics.example contractor.example emea.acme.example partner.example students.example"),
	}
	costCenters := strings.Fields("CC-1100 CC-1200 CC-2100 CC-2300 CC-4000")
	locations := strings.Fields("Berlin Austin Toronto Singapore Warsaw Remote")
	for team := range strings.FieldsSeq("platform payments mobile data search security growth support research") {
		for range 32 { // enough combinations to look like people, few enough to be shared
			g.metadata = append(g.metadata, map[string]string{
				"team":        team,
				"cost_center": skewed(g.rng, costCenters),
				"location":    skewed(g.rng, locations),
			})
		}
	}
	return g
}

// user makes up somebody who joined in the two years before now.
func (g *generator) user(now time.Time) (User, habit) {
	age := scale(2*365*day, math.Pow(g.rng.Float64(), 1.5)) // most accounts are young, because the organization grew
	h := g.habit(age)
	m := g.who(now.Add(-age))

	switch pause := h.pause(); {
	case pause > 0:
		m.LastSignInAt = timestamp(now.Add(-min(age, scale(pause, g.rng.ExpFloat64()))))
	case h == stopped:
		m.LastSignInAt = timestamp(now.Add(-scale(age, 1-0.9*g.rng.Float64())))
	}
	return m, h
}

// newcomer makes up somebody who joins now, most by signing in.
func (g *generator) newcomer(now time.Time) (User, habit) {
	h := g.habit(0)
	m := g.who(now)
	if h == stopped {
		h = rare // it is too early to tell
	}
	if h != invited {
		m.LastSignInAt = m.CreatedAt
	}
	return m, h
}

// habit picks one for an account of this age. More of the new ones never sign in.
func (g *generator) habit(age time.Duration) habit {
	never := 0.06
	if age < 90*day {
		never = 0.14
	}
	switch p := g.rng.Float64(); {
	case p < never:
		return invited
	case p < never+0.11:
		return stopped
	case p < never+0.28:
		return rare
	case p < never+0.52:
		return weekly
	default:
		return daily
	}
}

func (g *generator) who(created time.Time) User {
	g.made++
	number := strconv.Itoa(g.made) // makes addresses unique
	domain := skewed(g.rng, g.domains)
	m := User{ID: g.id(created), CreatedAt: timestamp(created)}
	if g.rng.IntN(40) == 0 {
		m.Email = "service-account-" + number + "@" + domain
		return m
	}
	m.FirstName, m.LastName = oneOf(g.rng, g.firstNames), oneOf(g.rng, g.lastNames)
	m.Email = strings.ToLower(m.FirstName) + "." + strings.ToLower(m.LastName) + number + "@" + domain
	if g.rng.IntN(20) != 0 {
		m.Metadata = skewed(g.rng, g.metadata)
	}
	return m
}

// id returns an id of the form that WorkOS uses: "user_" and a ULID.
func (g *generator) id(created time.Time) string {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	var id [len("user_") + 26]byte
	digits := id[copy(id[:], "user_"):]
	ms := uint64(created.UnixMilli()) & (1<<48 - 1)
	for i := 9; i >= 0; i-- {
		digits[i] = alphabet[ms&31]
		ms >>= 5
	}
	low, high := g.rng.Uint64(), g.rng.Uint64()
	for i := range 8 {
		digits[10+i] = alphabet[low>>(5*i)&31]
		digits[18+i] = alphabet[high>>(5*i)&31]
	}
	return string(id[:])
}

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// oneOf picks one of the values, all alike.
func oneOf[T any](rng *rand.Rand, values []T) T { return values[rng.IntN(len(values))] }

// skewed picks one of the values, the first ones most often.
func skewed[T any](rng *rand.Rand, values []T) T {
	u := rng.Float64()
	return values[int(u*u*float64(len(values)))]
}

func scale(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }
