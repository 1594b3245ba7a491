package fakeapi_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"factory_exporter/factoryapi/fakeapi"
)

func TestAnswersKeepToTheAPIDocument(t *testing.T) {
	members := fakeapi.Generate(250, 1, noon())
	full := fakeapi.NewServer(fakeapi.NewOrganization(members...), key)
	second := "limit=100&cursor=" + url.QueryEscape(*decode(t, get(full, "limit=100")).Pagination.NextCursor)
	third := "limit=100&cursor=" + url.QueryEscape(*decode(t, get(full, second)).Pagination.NextCursor)
	failing := func(code int) http.Handler {
		server := fakeapi.NewServer(fakeapi.NewOrganization(members...), key)
		server.Inject(fakeapi.Fault{Serve: fakeapi.Status(code)})
		return server
	}

	document := load(t, "openapi.yaml", fakeapi.UsersPath)
	for _, tt := range []struct {
		name   string
		server http.Handler
		query  string
		status int
	}{
		{"first page", full, "limit=100", 200},
		{"middle page", full, second, 200},
		{"last page", full, third, 200},
		{"default limit", full, "", 200},
		{"empty organization", fakeapi.NewServer(fakeapi.NewOrganization(), key), "", 200},
		{"wrong key", fakeapi.NewServer(fakeapi.NewOrganization(), "fk-other"), "", 401},
		{"injected 403", failing(403), "", 403},
		{"injected 500", failing(500), "", 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer := get(tt.server, tt.query)
			if answer.Code != tt.status {
				t.Errorf("status %d, want %d", answer.Code, tt.status)
			}
			if err := document.validate(answer.Code, answer.Header(), answer.Body.Bytes()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Without this, a check that accepts anything would go unnoticed.
func TestTheDocumentsRefuseWrongAnswers(t *testing.T) {
	const (
		user     = `{"id":"u","email":"u@acme.example","createdAt":"","metadata":{}`
		end      = `],"pagination":{"hasMore":false,"nextCursor":null}}`
		meta     = `"meta":{"org_id":"o","start_date":"2026-02-28","end_date":"2026-02-28"`
		activity = `{"data":[{"date":"2026-02-28","weekly_active_users":1,"monthly_active_users":1,"daily_active_users_by_client":{"web":1},"sessions":1,"messages":1,"user_messages":1`
	)
	for _, tt := range []struct {
		file, endpoint string
		status         int
		body           string
		ok             bool
	}{
		{"openapi.yaml", fakeapi.UsersPath, 200, `{"users":[` + user + `}` + end, true},
		{"openapi.yaml", fakeapi.UsersPath, 200, `{"users":[]}`, false},
		{"openapi.yaml", fakeapi.UsersPath, 200, `{"users":[` + user + `,"role":"owner"}` + end, false},
		{"openapi.yaml", fakeapi.UsersPath, 200, `{"users":[` + user + `,"lastSignInAt":null}` + end, false},
		{"openapi.yaml", fakeapi.UsersPath, 401, `{"detail":"d","status":401,"title":"t"}`, true},
		{"openapi.yaml", fakeapi.UsersPath, 401, `{"detail":"d","status":401}`, false},
		{"openapi.yaml", fakeapi.UsersPath, 418, `{"detail":"d","status":418,"title":"t"}`, false},
		{"analytics.yaml", fakeapi.AnalyticsPath + "activity", 200, activity + `,"daily_active_users":1}],` + meta + `}}`, true},
		{"analytics.yaml", fakeapi.AnalyticsPath + "activity", 200, activity + `,"daily_active_users":"1"}],` + meta + `}}`, false},
		{"analytics.yaml", fakeapi.AnalyticsPath + "activity", 200, activity + `}],` + meta + `}}`, false},
		{"analytics.yaml", fakeapi.AnalyticsPath + "activity", 200, `{"data":[],` + meta + `,"has_more":false}}`, false},
		{"analytics.yaml", fakeapi.AnalyticsPath + "users", 200, `{"data":[],` + meta + `}}`, false},
	} {
		err := load(t, tt.file, tt.endpoint).validate(tt.status, http.Header{"Content-Type": {"application/json"}}, []byte(tt.body))
		if (err == nil) != tt.ok {
			t.Errorf("%s %d %s: error %v, want none: %t", tt.endpoint, tt.status, tt.body, err, tt.ok)
		}
	}
}

// document validates the answers of one endpoint against its OpenAPI description.
type document struct {
	request *openapi3filter.RequestValidationInput
}

func load(t *testing.T, file, endpoint string) document {
	t.Helper()
	spec, err := openapi3.NewLoader().LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := spec.Paths.Find(endpoint)
	if path == nil || path.Get == nil {
		t.Fatalf("%s has no GET %s", file, endpoint)
	}
	return document{&openapi3filter.RequestValidationInput{
		Request: httptest.NewRequest("GET", endpoint, nil),
		Route:   &routers.Route{Spec: spec, Path: endpoint, PathItem: path, Method: "GET", Operation: path.Get},
	}}
}

func (d document) validate(status int, header http.Header, body []byte) error {
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: d.request,
		Status:                 status,
		Header:                 header,
		Options:                &openapi3filter.Options{IncludeResponseStatus: true}, // only documented ones pass
	}
	return openapi3filter.ValidateResponse(d.request.Request.Context(), answer.SetBodyBytes(body))
}
