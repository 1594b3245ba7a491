package drift

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Dashboard is a Grafana dashboard, as far as PromQL is concerned.
type Dashboard struct {
	File      string
	Variables []Variable
	Panels    []Panel // those inside rows as well
}

// Variable is a template variable.
type Variable struct {
	Name       string
	Type       string   // "query", "custom", "interval", "textbox", "constant" or "datasource"
	Query      string   // of a query variable: label_values(...) or query_result(...)
	Options    []string // what can be chosen without a query; of a text box, its default alone
	Current    string   // the value when the dashboard is opened; empty: the first of the query's
	Multi      bool     // more than one value at once
	IncludeAll bool
	AllValue   string // stands for all values; empty: a list of them does
}

// Panel is a panel with at least one query.
type Panel struct {
	Title   string
	Queries []Query
}

// Query is a panel's query, for one instant or for the dashboard's time range.
type Query struct {
	Expression
	Instant bool
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
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		dashboard, err := parseDashboard(filepath.Base(file), text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		dashboards = append(dashboards, dashboard)
	}
	return dashboards, nil
}

// Expressions are those of the panels and of the variables.
func (d *Dashboard) Expressions() []Expression {
	var all []Expression
	for _, panel := range d.Panels {
		for _, query := range panel.Queries {
			all = append(all, query.Expression)
		}
	}
	for _, v := range d.Variables {
		if expr, ok := v.Expression(); ok {
			all = append(all, Expression{Where: fmt.Sprintf("%s: variable %s", d.File, v.Name), Text: expr})
		}
	}
	return all
}

// Values are those that the variables have when the dashboard is opened, as far as the dashboard itself
// tells.
func (d *Dashboard) Values() map[string]string {
	values := map[string]string{}
	for _, v := range d.Variables {
		if v.Current != "" {
			values[v.Name] = v.Current
		}
	}
	return values
}

// BuiltIn are the values of Grafana's own variables.
func BuiltIn(rateInterval, interval, timeRange time.Duration) map[string]string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	duration := func(d time.Duration) string { return number(d.Milliseconds()) + "ms" }
	return map[string]string{
		"__rate_interval": duration(rateInterval),
		"__interval":      duration(interval),
		"__interval_ms":   number(interval.Milliseconds()),
		"__range":         duration(timeRange),
		"__range_s":       number(int64(timeRange.Seconds())),
		"__range_ms":      number(timeRange.Milliseconds()),
	}
}

var variableReference = regexp.MustCompile(`\$\{(\w+)(?::\w+)?\}|\$(\w+)|\[\[(\w+)\]\]`)

// Fill puts values in place of the variables in a text, in any of Grafana's spellings.
func Fill(text string, values map[string]string) (string, error) {
	var err error
	filled := variableReference.ReplaceAllStringFunc(text, func(reference string) string {
		name := strings.Join(variableReference.FindStringSubmatch(reference)[1:], "")
		value, ok := values[name]
		if !ok {
			err = errors.Join(err, fmt.Errorf("variable %s is not one of the dashboard", reference))
		}
		return value
	})
	return filled, err
}

var (
	labelValues = regexp.MustCompile(`^\s*label_values\(\s*(?:(.+),)?\s*(\w+)\s*\)\s*$`)
	queryResult = regexp.MustCompile(`^\s*query_result\((.+)\)\s*$`)
)

// Expression is the PromQL in the variable's query, if there is some: for label_values, a selector
// and an aggregation by the label.
func (v *Variable) Expression() (string, bool) {
	if selector, label, ok := v.LabelValues(); ok && selector != "" {
		return fmt.Sprintf("group by (%s) (%s)", label, selector), true
	}
	if m := queryResult.FindStringSubmatch(v.Query); m != nil {
		return m[1], true
	}
	return "", false
}

// LabelValues splits a query label_values(selector, label). The selector may be empty.
func (v *Variable) LabelValues() (selector, label string, ok bool) {
	m := labelValues.FindStringSubmatch(v.Query)
	if m == nil {
		return "", "", false
	}
	return strings.TrimSpace(m[1]), m[2], true
}

// The JSON model, as far as it is of interest.
type (
	modelDashboard struct {
		Panels      []modelPanel
		Templating  struct{ List []modelVariable }
		Annotations struct {
			List []struct{ Name, Expr string }
		}
	}
	modelPanel struct {
		Title   string
		Panels  []modelPanel
		Targets []struct {
			RefID, Expr string
			Instant     bool
		}
	}
	modelVariable struct {
		Name, Type, AllValue string
		Multi, IncludeAll    bool
		Query                json.RawMessage                 // a string, or an object that holds one
		Current              struct{ Value json.RawMessage } // a string or a list
	}
)

func parseDashboard(file string, text []byte) (Dashboard, error) {
	var model modelDashboard
	if err := json.Unmarshal(text, &model); err != nil {
		return Dashboard{}, err
	}
	d := Dashboard{File: file}
	d.addPanels(model.Panels)
	for _, a := range model.Annotations.List {
		if a.Expr != "" {
			where := fmt.Sprintf("%s: annotation %q", file, a.Name)
			d.Panels = append(d.Panels, Panel{Title: a.Name, Queries: []Query{{Expression: Expression{where, a.Expr}}}})
		}
	}
	for _, m := range model.Templating.List {
		v, err := m.variable()
		if err != nil {
			return Dashboard{}, fmt.Errorf("variable %s: %w", m.Name, err)
		}
		d.Variables = append(d.Variables, v)
	}
	return d, nil
}

func (d *Dashboard) addPanels(panels []modelPanel) {
	for _, p := range panels {
		panel := Panel{Title: p.Title}
		for _, target := range p.Targets {
			where := fmt.Sprintf("%s: panel %q, query %s", d.File, p.Title, target.RefID)
			panel.Queries = append(panel.Queries, Query{Expression{where, target.Expr}, target.Instant})
		}
		if len(panel.Queries) > 0 {
			d.Panels = append(d.Panels, panel)
		}
		d.addPanels(p.Panels)
	}
}

func (m *modelVariable) variable() (Variable, error) {
	v := Variable{Name: m.Name, Type: m.Type, Multi: m.Multi, IncludeAll: m.IncludeAll, AllValue: m.AllValue, Current: m.current()}
	query, err := textOf(m.Query)
	if err != nil {
		return v, err
	}
	switch m.Type {
	case "query":
		v.Query = query
		if _, ok := v.Expression(); !ok {
			if _, _, ok := v.LabelValues(); !ok {
				return v, fmt.Errorf("query %q is neither label_values nor query_result", query)
			}
		}
	case "custom", "interval":
		for option := range strings.SplitSeq(query, ",") {
			if _, value, named := strings.Cut(option, " : "); named {
				option = value
			}
			v.Options = append(v.Options, strings.TrimSpace(option))
		}
	case "textbox", "constant":
		v.Options, v.Current = []string{query}, query
	}
	return v, nil
}

// current is the value that the dashboard was saved with, empty if there is none.
func (m *modelVariable) current() string {
	var values []string
	var value string
	if json.Unmarshal(m.Current.Value, &value) == nil && value != "" {
		values = []string{value}
	} else {
		_ = json.Unmarshal(m.Current.Value, &values) // whatever else it may be is no value
	}
	if slices.Equal(values, []string{"$__all"}) {
		return m.AllValue
	}
	return strings.Join(values, "|")
}

// textOf reads a variable's query, which newer versions of Grafana wrap in an object.
func textOf(raw json.RawMessage) (string, error) {
	var wrapped struct{ Query string }
	var text string
	if len(raw) == 0 {
		return "", nil
	}
	if json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	err := json.Unmarshal(raw, &wrapped)
	return wrapped.Query, err
}
