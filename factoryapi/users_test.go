package factoryapi_test

import (
	"encoding/json"
	"testing"

	"factory_exporter/factoryapi"
)

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
