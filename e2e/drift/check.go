// Package drift holds the PromQL that the project ships - in dashboards, in alerts, in its
// documentation - against what the exporter exposes, so that none of it drifts from the others.
package drift

import (
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Expression is PromQL, and the place where it was found.
type Expression struct {
	Where string
	Text  string
}

// Series are time series by name, each with its labels and the values seen of them. Of a label without
// values, any may come.
type Series map[string]Labels

// Labels are the labels that a time series can have.
type Labels map[string][]string

// Checker parses expressions and looks up every metric and label that they name.
type Checker struct {
	Known Series
	// Used are the names of the metrics in the expressions checked so far.
	Used map[string]bool
}

// NewChecker returns a checker that knows these series.
func NewChecker(known Series) *Checker {
	return &Checker{Known: known, Used: map[string]bool{}}
}

// Check returns what is wrong with an expression, and the labels that its result may have.
func (c *Checker) Check(e Expression) (Labels, []error) {
	p := pass{checker: c}
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(e.Text)
	if err != nil {
		return nil, []error{fmt.Errorf("%s: %w\n\t%s", e.Where, err, e.Text)}
	}
	result := p.labelsOf(expr)
	for i, problem := range p.problems {
		p.problems[i] = fmt.Errorf("%s: %w\n\t%s", e.Where, problem, e.Text)
	}
	return result, p.problems
}

// CheckRule checks a rule's queries, and adds the series that the rule makes to those that are known.
func (c *Checker) CheckRule(r Rule) []error {
	made, problems := c.Check(r.Expr)
	for _, template := range r.Templates {
		_, more := c.Check(template)
		problems = append(problems, more...)
	}
	made = maps.Clone(made)
	if made == nil {
		made = Labels{}
	}
	for name := range r.Labels {
		made[name] = nil
	}
	if r.Record != "" {
		c.Known[r.Record] = made
		return problems
	}
	for _, name := range []string{"ALERTS", "ALERTS_FOR_STATE"} {
		known := union(c.Known[name], made)
		known["alertname"] = append(known["alertname"], r.Alert)
		known["alertstate"] = []string{"pending", "firing"}
		c.Known[name] = known
	}
	return problems
}

// pass is one expression's way through the checker.
type pass struct {
	checker  *Checker
	problems []error
}

func (p *pass) problem(format string, args ...any) {
	p.problems = append(p.problems, fmt.Errorf(format, args...))
}

// labelsOf returns the labels that the series of an expression's result may have.
func (p *pass) labelsOf(expr parser.Expr) Labels {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return p.selected(e)
	case *parser.MatrixSelector:
		return p.labelsOf(e.VectorSelector)
	case *parser.SubqueryExpr:
		return p.labelsOf(e.Expr)
	case *parser.ParenExpr:
		return p.labelsOf(e.Expr)
	case *parser.UnaryExpr:
		return p.labelsOf(e.Expr)
	case *parser.AggregateExpr:
		return p.aggregated(e)
	case *parser.BinaryExpr:
		return p.joined(e)
	case *parser.Call:
		return p.called(e)
	}
	return Labels{}
}

func (p *pass) selected(e *parser.VectorSelector) Labels {
	found := Labels{}
	for name, known := range p.checker.Known {
		if matches(e.LabelMatchers, model.MetricNameLabel, name) {
			found = union(found, known)
			p.checker.Used[name] = true
		}
	}
	if len(found) == 0 {
		p.problem("no metric is %s", e)
		return found
	}
	for _, m := range e.LabelMatchers {
		if m.Name == model.MetricNameLabel {
			continue
		}
		values := p.wanted("selector", found, m.Name)
		if len(values) > 0 && !slices.ContainsFunc(values, m.Matches) && !m.Matches("") {
			p.problem("no value of label %s is %s; there are %q", m.Name, m, values)
		}
	}
	return found
}

func (p *pass) aggregated(e *parser.AggregateExpr) Labels {
	operand := p.labelsOf(e.Expr)
	grouped := Labels{}
	for _, name := range e.Grouping {
		grouped[name] = p.wanted(e.Op.String(), operand, name)
	}
	switch e.Op {
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
		return operand // chosen, not merged
	}
	if e.Without {
		grouped = without(operand, e.Grouping)
	}
	if e.Op == parser.COUNT_VALUES {
		grouped[e.Param.(*parser.StringLiteral).Val] = nil
	}
	return grouped
}

func (p *pass) joined(e *parser.BinaryExpr) Labels {
	left, right := p.labelsOf(e.LHS), p.labelsOf(e.RHS)
	matching := e.VectorMatching
	if matching == nil { // one side is a scalar
		return union(left, right)
	}
	for _, name := range matching.MatchingLabels {
		if matching.On {
			p.wanted("left side of "+e.Op.String(), left, name)
			p.wanted("right side of "+e.Op.String(), right, name)
		} else {
			p.wanted("either side of "+e.Op.String(), union(left, right), name)
		}
	}
	switch e.Op {
	case parser.LAND, parser.LUNLESS:
		return left
	case parser.LOR:
		return union(left, right)
	}
	many, one := left, right
	if matching.Card == parser.CardOneToMany {
		many, one = right, left
	}
	result := maps.Clone(many)
	if matching.Card == parser.CardOneToOne && matching.On {
		result = without(many, slices.DeleteFunc(slices.Collect(maps.Keys(many)), func(name string) bool {
			return slices.Contains(matching.MatchingLabels, name)
		}))
	}
	for _, name := range matching.Include {
		result[name] = p.wanted("group side of "+e.Op.String(), one, name)
	}
	return result
}

func (p *pass) called(e *parser.Call) Labels {
	operand := Labels{}
	for _, arg := range e.Args {
		operand = union(operand, p.labelsOf(arg))
	}
	text := func(i int) string { return e.Args[i].(*parser.StringLiteral).Val }
	switch e.Func.Name {
	case "scalar", "time":
		return Labels{}
	case "label_replace": // (vector, target, replacement, source, regex)
		p.wanted(e.Func.Name, operand, text(3))
		return union(operand, Labels{text(1): nil})
	case "label_join": // (vector, target, separator, sources ...)
		for i := 3; i < len(e.Args); i++ {
			p.wanted(e.Func.Name, operand, text(i))
		}
		return union(operand, Labels{text(1): nil})
	case "histogram_quantile":
		return without(operand, []string{"le"})
	}
	return operand
}

// wanted returns the known values of a label, and has a problem if there is no such label.
func (p *pass) wanted(by string, among Labels, name string) []string {
	values, ok := among[name]
	if !ok {
		p.problem("%s: no label %q, only %q", by, name, slices.Sorted(maps.Keys(among)))
	}
	return values
}

// matches reports whether the matchers of one label, if any, fit a value.
func matches(matchers []*labels.Matcher, name, value string) bool {
	for _, m := range matchers {
		if m.Name == name && !m.Matches(value) {
			return false
		}
	}
	return true
}

func union(a, b Labels) Labels {
	both := maps.Clone(a)
	if both == nil {
		both = Labels{}
	}
	for name, values := range b {
		if old, ok := both[name]; ok && (len(old) == 0 || len(values) == 0) {
			both[name] = nil // any
			continue
		}
		both[name] = append(slices.Clone(both[name]), values...)
	}
	return both
}

func without(all Labels, names []string) Labels {
	rest := maps.Clone(all)
	for _, name := range names {
		delete(rest, name)
	}
	return rest
}
