package factoryapi_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// key is the API key of all tests that do not say otherwise.
const key = "fk-3q8Zt7vXw1bN5mKc"

// serve serves handler on a network in memory until the test ends.
func serve(t testing.TB, handler http.Handler) *fakeapi.Pipe {
	t.Helper()
	pipe, stop := fakeapi.Serve(handler)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return pipe
}

// newClient returns a client of what is served on a network; cfg may leave out whatever the test
// does not care about.
func newClient(t testing.TB, network *fakeapi.Pipe, cfg factoryapi.Config) *factoryapi.Client {
	t.Helper()
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{DialContext: network.DialContext}
	}
	cfg.URL = cmp.Or(cfg.URL, "http://localhost")
	if cfg.Credentials == nil {
		cfg.Credentials = staticKey(t, key)
	}
	client, err := factoryapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func staticKey(t testing.TB, text string) factoryapi.StaticKey {
	t.Helper()
	credentials, err := factoryapi.NewStaticKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return credentials
}

// answer is an [http.RoundTripper] that has the same answer for every request, without a network.
// It fits where the transfer is not what is tested.
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

// script is a handler that answers the first request with the first page, and so on. The last page
// answers all further ones.
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
}

func record(handler http.Handler) *recorder { return &recorder{handler: handler} }

func (rec *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec.mu.Lock()
	rec.requests = append(rec.requests, r)
	rec.mu.Unlock()
	rec.handler.ServeHTTP(w, r)
}

// all returns the requests so far.
func (rec *recorder) all() []*http.Request {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.requests[:len(rec.requests):len(rec.requests)]
}

func (rec *recorder) count() int { return len(rec.all()) }

// lastPage is a page with these users, JSON objects with commas between them, after which no other
// follows.
func lastPage(users string) string {
	return `{"users":[` + users + `],"pagination":{"hasMore":false,"nextCursor":null}}`
}

// pageBefore is a page that another one follows. The cursor is JSON.
func pageBefore(cursor, users string) string {
	return `{"users":[` + users + `],"pagination":{"hasMore":true,"nextCursor":` + cursor + `}}`
}

// collect returns the users of a listing up to its end or its error.
func collect(users iter.Seq2[factoryapi.User, error]) ([]factoryapi.User, error) {
	var all []factoryapi.User
	for user, err := range users {
		if err != nil {
			return all, err
		}
		all = append(all, user)
	}
	return all, nil
}

// firstPage lists no more than one page.
func firstPage(ctx context.Context, client *factoryapi.Client) (factoryapi.Page, error) {
	for page, err := range client.Pages(ctx) {
		return page, err
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
