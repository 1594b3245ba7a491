package drift

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Rule is a recording or an alerting rule.
type Rule struct {
	Alert, Record string // one of them is the rule's name
	Expr          string
	Annotations   map[string]string
}

// ReadRules reads a file of Prometheus rules.
func ReadRules(file string) ([]Rule, error) {
	var content struct {
		Groups []struct{ Rules []Rule }
	}
	if err := readYAML(file, &content); err != nil {
		return nil, err
	}
	var rules []Rule
	for _, group := range content.Groups {
		rules = append(rules, group.Rules...)
	}
	if len(rules) == 0 {
		return nil, fmt.Errorf("%s has no rules", file)
	}
	return rules, nil
}

// Check returns what is wrong with the rule's query, and adds the series that the rule
// makes to those that are known. The queries in annotations are run by promtool test
// rules.
func (r *Rule) Check(c *Checker) error {
	if r.Record != "" { // which may use what it recorded before
		c.Known[r.Record] = nil
	} else { // it may ask whether it fires already
		c.Known["ALERTS"] = nil
	}
	grouping, err := c.check(r.Expr)
	if err != nil {
		return fmt.Errorf("rule %s: %w", r.Alert+r.Record, err)
	}
	c.Grouped[r.Record] = append(c.Grouped[r.Record], grouping...)
	return nil
}

// ReadRuleTests reads the series and the expressions of a file for promtool test rules.
func ReadRuleTests(file string) ([]Expression, error) {
	var content struct {
		Tests []struct {
			Name           string
			InputSeries    []struct{ Series string } `yaml:"input_series"`
			PromQLExprTest []struct{ Expr string }   `yaml:"promql_expr_test"`
		}
	}
	if err := readYAML(file, &content); err != nil {
		return nil, err
	}
	var all []Expression
	for _, test := range content.Tests {
		where := fmt.Sprintf("%s: %s", filepath.Base(file), test.Name)
		for _, series := range test.InputSeries {
			all = append(all, Expression{where, series.Series})
		}
		for _, expr := range test.PromQLExprTest {
			all = append(all, Expression{where, expr.Expr})
		}
	}
	return all, nil
}

var promqlBlock = regexp.MustCompile("(?ms)^[ \t]*```promql[ \t]*\n(.*?)^[ \t]*```")

// ReadMarkdown reads the expressions in blocks that are marked as promql. An empty line
// ends an expression.
func ReadMarkdown(file string) ([]Expression, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []Expression
	for _, block := range promqlBlock.FindAllSubmatch(text, -1) {
		for _, expr := range regexp.MustCompile(`\n\s*\n`).Split(string(block[1]), -1) {
			if strings.TrimSpace(expr) != "" {
				all = append(all, Expression{filepath.Base(file), expr})
			}
		}
	}
	return all, nil
}

func readYAML(file string, content any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(text, content); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
