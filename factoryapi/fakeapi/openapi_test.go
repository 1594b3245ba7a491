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
func TestTheAPIDocumentRefusesWrongAnswers(t *testing.T) {
	const (
		user = `{"id":"u","email":"u@acme.example","createdAt":"2026-01-01T00:00:00Z","metadata":{"team":"data"}}`
		end  = `{"hasMore":false,"nextCursor":null}`
	)
	document := load(t, "openapi.yaml", fakeapi.UsersPath)
	for _, tt := range []struct {
		name   string
		status int
		body   string
		ok     bool
	}{
		{"a right page", 200, `{"users":[` + user + `],"pagination":` + end + `}`, true},
		{"no users", 200, `{"pagination":` + end + `}`, false},
		{"no pagination", 200, `{"users":[]}`, false},
		{"no nextCursor", 200, `{"users":[],"pagination":{"hasMore":false}}`, false},
		{"nextCursor a number", 200, `{"users":[],"pagination":{"hasMore":true,"nextCursor":7}}`, false},
		{"a field too many in the page", 200, `{"users":[],"pagination":` + end + `,"total":0}`, false},
		{"a field too many in the pagination", 200, `{"users":[],"pagination":{"hasMore":false,"nextCursor":null,"total":0}}`, false},
		{"a field too many in a user", 200, `{"users":[{"id":"u","email":"u@acme.example","createdAt":"","metadata":{},"role":"owner"}],"pagination":` + end + `}`, false},
		{"a user without metadata", 200, `{"users":[{"id":"u","email":"u@acme.example","createdAt":""}],"pagination":` + end + `}`, false},
		{"a user whose last sign-in is null", 200, `{"users":[{"id":"u","email":"u@acme.example","createdAt":"","metadata":{},"lastSignInAt":null}],"pagination":` + end + `}`, false},
		{"metadata that is no text", 200, `{"users":[{"id":"u","email":"u@acme.example","createdAt":"","metadata":{"level":3}}],"pagination":` + end + `}`, false},
		{"a right error", 401, `{"detail":"d","status":401,"title":"t"}`, true},
		{"an error without a title", 401, `{"detail":"d","status":401}`, false},
		{"an error with a field too many", 500, `{"detail":"d","status":500,"title":"t","trace":""}`, false},
		{"an error whose status is text", 403, `{"detail":"d","status":"403","title":"t"}`, false},
		{"a status that is not documented", 418, `{"detail":"d","status":418,"title":"t"}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := document.validate(tt.status, http.Header{"Content-Type": {"application/json"}}, []byte(tt.body))
			if (err == nil) != tt.ok {
				t.Errorf("error %v, want none: %t", err, tt.ok)
			}
		})
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
