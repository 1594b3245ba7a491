package factoryapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"factory_exporter/factoryapi"
)

func BenchmarkDecodePage(b *testing.B) {
	body := generatedPages(b, 100, 100)[0]
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	users := make([]factoryapi.User, 0, 100)
	for b.Loop() {
		page, _, err := factoryapi.DecodePage(body, users)
		if err != nil || len(page) != 100 {
			b.Fatal(len(page), err)
		}
	}
}

// tap is an [http.RoundTripper] that asks a handler directly and keeps the bodies of its
// answers.
type tap struct {
	handler http.Handler
	bodies  *[][]byte
}

func (t tap) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	t.handler.ServeHTTP(recorder, r)
	*t.bodies = append(*t.bodies, recorder.Body.Bytes())
	return recorder.Result(), nil
}
