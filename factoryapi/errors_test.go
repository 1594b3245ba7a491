package factoryapi_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
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
		{factoryapi.Error{Kind: factoryapi.KindStatus, StatusCode: 302, Message: "redirect"}, "HTTP 302 Found: redirect", "302", false},
		{factoryapi.Error{Kind: factoryapi.KindStatus, StatusCode: 429}, "HTTP 429 Too Many Requests", "429", true},
		{factoryapi.Error{Kind: factoryapi.KindStatus, StatusCode: 500}, "HTTP 500 Internal Server Error", "500", true},
		{factoryapi.Error{Kind: factoryapi.KindStatus, StatusCode: 599, Message: "odd"}, "HTTP 599: odd", "599", true},
		{factoryapi.Error{Kind: factoryapi.KindStatus, StatusCode: 600}, "HTTP 600", "600", false},
		{factoryapi.Error{Kind: factoryapi.KindTimeout, Message: "no answer"}, "timeout: no answer", "timeout", true},
		{factoryapi.Error{Kind: factoryapi.KindConnection, Message: "reset"}, "connection: reset", "connection", true},
		{factoryapi.Error{Kind: factoryapi.KindInvalidResponse, Message: "not JSON"}, "invalid_response: not JSON", "invalid_response", false},
		{factoryapi.Error{Kind: factoryapi.KindInvalidResponse, StatusCode: 204}, "invalid_response", "invalid_response", false},
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

func TestErrorMessagesTellWhatTheBodySays(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"documented", `{"detail":"API key missing","status":401,"title":"Unauthorized","metadata":{"a":[1]}}`, "API key missing"},
		{"without metadata", `{"detail":"API key missing","status":401,"title":"Unauthorized"}`, "API key missing"},
		{"without detail", `{"status":401,"title":"Not today"}`, "Not today"},
		{"with an empty detail", `{"detail":"","title":"Not today"}`, "Not today"},
		{"with a null detail", `{"detail":null,"title":"Not today"}`, "Not today"},
		{"with escapes", `{"detail":"line\u0020one\nline \"two\"\u001b[1m"}`, `line one line "two" [1m`},
		{"a detail of another type", `{"detail":{"code":7}}`, `{"detail":{"code":7}}`},
		{"other JSON", `{"error":"quota"}`, `{"error":"quota"}`},
		{"a JSON string", `"no"`, `"no"`},
		{"a JSON array", `[{"detail":"no"}]`, `[{"detail":"no"}]`},
		{"JSON null", `null`, `null`},
		{"HTML", "<html>\r\n\t<title>502</title>\r\n</html>\r\n", "<html> <title>502</title> </html>"},
		{"text", "upstream connect error", "upstream connect error"},
		{"half of the JSON", `{"detail":"API key mis`, `{"detail":"API key mis`},
		{"nothing", "", ""},
		{"white space", " \r\n\t ", ""},
		{"line separators", "one\u2028two\u2029three\u0085four\vfive", "one two three four five"},
		{"control characters", "one\x00two\x1b[31mthree\x7ffour", "one two [31mthree four"},
		{"characters that change the direction", "one\u202etwo\u2066three", "one two three"},
		{"invalid UTF-8", "one\xfftwo", "one\ufffdtwo"},
		{"as long as it may be", strings.Repeat("x", maxMessage), strings.Repeat("x", maxMessage)},
		{"longer", strings.Repeat("x", maxMessage+1), strings.Repeat("x", maxMessage-len("…")) + "…"},
		{"longer, of wide characters", strings.Repeat("🙂", maxMessage), strings.Repeat("🙂", (maxMessage-len("…"))/len("🙂")) + "…"},
		{"longer, documented", `{"detail":"` + strings.Repeat("x", 9000) + `"}`, strings.Repeat("x", maxMessage-len("…")) + "…"},
		{"huge", strings.Repeat("x", 9<<20), strings.Repeat("x", maxMessage-len("…")) + "…"},
	} {
		for _, status := range []int{401, 500} {
			t.Run(fmt.Sprint(tt.name, " ", status), func(t *testing.T) {
				err := failure(t, key, answer{status: status, body: tt.body})
				if err.Message != tt.want {
					t.Errorf("message %q, want %q", err.Message, tt.want)
				}
				if err.Kind != factoryapi.KindStatus || err.StatusCode != status {
					t.Errorf("kind %s, status %d", err.Kind, err.StatusCode)
				}
			})
		}
	}
}

func TestAnErrorsBodyIsNotReadForEver(t *testing.T) {
	body := &countingReader{Reader: endless(strings.Repeat("x", 4096))}
	transport := roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusBadGateway, Body: io.NopCloser(body), ContentLength: -1, Request: r}, nil
	})
	err := failure(t, key, transport)
	if err.Reason() != "502" || body.count > 1<<20 {
		t.Errorf("error %v after %d bytes", err, body.count)
	}
}

func TestARedirectsErrorTellsWhereTo(t *testing.T) {
	err := failure(t, key, answer{status: http.StatusFound, header: http.Header{"Location": {"https://elsewhere.example/login\x1b"}}})
	if want := "https://elsewhere.example/login"; !strings.HasSuffix(err.Message, want) {
		t.Errorf("message %q, want one that ends with %s", err.Message, want)
	}
}

func TestSuccessOtherThan200IsInvalid(t *testing.T) {
	for _, status := range []int{201, 202, 203, 204, 205, 206, 207, 226, 299} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			err := failure(t, key, answer{status: status, body: lastPage(`{"id":"a"}`)})
			if err.Reason() != "invalid_response" || err.StatusCode != status || !strings.Contains(err.Message, fmt.Sprint(status)) {
				t.Errorf("error %v with status %d", err, err.StatusCode)
			}
		})
	}
}

func TestABrokenTransferIsAConnectionError(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()

	for _, tt := range []struct {
		name  string
		serve fakeapi.Behavior // nil: nobody listens
	}{
		{"refused", nil},
		{"reset", fakeapi.Reset()},
		{"cut within a body of known length", fakeapi.CutTransfer()},
		{"cut within a body of chunks", cutChunks},
		{"not HTTP", raw("SSH-2.0-OpenSSH_10.0\r\n")},
		{"closed within the header", raw("HTTP/1.1 200 OK\r\nContent-Le")},
		{"chunks that are none", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address := "http://" + closed.Addr().String()
			if tt.serve != nil {
				api := organizationOf(10)
				api.Inject(fakeapi.Fault{Serve: tt.serve})
				server := httptest.NewServer(api)
				defer server.Close()
				address = server.URL
			}
			client, err := factoryapi.New(factoryapi.Config{URL: address, Credentials: staticKey(t, key)})
			if err != nil {
				t.Fatal(err)
			}
			defer client.CloseIdleConnections()
			users, err := collect(client.ListUsers(t.Context()))
			if got := apiError(t, err); got.Reason() != "connection" || got.Message == "" || len(users) != 0 {
				t.Errorf("%d users, error %v", len(users), err)
			}
		})
	}
}

func TestCompressedAnswers(t *testing.T) {
	packed := func(text string) string {
		var buffer bytes.Buffer
		w := gzip.NewWriter(&buffer)
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return buffer.String()
	}
	page := packed(lastPage(`{"id":"a"}`))
	damaged := []byte(page)
	damaged[len(damaged)-8] ^= 1 // the checksum

	for _, tt := range []struct{ name, body, want string }{
		{"a page", page, ""},
		{"not compressed at all", lastPage(`{"id":"a"}`), "invalid_response"},
		{"nothing", "", "invalid_response"},
		{"damaged", string(damaged), "invalid_response"},
		{"nonsense behind a good header", page[:10] + strings.Repeat("\xff", 50), "invalid_response"},
		{"HTML", packed("<html>"), "invalid_response"},
		{"small, but huge when unpacked", packed(`{"padding":"` + strings.Repeat("x", 17<<20) + `",` + lastPage("")[1:]), "invalid_response"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := newClient(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Accept-Encoding"); got != "gzip" {
					t.Errorf("Accept-Encoding %q", got)
				}
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = io.WriteString(w, tt.body)
			})), factoryapi.Config{})
			users, err := collect(client.ListUsers(t.Context()))
			if tt.want == "" {
				if err != nil || len(users) != 1 {
					t.Errorf("%d users, error %v", len(users), err)
				}
			} else if got := apiError(t, err).Reason(); got != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestTheKeyIsInNoErrorThatTheOtherSideCanCause(t *testing.T) {
	const closing = "Connection: close\r\n\r\n"
	for name, spoil := range map[string]fakeapi.Behavior{
		"documented body":     fakeapi.Respond(401, "application/json", `{"detail":"`+key+` is no key, `+key+` is none","status":401,"title":"Unauthorized"}`),
		"title of the body":   fakeapi.Respond(401, "application/json", `{"title":"`+key+`"}`),
		"other body":          fakeapi.Respond(403, "application/json", `{"key":"`+key+`"}`),
		"HTML":                fakeapi.Respond(500, "text/html", "<html>"+key+"</html>"),
		"header name":         raw("HTTP/1.1 200 OK\r\n" + key + "\r\n" + closing),
		"status line":         raw("HTTP/1.1 401 " + key + "\r\n" + closing),
		"status":              raw("HTTP/1.1 " + key + " Unauthorized\r\n" + closing),
		"protocol":            raw(key + "/1.1 401 Unauthorized\r\n" + closing),
		"body's length":       raw("HTTP/1.1 200 OK\r\nContent-Length: " + key + "\r\n" + closing),
		"body's encoding":     raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + key + "\r\n" + closing),
		"chunk":               raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + key + "\r\n"),
		"redirect":            fakeapi.Redirect("https://elsewhere.example/login?key=" + key),
		"redirect to no URL":  fakeapi.Status(302, "Location", "http://"+key+" /%zz"),
		"time to wait":        fakeapi.Status(429, "Retry-After", key),
		"page that is HTML":   fakeapi.Respond(200, "text/html", "<html>"+key),
		"page that is a key":  fakeapi.Respond(200, "text/plain", key),
		"page that is cut":    fakeapi.Respond(200, "application/json", `{"users":[{"id":"`+key),
		"user without an id":  fakeapi.Respond(200, "application/json", lastPage(`{"`+key+`":"`+key+`"}`)),
		"success without one": fakeapi.Respond(202, "text/plain", key),
	} {
		t.Run(name, func(t *testing.T) {
			api := organizationOf(1)
			api.Inject(fakeapi.Fault{Serve: spoil})
			client := newClient(t, serve(t, api), factoryapi.Config{})
			_, err := collect(client.ListUsers(t.Context()))
			checkNoKey(t, apiError(t, err), key)
		})
	}
}

func TestNoPartOfTheKeyIsInAMessageThatIsCut(t *testing.T) {
	const bodyLimit = 64 << 10
	for _, apiKey := range []string{key, strings.Repeat("Ab1Cd2Ef3Gh4", 20)} {
		for before := 0; before < maxMessage; before += 3 {
			checkNoKey(t, failure(t, apiKey, answer{status: 200, body: strings.Repeat("x", before) + apiKey + apiKey}), apiKey)
			checkNoKey(t, failure(t, apiKey, answer{status: 500, body: strings.Repeat("x", before) + apiKey + apiKey}), apiKey)
		}
		for behind := 1; behind < 3*len(apiKey); behind += 5 {
			padding := strings.Repeat("\n", bodyLimit-behind)
			checkNoKey(t, failure(t, apiKey, answer{status: 500, body: padding + apiKey + apiKey + apiKey + apiKey}), apiKey)
			checkNoKey(t, failure(t, apiKey, answer{status: 200, body: padding + apiKey + apiKey + apiKey + apiKey}), apiKey)
		}
	}
}

func TestTheKeyIsScrubbedWhenItComesBackEscaped(t *testing.T) {
	const apiKey = `Zx8kLm/Qw9vBn+Er7tYu=="Ty6pOi\Hj5`
	for name, transport := range map[string]http.RoundTripper{
		"as it is":        answer{status: 401, body: "no such key: " + apiKey},
		"in JSON":         answer{status: 401, body: `{"key":` + toJSON(t, apiKey) + `}`},
		"in a query":      answer{status: 302, header: http.Header{"Location": {"https://elsewhere.example/?key=" + url.QueryEscape(apiKey)}}},
		"in a path":       answer{status: 302, header: http.Header{"Location": {"https://elsewhere.example/" + url.PathEscape(apiKey)}}},
		"quoted by Go":    roundTrip(func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("malformed answer %q", apiKey) }),
		"quoted by us":    answer{status: 200, body: apiKey},
		"quoted, and cut": answer{status: 200, body: strings.Repeat("x", 30) + apiKey},
	} {
		t.Run(name, func(t *testing.T) {
			err := failure(t, apiKey, transport)
			for part := range strings.FieldsFuncSeq(apiKey, func(r rune) bool { return strings.ContainsRune(`/+="\`, r) }) {
				if strings.Contains(err.Error(), part) {
					t.Errorf("error %q holds %q of the key", err, part)
				}
			}
		})
	}
}

func TestNoPartOfTheKeyComesBack(t *testing.T) {
	const apiKey = "fk-0123456789/abcdefghijABCDEFGHIJ=="
	for name, transport := range map[string]http.RoundTripper{
		"shortened":           answer{status: 401, body: `{"detail":"no such key: ` + apiKey[:20] + `..."}`},
		"shortened in front":  answer{status: 401, body: `{"detail":"no such key: ...` + apiKey[8:] + `"}`},
		"without its end":     answer{status: 401, body: `{"detail":"no such key: '` + apiKey[:len(apiKey)-1] + `' (truncated)"}`},
		"slashes escaped":     answer{status: 401, body: `{"error":"` + strings.ReplaceAll(apiKey, "/", `\/`) + `"}`},
		"escaped for HTML":    answer{status: 401, body: "<p>" + strings.ReplaceAll(apiKey, "=", "&#x3D;") + "</p>"},
		"escaped, lower case": answer{status: 302, header: http.Header{"Location": {"/?key=" + strings.ReplaceAll(apiKey, "=", "%3d")}}},
		"with a part of it":   answer{status: 401, body: apiKey[:10] + apiKey[6:]},
		"in two lines":        answer{status: 401, body: apiKey[:15] + "\n" + apiKey[15:]},
	} {
		t.Run(name, func(t *testing.T) {
			checkNoKey(t, failure(t, apiKey, transport), apiKey)
		})
	}
}

func TestWithoutAKeyThereIsNothingToScrub(t *testing.T) {
	client := newClient(t, nil, factoryapi.Config{Credentials: factoryapi.StaticKey{}, Transport: answer{status: 401, body: "no key"}})
	if _, err := firstPage(t.Context(), client); apiError(t, err).Message != "no key" {
		t.Errorf("error %v", err)
	}
}

func FuzzErrorMessage(f *testing.F) {
	const shortKey, longKey = "fk-7Hq2Zt9X", "fk-eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJmYWN0b3J5In0.7Hq2Zt9Xw4Vb6Nm8"
	const bodyLimit = 64 << 10
	for _, status := range []int{200, 204, 302, 401, 429, 500} {
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
		client := newClient(t, nil, factoryapi.Config{Credentials: staticKey(t, apiKey), Transport: answer{
			status: status,
			header: http.Header{"Location": {insert(location)}},
			body:   padded,
		}})
		_, err := firstPage(t.Context(), client)
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

// failure is the error of one request to an API that answers like transport.
func failure(t *testing.T, apiKey string, transport http.RoundTripper) *factoryapi.Error {
	t.Helper()
	client := newClient(t, nil, factoryapi.Config{Credentials: staticKey(t, apiKey), Transport: transport})
	_, err := firstPage(t.Context(), client)
	return apiError(t, err)
}

// checkNoKey checks that an error holds nothing that helps to guess the key.
func checkNoKey(t *testing.T, err *factoryapi.Error, apiKey string) {
	t.Helper()
	const tooMuch = 6
	for i := range len(apiKey) - tooMuch + 1 {
		if part := apiKey[i : i+tooMuch]; strings.Contains(err.Error(), part) {
			t.Fatalf("error %q holds %q of the key", err, part)
		}
	}
}

// raw sends bytes that need not be HTTP, and closes the connection.
func raw(text string) fakeapi.Behavior {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, text) // the client may have seen enough
		_ = conn.Close()
	}
}

// cutChunks sends half a page in chunks of a length that was not told, and closes the connection.
func cutChunks(w http.ResponseWriter, _ *http.Request, page []byte) {
	_, _ = w.Write(page[:len(page)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// endless is a reader that repeats a text for ever.
type endless string

func (e endless) Read(p []byte) (int, error) { return copy(p, e), nil }

// countingReader counts what was read.
type countingReader struct {
	io.Reader
	count int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.count += int64(n)
	return n, err
}
