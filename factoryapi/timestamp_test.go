package factoryapi_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"factory_exporter/factoryapi"
)

func TestTimestampsAreRFC3339(t *testing.T) {
	at := func(nanoseconds int) time.Time { return time.Date(2026, 3, 4, 5, 6, 7, nanoseconds, time.UTC) }
	for text, want := range map[string]time.Time{
		"2026-03-04T05:06:07Z":                            at(0),
		"2026-03-04T05:06:07.123Z":                        at(123_000_000),
		"2026-03-04T05:06:07.123456789Z":                  at(123_456_789),
		"2026-03-04T05:06:07.123456789999Z":               at(123_456_789), // a Time has nanoseconds
		"2026-03-04T05:06:07.00000000000000000000000001Z": at(0),
		"2026-03-04T07:06:07+02:00":                       at(0),
		"2026-03-04T07:06:07.123+0200":                    at(123_000_000),
		"2026-03-03T21:36:07-07:30":                       at(0),
		"2026-03-04T05:06:07+0000":                        at(0),
		"2026-03-04t07:06:07.1+0200":                      at(100_000_000),
		"1970-01-01T00:00:00.000000001Z":                  time.Unix(0, 1).UTC(),
		"9999-12-31T23:59:59.999999999Z":                  time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		"9999-12-31T23:59:59-01:00":                       time.Date(10000, 1, 1, 0, 59, 59, 0, time.UTC),
	} {
		t.Run(text, func(t *testing.T) {
			want := factoryapi.Timestamp{Time: want, State: factoryapi.Valid}
			if got := factoryapi.ParseTimestamp(text); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

func TestTimestampsThatCannotBeReadAreInvalid(t *testing.T) {
	for _, text := range []string{
		" ", "rubbish", "null", "0", "1772600767", "1772600767000",
		"2026-03-04", "2026-03-04T05:06Z", "2026-03-04T05:06:07", "05:06:07Z",
		"2026-03-04 05:06:07Z", "2026-03-04T05:06:07 Z", " 2026-03-04T05:06:07Z", "2026-03-04T05:06:07Z ",
		"2026-03-04T05:06:07.Z", "2026-03-04T05:06:07.12x4Z", "2026-03-04T05:06:07ZZ", "2026-03-04T05:06:60Z",
		"2026-03-04T05:06:07+2", "2026-03-04T05:06:07+2:00", "2026-03-04T05:06:07+02:0", "2026-03-04T05:06:07+99:99",
		"2026-13-04T05:06:07Z", "2026-00-04T05:06:07Z", "2026-03-32T05:06:07Z", "2026-02-29T05:06:07Z",
		"2026-03-04T25:06:07Z", "2026-03-04T05:60:07Z", "2026-03-04T05:06:61Z",
		"26-03-04T05:06:07Z", "12026-03-04T05:06:07Z", "-2026-03-04T05:06:07Z",
		"Wed, 04 Mar 2026 05:06:07 GMT", "2026-03-04T05:06:07\xff", strings.Repeat("2", 1<<20),
	} {
		if got := factoryapi.ParseTimestamp(text); got != (factoryapi.Timestamp{State: factoryapi.Invalid}) {
			t.Errorf("%.40q is %+v, want it to be invalid", text, got)
		}
	}
}

// Many languages write one of these for "none".
func TestTimestampsThatStandForNoneAreMissing(t *testing.T) {
	for _, text := range []string{
		"", "0001-01-01T00:00:00Z", "0001-01-01t00:00:00z", "0000-01-01T00:00:00Z", "1969-12-31T23:59:59Z",
		"1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00+0000", "1970-01-01T02:00:00+02:00",
	} {
		if got := factoryapi.ParseTimestamp(text); got != (factoryapi.Timestamp{}) {
			t.Errorf("%q is %+v, want it to be missing", text, got)
		}
	}
}

func FuzzTimestamp(f *testing.F) {
	for _, text := range []string{
		"", "rubbish", "2026-03-04T05:06:07Z", "2026-03-04T05:06:07.123456789012+02:00", "2026-03-04T05:06:07.5-0730",
		"2026-03-04T05:06:07+0000", "2026-03-04t05:06:07z", "0001-01-01T00:00:00Z", "2026-02-30T05:06:07Z", "2026-03-04T05:06:07,5Z",
	} {
		f.Add(text)
	}
	offset := regexp.MustCompile(`([+-]\d\d)(\d\d)$`)
	f.Fuzz(func(t *testing.T, text string) {
		got := factoryapi.ParseTimestamp(text)
		want, err := time.Parse(time.RFC3339Nano, offset.ReplaceAllString(strings.ToUpper(text), "$1:$2"))
		if text == "" || err == nil && !want.After(time.Unix(0, 0)) {
			if got != (factoryapi.Timestamp{}) {
				t.Errorf("%q is %+v, want it to be missing", text, got)
			}
			return
		}
		if err != nil {
			if got != (factoryapi.Timestamp{State: factoryapi.Invalid}) {
				t.Errorf("%q is %+v, want it to be invalid: %v", text, got, err)
			}
			return
		}
		if got.State != factoryapi.Valid || !got.Time.Equal(want) || got.Time.Location() != time.UTC {
			t.Errorf("%q is %+v, want %s", text, got, want)
		}
	})
}
