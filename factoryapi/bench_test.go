package factoryapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

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

// The yardstick: a whole page by encoding/json.
func BenchmarkDecodePageEncodingJSON(b *testing.B) {
	type page struct {
		Users []struct {
			ID, Email           string
			FirstName, LastName string
			CreatedAt           time.Time
			LastSignInAt        *time.Time
			Metadata            map[string]string
		}
		Pagination struct {
			HasMore    bool
			NextCursor *string
		}
	}
	body := generatedPages(b, 100, 100)[0]
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var p page
		if err := json.Unmarshal(body, &p); err != nil || len(p.Users) != 100 {
			b.Fatal(len(p.Users), err)
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
