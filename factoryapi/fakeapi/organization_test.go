package fakeapi_test

import (
	"encoding/json"
	"net/mail"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"factory_exporter/factoryapi/fakeapi"
)

func TestMemberAsSent(t *testing.T) {
	full := fakeapi.User{
		ID: "user_1", Email: "ada@acme.example", FirstName: "Ada", LastName: `O"Neil \ Łukasz`,
		CreatedAt: "2026-01-02T03:04:05.678Z", LastSignInAt: "2026-02-03T04:05:06Z",
		Metadata: map[string]string{"team": "data", `a "b"`: "ü\n"},
	}
	bare := fakeapi.User{ID: "user_2", Email: "b@acme.example", CreatedAt: "yesterday"}
	with := func(raw map[string]json.RawMessage) fakeapi.User {
		m := bare
		m.Raw = raw
		return m
	}
	for _, tt := range []struct {
		name   string
		member fakeapi.User
		want   string
	}{
		{"everything", full, `{"id":"user_1","email":"ada@acme.example","firstName":"Ada","lastName":"O\"Neil \\ Łukasz",` +
			`"createdAt":"2026-01-02T03:04:05.678Z","lastSignInAt":"2026-02-03T04:05:06Z","metadata":{"a \"b\"":"ü\n","team":"data"}}`},
		{"the least", bare, `{"id":"user_2","email":"b@acme.example","createdAt":"yesterday","metadata":{}}`},
		{"a field replaced", with(map[string]json.RawMessage{"metadata": []byte(`{"level":3}`)}),
			`{"createdAt":"yesterday","email":"b@acme.example","id":"user_2","metadata":{"level":3}}`},
		{"fields added", with(map[string]json.RawMessage{"lastSignInAt": []byte("null"), "role": []byte(`"owner"`)}),
			`{"createdAt":"yesterday","email":"b@acme.example","id":"user_2","lastSignInAt":null,"metadata":{},"role":"owner"}`},
		{"fields removed", with(map[string]json.RawMessage{"id": nil, "unknown": nil}),
			`{"createdAt":"yesterday","email":"b@acme.example","metadata":{}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := get(fakeapi.NewServer(fakeapi.NewOrganization(tt.member), key), "").Body.String()
			want := `{"users":[` + tt.want + `],"pagination":{"hasMore":false,"nextCursor":null}}`
			if body != want {
				t.Errorf("sent\n%s\nwant\n%s", body, want)
			}
		})
	}
}

func TestOrganizationUpdate(t *testing.T) {
	members := fakeapi.Generate(3, 1, noon())
	org := fakeapi.NewOrganization(members...)
	before := org.Users()

	org.Update("user_unknown", func(*fakeapi.User) { t.Error("a member was made up") })
	org.Update(members[1].ID, func(m *fakeapi.User) {
		m.LastSignInAt = "2026-03-01T13:00:00.000Z"
		m.Metadata["team"] = "new"
	})

	if got := org.Users()[1]; got.LastSignInAt != "2026-03-01T13:00:00.000Z" || got.Metadata["team"] != "new" {
		t.Errorf("after the update: %+v", got)
	}
	if before[1].Metadata["team"] == "new" {
		t.Error("members handed out before the update changed")
	}
	pages := list(t, fakeapi.NewServer(org, key), 1, nil)
	if got := pages[1].Users[0].LastSignInAt; got != "2026-03-01T13:00:00.000Z" {
		t.Errorf("the API sends %q", got)
	}
}

func TestOrganizationListsAMemberAddedTwiceTwice(t *testing.T) {
	m := fakeapi.Generate(1, 1, noon())[0]
	var org fakeapi.Organization
	org.Add(m, m)
	if got := idsOf(list(t, fakeapi.NewServer(&org, key), 1, nil)...); !slices.Equal(got, []string{m.ID, m.ID}) {
		t.Errorf("listed %v", got)
	}
	org.Remove(m.ID)
	if rest := org.Users(); len(rest) != 0 {
		t.Errorf("%d members remain", len(rest))
	}
}

func TestGenerateIsDeterministic(t *testing.T) {
	members := fakeapi.Generate(500, 7, noon())
	if !reflect.DeepEqual(members, fakeapi.Generate(500, 7, noon())) {
		t.Error("the same seed gave other members")
	}
	if !reflect.DeepEqual(members[:40], fakeapi.Generate(40, 7, noon())) {
		t.Error("fewer members are not the first of more")
	}
	if reflect.DeepEqual(members, fakeapi.Generate(500, 8, noon())) {
		t.Error("another seed gave the same members")
	}
}

func TestGenerateLooksLikeAnOrganization(t *testing.T) {
	const n = 20_000
	ids, emails, domains, teams := map[string]bool{}, map[string]bool{}, map[string]int{}, map[string]int{}
	never, noNames, noMetadata := 0, 0, 0
	for _, m := range fakeapi.Generate(n, 3, noon()) {
		created := parse(t, m.CreatedAt)
		if age := noon().Sub(created); age < 0 || age > 2*366*24*time.Hour {
			t.Errorf("%s is %v old", m.ID, age)
		}
		if m.LastSignInAt == "" {
			never++
		} else if last := parse(t, m.LastSignInAt); last.Before(created) || last.After(noon()) {
			t.Errorf("%s signed in at %v, created %v", m.ID, last, created)
		}
		_, err := mail.ParseAddress(m.Email)
		if err != nil || !strings.HasSuffix(m.Email, ".example") || len(m.ID) != len("user_")+26 || !strings.HasPrefix(m.ID, "user_01") {
			t.Errorf("id %q, address %q: %v", m.ID, m.Email, err)
		}
		ids[m.ID], emails[m.Email] = true, true
		domains[m.Email[strings.IndexByte(m.Email, '@')+1:]]++
		if m.FirstName == "" {
			noNames++
		}
		if m.Metadata == nil {
			noMetadata++
		}
		teams[m.Metadata["team"]]++
	}
	if len(ids) != n || len(emails) != n {
		t.Errorf("%d ids and %d addresses among %d members", len(ids), len(emails), n)
	}
	if share := float64(never) / n; share < 0.07 || share > 0.09 || noNames == 0 || noMetadata == 0 {
		t.Errorf("%.3f never signed in, want about 0.08; %d without names, %d without metadata", share, noNames, noMetadata)
	}
	if len(domains) < 5 || domains["acme.example"] < n/4 || len(teams) < 5 || teams["platform"] < n/4 {
		t.Errorf("mail domains %v, teams %v, want several and one that leads", domains, teams)
	}
}

func parse(t *testing.T, timestamp string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02T15:04:05.000Z", timestamp)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
