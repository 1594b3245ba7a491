package factoryapi_test

import (
	"encoding/json"
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
		"2026-03-04T05:06:07.1Z":                          at(100_000_000),
		"2026-03-04T05:06:07.123Z":                        at(123_000_000),
		"2026-03-04T05:06:07.123456Z":                     at(123_456_000),
		"2026-03-04T05:06:07.123456789Z":                  at(123_456_789),
		"2026-03-04T05:06:07.123456789999Z":               at(123_456_789), // a Time has nanoseconds
		"2026-03-04T05:06:07.00000000000000000000000001Z": at(0),
		"2026-03-04T07:06:07+02:00":                       at(0),
		"2026-03-04T07:06:07.123+0200":                    at(123_000_000),
		"2026-03-03T21:36:07-07:30":                       at(0),
		"2026-03-03T21:36:07.5-0730":                      at(500_000_000),
		"2026-03-04T05:06:07+00:00":                       at(0),
		"2026-03-04T05:06:07+0000":                        at(0),
		"2026-03-04T05:06:07.123456+0000":                 at(123_456_000),
		"2026-03-04T05:06:07-00:00":                       at(0),
		"2026-03-04t05:06:07z":                            at(0),
		"2026-03-04t07:06:07.1+0200":                      at(100_000_000),
		"0001-01-01T00:00:00Z":                            {},
		"0000-01-01T00:00:00Z":                            time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC),
		"9999-12-31T23:59:59.999999999Z":                  time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		"9999-12-31T23:59:59-01:00":                       time.Date(10000, 1, 1, 0, 59, 59, 0, time.UTC),
		"2024-02-29T00:00:00Z":                            time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC),
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
		"", " ", "rubbish", "null", "0", "1772600767", "1772600767000",
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

func TestZeroValuesAreMissing(t *testing.T) {
	var user factoryapi.User
	if user.CreatedAt.State != factoryapi.Missing || user.LastSignInAt.State != factoryapi.Missing {
		t.Errorf("timestamps %+v, %+v", user.CreatedAt, user.LastSignInAt)
	}
	if value, ok := user.Metadata.Get("team"); ok || value != "" {
		t.Errorf("metadata %q, %t", value, ok)
	}
}

func TestMetadata(t *testing.T) {
	for _, tt := range []struct {
		name, object, key string
		want              string
		ok                bool
	}{
		{"string", `{"team":"platform"}`, "team", "platform", true},
		{"empty string", `{"team":""}`, "team", "", true},
		{"one of several", `{"a":"1","team":"platform","z":{"team":"no"}}`, "team", "platform", true},
		{"with white space", " { \"team\" :\n\t\"platform\" , \"z\" : 1 } ", "team", "platform", true},
		{"escapes in the value", `{"team":"a\"b\\c\/d\u00e9\n\ud83d\ude42"}`, "team", "a\"b\\c/dé\n🙂", true},
		{"escapes in the name", `{"t\u0065am":"platform"}`, "team", "platform", true},
		{"a backslash at the end", `{"team":"C:\\","z":"\\\""}`, "team", `C:\`, true},
		{"a name with a quote", `{"te\"am":"platform"}`, `te"am`, "platform", true},
		{"an empty name", `{"":"platform"}`, "", "platform", true},
		{"a name with a dot", `{"team.name":"platform"}`, "team.name", "platform", true},
		{"number", `{"team":7}`, "team", "7", true},
		{"number as it is written", `{"team":-1.50E+002}`, "team", "-1.50E+002", true},
		{"number beyond a float", `{"team":12345678901234567890123}`, "team", "12345678901234567890123", true},
		{"true", `{"team":true}`, "team", "true", true},
		{"false", `{"team":false}`, "team", "false", true},
		{"null", `{"team":null}`, "team", "", false},
		{"array", `{"team":["platform"]}`, "team", "", false},
		{"object", `{"team":{"team":"platform"}}`, "team", "", false},
		{"not there", `{"team":"platform"}`, "location", "", false},
		{"another case", `{"Team":"platform"}`, "team", "", false},
		{"a value of that text", `{"a":"team","b":"platform"}`, "team", "", false},
		{"within another value", `{"a":{"team":"platform"},"b":["team",{"team":"x"}]}`, "team", "", false},
		{"of a repeated name, the last", `{"team":"a","team":"b"}`, "team", "b", true},
		{"of a repeated name, the last, if null", `{"team":"a","team":null}`, "team", "", false},
		{"invalid UTF-8", "{\"team\":\"a\xffb\"}", "team", "a\ufffdb", true},
		{"half a surrogate pair", `{"team":"a\ud83db"}`, "team", "a\ufffdb", true},
		{"no members", `{}`, "team", "", false},
		{"null metadata", `null`, "team", "", false},
		{"metadata of another type", `["team","platform"]`, "team", "", false},
		{"metadata that is a string", `"team"`, "team", "", false},
		{"metadata that is a number", `7`, "team", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := metadata(t, tt.object).Get(tt.key)
			if got != tt.want || ok != tt.ok {
				t.Errorf("%q, %t, want %q, %t", got, ok, tt.want, tt.ok)
			}
		})
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

func FuzzMetadataGet(f *testing.F) {
	for _, object := range []string{
		`{}`, `null`, `[]`, `"a"`, `{"a":"b"}`, `{"a":1.50,"b":true,"c":null,"d":[{"a":1}],"e":{"a":2}}`, `{"a":1,"a":"2"}`,
		`{"\u0061":"\ud83d"}`, "{\"a\xff\":\"\xff\"}", " { \"a\" : \"\\\\\" , \"b\" : \"\\\"\" } ", `{"":0}`, `{"A":1}`,
	} {
		f.Add([]byte(object), "a")
	}
	f.Fuzz(func(t *testing.T, object []byte, name string) {
		if !json.Valid(object) {
			return
		}
		m := metadata(t, string(object))
		var fields map[string]json.RawMessage
		_ = json.Unmarshal(object, &fields) // of what is no object, there are none
		for key := range fields {
			checkMetadata(t, m, fields, key)
		}
		checkMetadata(t, m, fields, name)
	})
}

// metadata is that of a user in a page.
func metadata(t *testing.T, object string) factoryapi.Metadata {
	t.Helper()
	page, err := factoryapi.DecodePage([]byte(lastPage(`{"id":"a","metadata":`+object+`}`)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return page.Users[0].Metadata
}

// checkMetadata compares a value with what encoding/json makes of it.
func checkMetadata(t *testing.T, m factoryapi.Metadata, fields map[string]json.RawMessage, name string) {
	t.Helper()
	raw, ok := fields[name]
	want := string(raw)
	switch {
	case !ok || raw[0] == '{' || raw[0] == '[' || want == "null":
		want, ok = "", false
	case raw[0] == '"':
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
	}
	if got, gotOK := m.Get(name); got != want || gotOK != ok {
		t.Errorf("%q is %q, %t, want %q, %t", name, got, gotOK, want, ok)
	}
}
