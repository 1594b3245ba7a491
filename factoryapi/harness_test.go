package factoryapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const key = harness.Key

var serve = harness.Serve

type (
	static    = harness.Static
	roundTrip = harness.RoundTrip
)

// newClient returns a client of what is served on a network; cfg may leave out whatever
// the test does not care about.
func newClient(t testing.TB, network *harness.Pipe, cfg factoryapi.Config) *factoryapi.Client {
	t.Helper()
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{DialContext: network.DialContext}
	}
	return harness.Client(t, nil, cfg)
}

// answer is an [http.RoundTripper] that has the same answer for every request, without a
// network. It fits where the transfer is not what is tested.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode:    a.status,
		Header:        a.header,
		Body:          io.NopCloser(strings.NewReader(a.body)),
		ContentLength: int64(len(a.body)),
		Request:       r,
	}, nil
}

// script is a handler that answers the first request with the first page, and so on. The
// last page answers all further ones.
type script struct {
	recorder
	pages []string
}

func newScript(pages ...string) *script {
	s := &script{pages: pages}
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := s.pages[min(s.count(), len(s.pages))-1]
		fakeapi.Respond(http.StatusOK, "application/json", page)(w, r, nil)
	})
	return s
}

// recorder is a handler that remembers the requests that went through it.
type recorder struct {
	handler http.Handler

	mu       sync.Mutex
	requests []*http.Request
	times    []time.Time // when they arrived
}

func record(handler http.Handler) *recorder { return &recorder{handler: handler} }

func (rec *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec.mu.Lock()
	rec.requests, rec.times = append(rec.requests, r), append(rec.times, time.Now())
	rec.mu.Unlock()
	rec.handler.ServeHTTP(w, r)
}

// all returns the requests so far.
func (rec *recorder) all() []*http.Request {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return slices.Clip(rec.requests)
}

func (rec *recorder) count() int { return len(rec.all()) }

// gaps returns the time between each request and the next.
func (rec *recorder) gaps() (gaps []time.Duration) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for i := 1; i < len(rec.times); i++ {
		gaps = append(gaps, rec.times[i].Sub(rec.times[i-1]))
	}
	return gaps
}

// lastPage is a page with these users, JSON objects with commas between them, after which
// no other follows.
func lastPage(users string) string {
	return `{"users":[` + users + `],"pagination":{"hasMore":false,"nextCursor":null}}`
}

// pageBefore is a page that another one follows. The cursor is JSON.
func pageBefore(cursor, users string) string {
	return `{"users":[` + users + `],"pagination":{"hasMore":true,"nextCursor":` + cursor + `}}`
}

// list returns the users of a listing up to its end or its error.
func list(ctx context.Context, client *factoryapi.Client) (all []factoryapi.User, err error) {
	for page, err := range client.Pages(ctx) {
		if err != nil {
			return all, err
		}
		all = append(all, page...)
	}
	return all, nil
}

// askOnce asks for no more than one page.
func askOnce(ctx context.Context, client *factoryapi.Client) error {
	for _, err := range client.Pages(ctx) {
		return err
	}
	panic("a listing without a page or an error")
}

// apiError returns the typed error that err must be.
func apiError(t testing.TB, err error) *factoryapi.Error {
	t.Helper()
	typed, ok := errors.AsType[*factoryapi.Error](err)
	if !ok {
		t.Fatalf("error %v (%T), want a *factoryapi.Error", err, err)
	}
	return typed
}

// ids returns the ids of users.
func ids(users []factoryapi.User) []string {
	list := make([]string, 0, len(users))
	for _, user := range users {
		list = append(list, user.ID)
	}
	return list
}

// organizationOf is the API of an organization with this many members.
func organizationOf(size int, faults ...fakeapi.Fault) *fakeapi.Server {
	members := fakeapi.Generate(size, 1, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	api := fakeapi.NewServer(fakeapi.NewOrganization(members...), key)
	api.Inject(faults...)
	return api
}

// hangInError sends a status and the beginning of a body, and then nothing more.
func hangInError(status int) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"detail":"`))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// observer keeps what a client tells its Observe.
type observer struct {
	mu             sync.Mutex
	ended          []error
	open, mostOpen int
}

func (o *observer) observe(string) func(error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open++
	o.mostOpen = max(o.mostOpen, o.open)
	return func(err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.open--
		o.ended = append(o.ended, err)
	}
}

// results returns a word for each request that ended: the failure's reason, ok or
// canceled.
func (o *observer) results() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var words []string
	for _, err := range o.ended {
		if err == nil {
			words = append(words, "ok")
		} else if failure, ok := errors.AsType[*factoryapi.Error](err); ok {
			words = append(words, failure.Reason())
		} else if errors.Is(err, context.Canceled) {
			words = append(words, "canceled")
		} else {
			words = append(words, err.Error())
		}
	}
	return words
}

// failures are the results of requests that count as failed.
func (o *observer) failures() []string {
	return slices.DeleteFunc(o.results(), func(word string) bool { return word == "ok" || word == "canceled" })
}

// toJSON returns a string's text in JSON.
func toJSON(t *testing.T, text string) string {
	t.Helper()
	encoded, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// failure is the error of one request to an API that answers like transport.
func failure(t *testing.T, apiKey string, transport http.RoundTripper) *factoryapi.Error {
	t.Helper()
	client := newClient(t, nil, factoryapi.Config{Credentials: static(apiKey), Transport: transport})
	err := askOnce(t.Context(), client)
	return apiError(t, err)
}
