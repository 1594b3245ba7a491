package census_test

import (
	"testing"
	"time"

	"factory_exporter/collector/census"
	"factory_exporter/factoryapi"
	"factory_exporter/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// now is the instant of every census here.
var now = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// windows is a census with these windows.
func windows(labels ...string) census.Config {
	return census.Config{Windows: harness.Windows(labels...)}
}

// count counts users at now.
func count(cfg census.Config, users ...factoryapi.User) census.Counts {
	c := census.New(cfg, now, nil, nil)
	c.Add(users...)
	return c.Counts()
}
