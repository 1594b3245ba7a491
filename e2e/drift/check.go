// Package drift holds the PromQL that the project ships - in dashboards, in alerts, in
// its documentation - against what the exporter exposes, so that none of it drifts from
// the others. Whether a query returns data is for Prometheus to say.
package drift

import (
	"errors"
	"fmt"
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

// Series are time series by name, with the labels that they can have. Where these are nil,
// a series can have any.
type Series map[string]Labels

// Labels are the values of labels, by name. A label without values can have any.
type Labels map[string][]string

// Checker parses expressions and looks up every metric that they name, and the labels by
// which they choose.
type Checker struct {
	Known Series
	// Used are the names of the metrics in the expressions checked so far.
	Used map[string]bool
	// Grouped are the labels by which the rules checked so far group what they record.
	Grouped map[string][]string
}

// NewChecker returns a checker that knows these series.
func NewChecker(known Series) *Checker {
	return &Checker{Known: known, Used: map[string]bool{}, Grouped: map[string][]string{}}
}

// Check returns what is wrong with an expression.
func (c *Checker) Check(expr string) error {
	_, err := c.check(expr)
	return err
}

// check also returns the labels by which the expression groups.
func (c *Checker) check(expr string) (grouping []string, err error) {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return nil, fmt.Errorf("%w\n\t%s", err, expr)
	}
	var problems []error
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.VectorSelector:
			problems = append(problems, c.checkSelector(node))
		case *parser.AggregateExpr:
			grouping = append(grouping, node.Grouping...)
			problems = append(problems, c.checkGrouping(node))
		}
		return nil
	})
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("%w\n\t%s", err, expr)
	}
	return grouping, nil
}

func (c *Checker) checkSelector(selector *parser.VectorSelector) error {
	known := false
	var problem error
	for name, has := range c.Known {
		if !chosenBy(selector, model.MetricNameLabel, name) {
			continue
		}
		known, c.Used[name] = true, true
		for _, m := range selector.LabelMatchers {
			values, ok := has[m.Name]
			switch {
			case m.Name == model.MetricNameLabel, has == nil:
			case !ok:
				problem = fmt.Errorf("%s has no label %q", name, m.Name)
			case len(values) > 0 && !slices.ContainsFunc(values, m.Matches):
				problem = fmt.Errorf("no value of label %s of %s is %s; there are %q", m.Name, name, m, values)
			}
		}
	}
	if !known {
		return fmt.Errorf("no metric is %s", selector)
	}
	return problem
}

// checkGrouping looks for a series with each of the labels, or a function that makes it.
func (c *Checker) checkGrouping(aggregation *parser.AggregateExpr) error {
	missing := slices.Clone(aggregation.Grouping)
	parser.Inspect(aggregation.Expr, func(node parser.Node, _ []parser.Node) error {
		missing = slices.DeleteFunc(missing, func(label string) bool {
			switch node := node.(type) {
			case *parser.StringLiteral:
				return node.Val == label
			case *parser.VectorSelector:
				has := c.Known[node.Name]
				_, ok := has[label]
				return ok || has == nil
			}
			return false
		})
		return nil
	})
	if len(missing) > 0 {
		return fmt.Errorf("nothing has the labels %q, by which is grouped", missing)
	}
	return nil
}

func chosenBy(selector *parser.VectorSelector, label, value string) bool {
	return !slices.ContainsFunc(selector.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == label && !m.Matches(value) })
}
