package userlist_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"

	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
	"factory_exporter/internal/userlist"
)

func TestEachFormat(t *testing.T) {
	now := time.Now().UTC()
	yesterday, signIn := now.AddDate(0, 0, -1).Format(time.DateOnly), now.Add(-49*time.Hour).Format(time.RFC3339)
	api := serve(
		fakeapi.User{ID: "u1", Email: "ann@acme.example", CreatedAt: "2025-01-02T03:04:05.678Z", LastSignInAt: signIn, Metadata: map[string]string{"team": "a, \"b\""}},
		fakeapi.User{ID: "u2", Email: "bob@acme.example", CreatedAt: "2025-01-02T04:04:05+01:00"},
		fakeapi.User{ID: "u3", Email: "", CreatedAt: "soon", LastSignInAt: now.Add(time.Hour).Format(time.RFC3339), Metadata: map[string]string{"team": "<x>"}},
		fakeapi.User{ID: "u0", Email: "never@acme.example", CreatedAt: "2025-01-02T03:04:05Z"},
		fakeapi.User{ID: "u4", Email: "unknown@acme.example", CreatedAt: "2025-01-02T03:04:05Z", LastSignInAt: "of late"},
	)
	api.SetAnalytics(fakeapi.NewAnalytics(fakeapi.UserWork{ID: "u2", On: fakeapi.OnDays(fakeapi.Work{Sessions: 1, BillableTokens: 1200}, yesterday)}))
	fill := strings.NewReplacer("YESTERDAY!", yesterday, "LAST-SIGN-IN-2-DAYS!", signIn, "LAST-SIGN-IN-TO-COME", now.Add(time.Hour).Format(time.RFC3339)).Replace
	for format, want := range map[string]string{
		"table": `
id  email                 created               last_sign_in          idle_days  metadata.team  last_used   credits
u0  never@acme.example    2025-01-02T03:04:05Z                                                              0
u2  bob@acme.example      2025-01-02T03:04:05Z                                                  YESTERDAY!  1200
u1  ann@acme.example      2025-01-02T03:04:05Z  LAST-SIGN-IN-2-DAYS!  2          a, "b"                     0
u3                                              LAST-SIGN-IN-TO-COME  0          <x>                        0
u4  unknown@acme.example  2025-01-02T03:04:05Z                                                              0
`,
		"csv": `
id,email,created,last_sign_in,idle_days,metadata.team,last_used,credits
u0,never@acme.example,2025-01-02T03:04:05Z,,,,,0
u2,bob@acme.example,2025-01-02T03:04:05Z,,,,YESTERDAY!,1200
u1,ann@acme.example,2025-01-02T03:04:05Z,LAST-SIGN-IN-2-DAYS!,2,"a, ""b""",,0
u3,,,LAST-SIGN-IN-TO-COME,0,<x>,,0
u4,unknown@acme.example,2025-01-02T03:04:05Z,,,,,0
`,
		"json": `
{"id":"u0","email":"never@acme.example","created":"2025-01-02T03:04:05Z","last_sign_in":null,"idle_days":null,"metadata.team":null,"last_used":null,"credits":0}
{"id":"u2","email":"bob@acme.example","created":"2025-01-02T03:04:05Z","last_sign_in":null,"idle_days":null,"metadata.team":null,"last_used":"YESTERDAY!","credits":1200}
{"id":"u1","email":"ann@acme.example","created":"2025-01-02T03:04:05Z","last_sign_in":"LAST-SIGN-IN-2-DAYS!","idle_days":2,"metadata.team":"a, \"b\"","last_used":null,"credits":0}
{"id":"u3","email":null,"created":null,"last_sign_in":"LAST-SIGN-IN-TO-COME","idle_days":0,"metadata.team":"<x>","last_used":null,"credits":0}
{"id":"u4","email":"unknown@acme.example","created":"2025-01-02T03:04:05Z","last_sign_in":null,"idle_days":null,"metadata.team":null,"last_used":null,"credits":0}
`,
	} {
		got, _, err := list(t, api, userlist.Options{Format: format, Usage: true, GroupBy: harness.Attributes(t, "metadata.team")})
		if want = fill(want[1:]); err != nil || got != want {
			t.Errorf("%s, error %v:\n%s\nwant\n%s", format, err, got, want)
		}
	}
	api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath, Serve: fakeapi.EditRows(func(row map[string]any) { row["billable_tokens"] = nil })})
	if got, _, err := list(t, api, userlist.Options{Format: "json", Usage: true}); err != nil || strings.Count(got, `"credits":null`) != 5 {
		t.Errorf("where not all credits are known, error %v:\n%s", err, got)
	}
	for format, want := range map[string]string{"table": "id  email  created  last_sign_in  idle_days\n", "csv": "id,email,created,last_sign_in,idle_days\n", "json": ""} {
		if got, _, err := list(t, serve(), userlist.Options{Format: format}); err != nil || got != want {
			t.Errorf("%s of nobody: %q, error %v", format, got, err)
		}
	}
}

// hostile are texts of a member that command a spreadsheet or a terminal, and what they
// are in CSV.
var hostile = map[string]string{
	"=1+1":                         "'=1+1",
	"+1":                           "'+1",
	"-1":                           "'-1",
	"@SUM(A1)":                     "'@SUM(A1)",
	"\t=1":                         "' =1",
	"\n=1":                         "' =1",
	"\u00a0=1":                     "'\u00a0=1",
	"\u3000\u200d=1":               "'\u3000\u200d=1",
	"\uff1d1+1":                    "'\uff1d1+1",
	"\uff20SUM(1)":                 "'\uff20SUM(1)",
	`a;=HYPERLINK("h";"o")`:        `a;'=HYPERLINK("h";"o")`,
	`a; "=1";|-1|b-1;@`:            `a;' "=1";|'-1|b-1;'@`,
	"a=b":                          "a=b",
	"user@acme.example":            "user@acme.example",
	"00042":                        "00042",
	"'quoted":                      "'quoted",
	"\x1b]0;title\x07":             "\ufffd]0;title\ufffd",
	"\u009b31mred":                 "\ufffd31mred",
	"\u202eright to left":          "\ufffdright to left",
	"two\r\nlines\u2028and a half": "two  lines and a half",
	"José\u00a0Team":               "José\u00a0Team",
	"日本語チーム":                       "日本語チーム",
	"👩\u200d🚀 and 🇩🇪":              "👩\u200d🚀 and 🇩🇪",
	"e\u0301te\u0301":              "e\u0301te\u0301",
}

func TestTextOfAMemberCommandsNothing(t *testing.T) {
	var members []fakeapi.User
	for text := range hostile {
		members = append(members, fakeapi.User{ID: fmt.Sprintf("u%02d", len(members)), Email: text, CreatedAt: "2025-01-01T00:00:00Z", Metadata: map[string]string{"=team": text}})
	}
	all := func(format string) string {
		text, _, err := list(t, serve(members...), userlist.Options{Format: format, GroupBy: harness.Attributes(t, "metadata.=team")})
		control := func(r rune) bool { return unicode.IsControl(r) && r != '\n' }
		if err != nil || strings.ContainsFunc(text, control) {
			t.Fatalf("%s, error %v, with control characters:\n%q", format, err, text)
		}
		return text
	}
	lines, err := csv.NewReader(strings.NewReader(all("csv"))).ReadAll()
	if err != nil || len(lines) != 1+len(members) {
		t.Fatalf("%d lines, error %v", len(lines), err)
	}
	for i, line := range lines[1:] {
		if want := hostile[members[i].Email]; line[1] != want || line[5] != want {
			t.Errorf("%q is %q and %q in CSV, want %q", members[i].Email, line[1], line[5], want)
		}
	}
	objects := json.NewDecoder(strings.NewReader(all("json")))
	for _, m := range members {
		var object map[string]any
		if err := objects.Decode(&object); err != nil {
			t.Fatal(err)
		}
		email, _ := object["email"].(string)
		if strings.ContainsFunc(email, unicode.IsControl) || email != object["metadata.=team"] {
			t.Errorf("%q is %q in JSON", m.Email, email)
		}
	}
	rows := strings.Split(strings.TrimSuffix(all("table"), "\n"), "\n")
	column := strings.Index(rows[0], "created")
	for _, row := range rows[1:] {
		// The part in front of the third column is as wide in each line.
		before, _, _ := strings.Cut(row, "2025-01-01T")
		if width := runewidth.StringWidth(before); width != column {
			t.Errorf("the third column begins at %d, want %d: %q", width, column, row)
		}
	}
	if len(rows) != 1+len(members) {
		t.Errorf("%d lines", len(rows))
	}
}

// A table that pads all lines to its longest cell takes gigabytes.
func TestLongCellsOfTheTableAreCut(t *testing.T) {
	members := fakeapi.Generate(20, 1, time.Now())
	members[3].Email = strings.Repeat("x", 300_000) + "@acme.example"
	members[4].Email = strings.Repeat("語", 1000)
	text, _, err := list(t, serve(members...), userlist.Options{})
	if err != nil || !strings.Contains(text, " "+strings.Repeat("x", 59)+"… ") || !strings.Contains(text, " "+strings.Repeat("語", 29)+"…") {
		t.Errorf("error %v:\n%.5000s", err, text)
	}
	for line := range strings.Lines(text) {
		if width := runewidth.StringWidth(line); width > 32+60+20+20+9+5*2 {
			t.Errorf("a line is %d columns wide", width)
		}
	}
	if whole, _, err := list(t, serve(members...), userlist.Options{Format: "csv"}); err != nil || len(whole) < 300_000 {
		t.Errorf("error %v; CSV is cut as well", err)
	}
}
