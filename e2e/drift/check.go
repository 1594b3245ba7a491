// Package drift holds the PromQL that the project ships - in dashboards, in alerts, in
// its documentation - against what the exporter exposes, so that none of it drifts from
// the others.
package drift

import (
	"errors"
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

// Series are time series by name, with the labels that they can have.
type Series map[string]Labels

// Labels are the values of labels, by name. A label without values can have any.
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

// Check returns the labels that the result of an expression can have, and what is wrong
// with the expression.
func (c *Checker) Check(expr string) (Labels, error) {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return nil, fmt.Errorf("%w\n\t%s", err, expr)
	}
	p := pass{checker: c}
	result := p.labelsOf(parsed)
	if err := errors.Join(p.problems...); err != nil {
		return result, fmt.Errorf("%w\n\t%s", err, expr)
	}
	return result, nil
}

// pass is one expression's way through the checker.
type pass struct {
	checker  *Checker
	problems []error
}

// labelsOf returns the labels that the result of a node can have: those of its operands,
// changed as the node changes them.
func (p *pass) labelsOf(node parser.Node) Labels {
	var operands []Labels
	result := Labels{}
	for _, child := range parser.Children(node) {
		operands = append(operands, p.labelsOf(child))
		result.add(operands[len(operands)-1])
	}
	switch n := node.(type) {
	case *parser.VectorSelector:
		return p.selected(n)
	case *parser.AggregateExpr:
		p.need(n.Op.String(), result, n.Grouping...)
		chosen := slices.Contains([]parser.ItemType{parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO}, n.Op)
		maps.DeleteFunc(result, func(name string, _ []string) bool {
			return !chosen && slices.Contains(n.Grouping, name) == n.Without
		})
		if n.Op == parser.COUNT_VALUES {
			result[n.Param.(*parser.StringLiteral).Val] = nil
		}
	case *parser.BinaryExpr:
		if n.VectorMatching != nil { // or else a side is a scalar
			return p.matched(n, operands[0], operands[1], result)
		}
	case *parser.Call:
		text := func(i int) string { return n.Args[i].(*parser.StringLiteral).Val }
		switch n.Func.Name {
		case "scalar":
			return Labels{}
		case "label_replace": // (vector, target, replacement, source, regex)
			p.need(n.Func.Name, result, text(3))
			result[text(1)] = nil
		case "label_join": // (vector, target, separator, sources ...)
			for i := range n.Args[3:] {
				p.need(n.Func.Name, result, text(3+i))
			}
			result[text(1)] = nil
		case "histogram_quantile":
			delete(result, "le")
		}
	}
	return result
}

func (p *pass) selected(selector *parser.VectorSelector) Labels {
	found := Labels{}
	known := false
	for name, has := range p.checker.Known {
		if !slices.ContainsFunc(selector.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == model.MetricNameLabel && !m.Matches(name) }) {
			found.add(has)
			p.checker.Used[name] = true
			known = true
		}
	}
	if !known {
		p.problem("no metric is %s", selector)
		return found
	}
	for _, m := range selector.LabelMatchers {
		if m.Name == model.MetricNameLabel {
			continue
		}
		p.need("selector", found, m.Name)
		if values := found[m.Name]; len(values) > 0 && !slices.ContainsFunc(values, m.Matches) {
			p.problem("no value of label %s is %s; there are %q", m.Name, m, values)
		}
	}
	return found
}

// matched returns the labels that come of an operator between two vectors.
func (p *pass) matched(n *parser.BinaryExpr, left, right, both Labels) Labels {
	matching := n.VectorMatching
	if matching.On {
		p.need("left side of "+n.Op.String(), left, matching.MatchingLabels...)
		p.need("right side of "+n.Op.String(), right, matching.MatchingLabels...)
	} else {
		p.need("either side of "+n.Op.String(), both, matching.MatchingLabels...)
	}
	result, other := left, right
	switch {
	case n.Op == parser.LOR:
		return both
	case matching.Card == parser.CardOneToMany:
		result, other = right, left
	case matching.Card == parser.CardOneToOne && matching.On:
		maps.DeleteFunc(result, func(name string, _ []string) bool { return !slices.Contains(matching.MatchingLabels, name) })
	}
	p.need("group side of "+n.Op.String(), other, matching.Include...)
	for _, name := range matching.Include {
		result[name] = other[name]
	}
	return result
}

// need has a problem with each name that is not among the labels.
func (p *pass) need(by string, among Labels, names ...string) {
	for _, name := range names {
		if _, ok := among[name]; !ok {
			p.problem("%s: no label %q, only %q", by, name, slices.Sorted(maps.Keys(among)))
		}
	}
}

func (p *pass) problem(format string, args ...any) {
	p.problems = append(p.problems, fmt.Errorf(format, args...))
}

// add adds labels, and values where those of both are known.
func (l Labels) add(more Labels) {
	for name, values := range more {
		if old, ok := l[name]; ok && (len(old) == 0 || len(values) == 0) {
			values = nil
		} else {
			values = slices.Concat(old, values)
		}
		l[name] = values
	}
}
