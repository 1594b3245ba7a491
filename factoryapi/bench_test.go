package factoryapi_test

import (
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
