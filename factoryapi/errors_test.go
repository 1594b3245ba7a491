package factoryapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

// maxMessage is what the documentation of an Error's message promises.
const maxMessage = 200

func TestWhatAnErrorSays(t *testing.T) {
	for _, tt := range []struct {
		err       factoryapi.Error
		text      string
		reason    string
		temporary bool
	}{
		{factoryapi.Error{Kind: factoryapi.KindStatus, StatusCode: 401, Message: "API key missing"}, "HTTP 401 Unauthorized: API key missing", "401", false},
		{factoryapi.Error{Kind: factoryapi.KindStatus, StatusCode: 403}, "HTTP 403 Forbidden", "403", false},
		{factoryapi.Error{Kind: factoryapi.KindStatus, StatusCode: 429}, "HTTP 429 Too Many Requests", "429", true},
		{factoryapi.Error{Kind: factoryapi.KindStatus, StatusCode: 599, Message: "odd"}, "HTTP 599: odd", "599", true},
		{factoryapi.Error{Kind: factoryapi.KindStatus, StatusCode: 600}, "HTTP 600", "600", false},
		{factoryapi.Error{Kind: factoryapi.KindTimeout, Message: "no answer"}, "timeout: no answer", "timeout", true},
		{factoryapi.Error{Kind: factoryapi.KindConnection, Message: "reset"}, "connection: reset", "connection", true},
		{factoryapi.Error{Kind: factoryapi.KindInvalidResponse, Message: "not JSON"}, "invalid_response: not JSON", "invalid_response", false},
	} {
		t.Run(tt.text, func(t *testing.T) {
			if got := tt.err.Error(); got != tt.text {
				t.Errorf("text %q, want %q", got, tt.text)
			}
			if got := tt.err.Reason(); got != tt.reason {
				t.Errorf("reason %q, want %q", got, tt.reason)
			}
			if got := tt.err.Temporary(); got != tt.temporary {
				t.Errorf("temporary %t, want %t", got, tt.temporary)
			}
			if got, ok := errors.AsType[*factoryapi.Error](fmt.Errorf("list: %w", &tt.err)); !ok || got != &tt.err {
				t.Errorf("a wrapped error is found as %v", got)
			}
		})
	}
}

// told is a key that says where it came from.
type told string

func (told) Key(context.Context) string { return harness.Key }
func (t told) String() string           { return string(t) }

func TestARefusalSaysWhatToLookAt(t *testing.T) {
	for status, want := range map[int]string{
		401: "HTTP 401 Unauthorized: no (the key came from the file /run/key)",
		403: "HTTP 403 Forbidden: no",
		404: "HTTP 404 Not Found: no (is --factory.url the base URL of the API?)",
	} {
		api := fakeapi.NewServer(fakeapi.NewOrganization(), harness.Key)
		api.Inject(fakeapi.Fault{Serve: fakeapi.Refuse(status, "no")})
		client := harness.Client(t, api, factoryapi.Config{Credentials: told("the file /run/key")})
		if _, err := list(t.Context(), client); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestErrorMessagesTellWhatTheBodySays(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"documented", `{"detail":"API key missing","status":401,"title":"Unauthorized","metadata":{"a":[1]}}`, "API key missing"},
		{"without detail", `{"status":401,"title":"Not today"}`, "Not today"},
		{"with an empty detail", `{"detail":"","title":"Not today"}`, "Not today"},
		{"with escapes", `{"detail":"line\u0020one\nline \"two\"\u001b[1m"}`, `line one line "two" [1m`},
		{"with errors", `{"status":400,"title":"Validation Error","errors":[{"message":"limit must be at most 50"}]}`, "limit must be at most 50"},
		{"with several errors", `{"title":"Validation Error","errors":[{"message":"one"},{"path":"x"},{"message":"two"}]}`, "one; two"},
		{"with errors of another form", `{"title":"Validation Error","errors":{"email":"ada@acme.example"}}`, "Validation Error"},
		{"a detail of another type", `{"detail":{"code":7}}`, ""},
		{"other JSON, which may hold an address", `{"error":"ada@acme.example"}`, ""},
		{"a JSON string", ` "ada@acme.example"`, ""},
		{"a JSON array", `[{"detail":"ada@acme.example"}]`, ""},
		{"documented, after a byte-order mark", "\ufeff" + `{"detail":"API key missing"}`, "API key missing"},
		{"other JSON, after a byte-order mark", "\r\n\ufeff" + `{"error":"ada@acme.example"}`, ""},
		{"other JSON, in UTF-16", "\xff\xfe{\x00\"\x00a\x00@\x00b\x00\"\x00", ""},
		{"other JSON, in UTF-16 of the other order", "\xfe\xff\x00{\x00\"\x00a\x00@\x00b\x00\"", ""},
		{"JSON null", `null`, `null`},
		{"HTML", "<html>\r\n\t<title>502</title>\r\n</html>\r\n", "<html> <title>502</title> </html>"},
		{"text", "upstream connect error", "upstream connect error"},
		{"half of the JSON", `{"detail":"ada@acme.ex`, ""},
		{"nothing", "", ""},
		{"line separators", "one\u2028two\u2029three\u0085four\vfive", "one two three four five"},
		{"control characters", "one\x00two\x1b[31mthree\x7ffour", "one two [31mthree four"},
		{"characters that change the direction", "one\u202etwo\u2066three", "one two three"},
		{"invalid UTF-8", "one\xfftwo", "one\ufffdtwo"},
		{"as long as it may be", strings.Repeat("x", maxMessage), strings.Repeat("x", maxMessage)},
		{"longer", strings.Repeat("x", maxMessage+1), strings.Repeat("x", maxMessage-len("…")) + "…"},
		{"longer, of wide characters", strings.Repeat("🙂", maxMessage), strings.Repeat("🙂", (maxMessage-len("…"))/len("🙂")) + "…"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := failure(t, key, answer{status: 401, body: tt.body}); err.Message != tt.want {
				t.Errorf("message %q, want %q", err.Message, tt.want)
			}
		})
	}
}

func FuzzErrorMessage(f *testing.F) {
	const shortKey, longKey = "fk-7Hq2Zt9X", "fk-eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJmYWN0b3J5In0.7Hq2Zt9Xw4Vb6Nm8"
	const bodyLimit = 64 << 10
	for _, status := range []int{200, 204, 302, 401, 404, 429, 500} {
		f.Add(status, "", []byte(`{"detail":"the key `+`" is wrong","status":401,"title":"Unauthorized"}`), 19, 0, false)
		f.Add(status, "https://elsewhere.example/", []byte("<html>\r\n<body>\x00\xff\u2028</body>"), 7, 0, true)
		f.Add(status, "", []byte("x"), 0, bodyLimit-5, false)
		f.Add(status, "//", []byte(strings.Repeat("🙂", 100)), 30, 199, true)
		f.Add(status, "", []byte(lastPage(`{"id":"a"}`)), 14, 0, false)
	}
	f.Fuzz(func(t *testing.T, status int, location string, body []byte, at, padding int, long bool) {
		apiKey := shortKey
		if long {
			apiKey = longKey
		}
		const leak = len(shortKey) - 2 // so much of a key is too much
		if bytes.Contains(body, []byte(apiKey[:leak])) || strings.Contains(location, apiKey[:leak]) {
			return // the fuzzer has learnt a key
		}
		insert := func(text string) string {
			split := max(0, min(at, len(text)))
			return text[:split] + apiKey + text[split:]
		}
		padded := strings.Repeat(" ", max(0, padding)%(bodyLimit+100)) + insert(string(body))
		client := newClient(t, nil, factoryapi.Config{Credentials: static(apiKey), Transport: answer{
			status: status,
			header: http.Header{"Location": {insert(location)}},
			body:   padded,
		}})
		err := askOnce(t.Context(), client)
		if err == nil {
			if status != http.StatusOK {
				t.Errorf("status %d taken for a page", status)
			}
			return
		}
		typed := apiError(t, err)
		for _, text := range []string{typed.Message, typed.Error()} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("not a line of printable text: %q", text)
			}
			if strings.Contains(text, apiKey[:leak]) {
				t.Errorf("holds the key, or much of it: %q", text)
			}
		}
		if len(typed.Message) > maxMessage {
			t.Errorf("message of %d bytes", len(typed.Message))
		}
	})
}
