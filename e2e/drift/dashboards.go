package drift

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// Dashboard is a Grafana dashboard, as far as PromQL is concerned.
type Dashboard struct {
	File      string
	UID       string
	Variables []Variable
	Queries   []Query
	Texts     map[string]string // all of them, by the place in the JSON
}

// Query is a query of a panel, in a row or not, or of an annotation.
type Query struct {
	Expression
	Panel   string   // or annotation, by its place
	Instant bool     // for one instant, not for the dashboard's time range
	Shows   []string // labels: in the legend, or to join the panel's queries by
}

// Variable is a template variable.
type Variable struct {
	Name, Type, Regex string
	Multi, IncludeAll bool
	AllValue          string // stands for all values; empty: a list of them does
	Query             any    // a text, or an object that holds one
	Current           struct{ Value any }
}

// ReadDashboards reads the dashboards that match a pattern such as ../dashboards/*.json.
func ReadDashboards(pattern string) ([]Dashboard, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no dashboard is %s", pattern)
	}
	var dashboards []Dashboard
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var known struct {
			UID        string
			Templating struct{ List []Variable }
		}
		var all any
		if err := errors.Join(json.Unmarshal(content, &known), json.Unmarshal(content, &all)); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		d := Dashboard{File: filepath.Base(file), UID: known.UID, Variables: known.Templating.List, Texts: map[string]string{}}
		d.collect(all, "", "")
		dashboards = append(dashboards, d)
	}
	return dashboards, nil
}

// collect finds the texts and queries in a part of the JSON, wherever they are.
func (d *Dashboard) collect(part any, place, panel string) {
	switch part := part.(type) {
	case string:
		d.Texts[place] = part
	case []any:
		for i, element := range part {
			d.collect(element, fmt.Sprintf("%s[%d]", place, i), panel)
		}
	case map[string]any:
		if name, ok := cmp.Or(part["title"], part["name"]).(string); ok && place != "" {
			place += fmt.Sprintf(" %q", name)
		}
		if _, ok := part["targets"]; ok {
			panel = place
		}
		if expr, ok := part["expr"].(string); ok {
			q := Query{Expression: Expression{place, expr}, Panel: cmp.Or(panel, place)}
			q.Instant, _ = part["instant"].(bool)
			legend, _ := part["legendFormat"].(string)
			for _, label := range legendLabel.FindAllStringSubmatch(legend, -1) {
				q.Shows = append(q.Shows, label[1])
			}
			d.Queries = append(d.Queries, q)
		}
		before := len(d.Queries)
		for _, name := range slices.Sorted(maps.Keys(part)) {
			d.collect(part[name], place+"."+name, panel)
		}
		for _, field := range joinedBy(part) {
			for i := range d.Queries[before:] {
				d.Queries[before+i].Shows = append(d.Queries[before+i].Shows, field)
			}
		}
	}
}

var legendLabel = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// joinedBy are the fields by which a panel joins its queries.
func joinedBy(panel map[string]any) (fields []string) {
	transformations, _ := panel["transformations"].([]any)
	for _, transformation := range transformations {
		transformation, _ := transformation.(map[string]any)
		options, _ := transformation["options"].(map[string]any)
		if field, ok := options["byField"].(string); ok {
			fields = append(fields, field)
		}
	}
	return fields
}

// Names of variables in a text, in any of Grafana's spellings: $name, ${name},
// ${name:format}, ${name.field}, [[name]]. A name does not begin with a digit: $1 is of a
// regular expression.
var variableReference = regexp.MustCompile(`\$\{([A-Za-z_]\w*)(?:[:.][^}]*)?\}|\$([A-Za-z_]\w*)|\[\[(\w+)(?::\w+)?\]\]`)

// Fill puts values in place of the variables in a text.
func Fill(text string, values map[string]string) (filled string, err error) {
	filled = variableReference.ReplaceAllStringFunc(text, func(reference string) string {
		value, ok := values[variableName(reference)]
		if !ok {
			err = errors.Join(err, fmt.Errorf("%s is not a variable of the dashboard", reference))
		}
		return value
	})
	return filled, err
}

func variableName(reference string) string {
	return strings.Join(variableReference.FindStringSubmatch(reference)[1:], "")
}

var dashboardLink = regexp.MustCompile(`/d/([\w-]+)`)

// Check returns what is wrong with the dashboard: with the queries of its panels,
// annotations and variables, with variables that are not there, and with links to
// dashboards whose UID is not among those given.
func (d *Dashboard) Check(c *Checker, uids []string) error {
	var problems []error
	problem := func(where string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %s: %w", d.File, where, err))
		}
	}
	values := BuiltIn(time.Minute, time.Minute, time.Hour)
	check := func(where, text string) {
		filled, err := Fill(text, values)
		if err == nil {
			err = c.Check(filled)
		}
		problem(where, err)
	}
	for _, v := range d.Variables {
		if values[v.Name] = v.Opened(); values[v.Name] == "" && v.Type != "query" {
			values[v.Name] = v.Options()[0]
		}
		expr, label, err := v.Expression()
		problem("variable "+v.Name, err)
		if expr != "" {
			check("variable "+v.Name, expr)
		}
		if values[v.Name] == "" {
			values[v.Name] = cmp.Or(c.aValueOf(label), "example")
		}
	}
	for _, q := range d.Queries {
		check(q.Where, q.Text)
		problem(q.Where, d.checkChoice(c, q))
	}
	for where, text := range d.Texts {
		for _, reference := range variableReference.FindAllString(text, -1) {
			if name := variableName(reference); !strings.HasPrefix(name, "__") {
				_, err := Fill(reference, values)
				problem(where, err)
			}
		}
		for _, found := range dashboardLink.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(uids, found[1]) {
				problem(where, fmt.Errorf("%s: no dashboard has this UID", found[0]))
			}
		}
	}
	return errors.Join(problems...)
}

// checkChoice returns which variables a query passes over, so that it shows several
// organizations, windows or attributes as one, and which labels it takes away that its
// panel shows.
func (d *Dashboard) checkChoice(c *Checker, q Query) error {
	values := BuiltIn(time.Minute, time.Minute, time.Hour)
	for _, v := range d.Variables {
		if values[v.Name] = "1"; v.Type == "query" {
			values[v.Name] = "$" + v.Name
		}
	}
	filled, err := Fill(q.Text, values)
	if err != nil {
		return nil // Check tells what is wrong
	}
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(filled)
	if err != nil {
		return nil
	}
	var problems []error
	var grouped []string
	aggregates := false
	parser.Inspect(parsed, func(node parser.Node, path []parser.Node) error {
		switch node := node.(type) {
		case *parser.AggregateExpr:
			aggregates, grouped = true, append(grouped, node.Grouping...)
		case *parser.StringLiteral: // a label that is made
			grouped = append(grouped, node.Val)
		case *parser.VectorSelector:
			for _, v := range d.Variables {
				if !c.chooses(node, path, v.Name) {
					problems = append(problems, fmt.Errorf("%s does not choose by $%s", node, v.Name))
				}
			}
			if !strings.HasSuffix(node.Name, "_in_progress") && addedUp(node.Name, path) {
				problems = append(problems, fmt.Errorf("%s is added up over replicas", node))
			}
		}
		return nil
	})
	for _, label := range q.Shows {
		if aggregates && !slices.Contains(grouped, label) {
			problems = append(problems, fmt.Errorf("the panel shows label %s, which is not kept\n\t%s", label, q.Text))
		}
	}
	return errors.Join(problems...)
}

// addedUp reports whether a series is summed or counted by the first aggregation around
// it. Replicas expose the same numbers, and see the same members come and go; only what
// each of them does may be added up.
func addedUp(name string, path []parser.Node) bool {
	for _, node := range slices.Backward(path) {
		switch node := node.(type) {
		case *parser.Call:
			if (node.Func.Name == "increase" || node.Func.Name == "rate") && !strings.HasPrefix(name, "factory_users_") {
				return false
			}
		case *parser.AggregateExpr:
			return node.Op == parser.SUM || node.Op == parser.COUNT
		}
	}
	return false
}

// chooses reports whether a selector has the value of a variable. It need not where its
// series have no such label, and where it has a fixed value or groups by the label, of
// which all values are known. What a rule makes has the labels of its organization, and
// those by which the rule groups.
func (c *Checker) chooses(selector *parser.VectorSelector, path []parser.Node, variable string) bool {
	has := c.Known[selector.Name]
	values, ok := has[variable]
	if !ok && (has != nil || !slices.Contains(append(c.Grouped[selector.Name], "cluster", "namespace", "job"), variable)) {
		return true
	}
	for _, m := range selector.LabelMatchers {
		if m.Name == variable && (m.Value == "$"+variable || len(values) > 0) {
			return true
		}
	}
	return len(values) > 0 && slices.ContainsFunc(path, func(node parser.Node) bool {
		aggregation, ok := node.(*parser.AggregateExpr)
		return ok && slices.Contains(aggregation.Grouping, variable)
	})
}

// aValueOf is a value that a label has, or empty where it can have any.
func (c *Checker) aValueOf(label string) string {
	for _, labels := range c.Known {
		if values := labels[label]; len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// Opened is the variable's value when the dashboard is opened, as the dashboard was
// saved. It is empty where Grafana chooses: the first value, or a list of all.
func (v *Variable) Opened() string {
	if v.Type == "textbox" || v.Type == "constant" {
		return v.text()
	}
	chosen, ok := v.Current.Value.([]any)
	if !ok && v.Current.Value != nil {
		chosen = []any{v.Current.Value}
	}
	var values []string
	for _, value := range chosen {
		if value == "$__all" {
			return v.AllValue
		}
		values = append(values, fmt.Sprint(value))
	}
	return strings.Join(values, "|")
}

// Options are the values to choose from, of a variable that is not a query.
func (v *Variable) Options() []string {
	options := strings.Split(v.text(), ",")
	for i, option := range options {
		if _, value, named := strings.Cut(option, " : "); named {
			option = value
		}
		options[i] = strings.TrimSpace(option)
	}
	return options
}

var variableQuery = regexp.MustCompile(`(?s)^\s*(?:label_values\(\s*(?:(.+),)?\s*(\w+)\s*\)|query_result\((.+)\))\s*$`)

// Expression is the PromQL behind a variable that is a query. Of label_values(selector,
// label), it is the series that have the values, or empty where all series do, and the
// label.
func (v *Variable) Expression() (expr, label string, err error) {
	if v.Type != "query" {
		return "", "", nil
	}
	found := variableQuery.FindStringSubmatch(v.text())
	if found == nil {
		return "", "", fmt.Errorf("query %q is neither label_values nor query_result", v.text())
	}
	if selector := strings.TrimSpace(found[1]); selector != "" {
		return fmt.Sprintf("group by (%s) (%s)", found[2], selector), found[2], nil
	}
	return found[3], found[2], nil
}

// text is the variable's query.
func (v *Variable) text() string {
	query := v.Query
	if wrapped, ok := query.(map[string]any); ok {
		query = wrapped["query"]
	}
	text, _ := query.(string)
	return text
}

// BuiltIn are the values of Grafana's own variables.
func BuiltIn(rateInterval, interval, timeRange time.Duration) map[string]string {
	return map[string]string{
		"__rate_interval": model.Duration(rateInterval).String(),
		"__interval":      model.Duration(interval).String(),
		"__interval_ms":   fmt.Sprint(interval.Milliseconds()),
		"__range":         model.Duration(timeRange).String(),
		"__range_s":       fmt.Sprint(timeRange.Seconds()),
		"__range_ms":      fmt.Sprint(timeRange.Milliseconds()),
	}
}
