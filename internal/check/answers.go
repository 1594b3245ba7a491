package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
)

// documented are the fields that the documents of the API name, by what has them. A
// question mark follows those that some may lack, an asterisk those that all may lack.
func documented() map[string]string {
	return map[string]string{
		"page":            "users pagination",
		"user":            "id email createdAt metadata firstName? lastName? lastSignInAt?",
		"pagination":      "hasMore nextCursor",
		"answer":          "data meta",
		"meta":            "org_id? start_date? end_date? has_more* next_cursor*",
		"activity":        "date daily_active_users weekly_active_users monthly_active_users daily_active_users_by_client sessions messages user_messages",
		"tokens":          "date billable_tokens input_tokens output_tokens cache_read_tokens cache_write_tokens by_model? by_user?",
		"tokens by model": "date group_key billable_tokens input_tokens output_tokens cache_read_tokens* cache_write_tokens*",
		"users": "user_id user_email date sessions messages user_messages assistant_messages tool_calls billable_tokens files_created? files_edited? git_commits? " +
			"git_prs_created? mcp_calls? skill_calls? slash_commands? hooks? autonomy_ratio? primary_model? primary_model_tier? delegation_level? languages?",
		"limits":     "globalLimit userLimits",
		"user limit": "email limit",
	}
}

type object = map[string]json.RawMessage

// answers are what the bodies of the answers have in them.
type answers struct {
	fields   map[string]*fields // by what has them
	metadata map[string]*values // by key
	seed     maphash.Seed
}

// fields are those of all objects of a kind.
type fields struct {
	objects int
	seen    map[string]int // how many objects have the field
}

// values are those of a key of the metadata.
type values struct {
	users    int
	distinct map[uint64]struct{} // fingerprints
}

// read reads the body of a 200. What is not of the form that was expected, the client
// refuses.
func (a *answers) read(path string, body []byte) {
	kind := path[strings.LastIndexByte(path, '/')+1:]
	var answer struct {
		Users, Data, UserLimits []object
		Pagination, Meta        object
	}
	var top object
	if json.Unmarshal(body, &top) != nil || json.Unmarshal(body, &answer) != nil {
		return
	}
	switch {
	case strings.HasSuffix(path, "/limits/users"):
		a.add("limits", top)
		a.add("user limit", answer.UserLimits...)
	case answer.Data != nil:
		a.add("answer", top)
		a.add("meta", answer.Meta)
		if len(answer.Data) > 0 && answer.Data[0]["group_key"] != nil {
			kind += " by model"
		}
		a.add(kind, answer.Data...)
	default:
		a.add("page", top)
		a.add("user", answer.Users...)
		a.add("pagination", answer.Pagination)
		for _, user := range answer.Users {
			a.addMetadata(user["metadata"])
		}
	}
}

func (a *answers) add(kind string, objects ...object) {
	f := a.fields[kind]
	if f == nil {
		f = &fields{seen: map[string]int{}}
		a.fields[kind] = f
	}
	f.objects += len(objects)
	for _, object := range objects {
		for name := range object {
			f.seen[name]++
		}
	}
}

func (a *answers) addMetadata(text json.RawMessage) {
	var metadata map[string]any
	_ = json.Unmarshal(text, &metadata) // of another form, it counts as absent
	for key, value := range metadata {
		switch value.(type) {
		case nil, []any, map[string]any:
			continue
		}
		if a.metadata[key] == nil {
			a.metadata[key] = &values{distinct: map[uint64]struct{}{}}
		}
		a.metadata[key].users++
		a.metadata[key].distinct[maphash.String(a.seed, fmt.Sprint(value))] = struct{}{}
	}
}

func (a *answers) tell(r *report) {
	known := documented()
	for _, kind := range slices.Sorted(maps.Keys(a.fields)) {
		f := a.fields[kind]
		isKnown := func(name string) bool {
			return slices.ContainsFunc(strings.Fields(known[kind]), func(known string) bool { return strings.TrimRight(known, "?*") == name })
		}
		for name := range strings.FieldsSeq(known[kind]) {
			name, optional := strings.CutSuffix(name, "?")
			if n := f.seen[name]; f.objects > 0 && (n == 0 || n < f.objects && !optional) && !strings.HasSuffix(name, "*") {
				r.line("Fields", "missing in %d of %d: %s of %s", f.objects-n, f.objects, name, kind)
			}
		}
		for _, name := range firstOf(slices.DeleteFunc(slices.Sorted(maps.Keys(f.seen)), isKnown)) {
			r.line("Fields", "not documented, in %d of %d: %s of %s", f.seen[name], f.objects, name, kind)
		}
	}
	if r.title != "Fields" && len(a.fields) > 0 {
		r.line("Fields", "as documented")
	}
}

func (a *answers) tellMetadata(r *report) {
	keys := slices.SortedFunc(maps.Keys(a.metadata), func(b, c string) int {
		return cmp.Or(cmp.Compare(a.metadata[c].users, a.metadata[b].users), strings.Compare(b, c))
	})
	if len(keys) == 0 {
		r.line("Metadata", "no member has any, so there is nothing to group by but email_domain")
	}
	for _, key := range firstOf(keys) {
		r.line("Metadata", "%s: %s, %s", key, count(a.metadata[key].users, "member"), count(len(a.metadata[key].distinct), "value"))
	}
	if more := len(keys) - len(firstOf(keys)); more > 0 {
		r.line("Metadata", "and %s more", count(more, "key"))
	}
}

// firstOf bounds what an API can make the report print.
func firstOf(names []string) []string { return names[:min(len(names), 30)] }
