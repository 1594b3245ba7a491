package userlist_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
	"factory_exporter/internal/userlist"
)

func TestMain(m *testing.M) { harness.Main(m) }

// list prints the members of an API.
func list(t testing.TB, api http.Handler, options userlist.Options) (stdout, stderr string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	err = newList(t, options).Print(t.Context(), harness.Client(t, api, factoryapi.Config{}), nil, &out, &log)
	return out.String(), log.String(), err
}

func newList(t testing.TB, options userlist.Options) *userlist.List {
	t.Helper()
	if options.ListingTimeout == 0 {
		options.ListingTimeout = time.Minute
	}
	l, err := userlist.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ids returns the ids of the members that are printed, in their order.
func ids(t testing.TB, api http.Handler, options userlist.Options) (ids []string) {
	t.Helper()
	options.Format = "json"
	stdout, stderr, err := list(t, api, options)
	if err != nil || stderr != "" {
		t.Fatalf("error %v, stderr %q", err, stderr)
	}
	for line := range strings.Lines(stdout) {
		var user struct{ ID string }
		if err := json.Unmarshal([]byte(line), &user); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, user.ID)
	}
	return ids
}

func serve(members ...fakeapi.User) *fakeapi.Server {
	return fakeapi.NewServer(fakeapi.NewOrganization(members...), harness.Key)
}

func filter(name, window string) userlist.Filter {
	return userlist.Filter{Name: name, Window: harness.Windows(window)[0]}
}

func match(t testing.TB, text string) userlist.Match {
	t.Helper()
	m, err := userlist.ParseMatch(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
