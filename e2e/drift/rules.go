package drift

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template/parse"

	"go.yaml.in/yaml/v4"
)

// Rule is a recording or an alerting rule.
type Rule struct {
	Alert, Record string // one of them is the rule's name
	Expr          Expression
	Labels        map[string]string
	Annotations   map[string]string
	Templates     []Expression // the queries inside labels and annotations
}

// ReadRules reads a file of Prometheus rules.
func ReadRules(file string) ([]Rule, error) {
	var content struct {
		Groups []struct {
			Rules []struct {
				Alert, Record, Expr string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := readYAML(file, &content); err != nil {
		return nil, err
	}
	var rules []Rule
	for _, group := range content.Groups {
		for _, r := range group.Rules {
			where := fmt.Sprintf("%s: %s", filepath.Base(file), r.Alert+r.Record)
			rule := Rule{Alert: r.Alert, Record: r.Record, Labels: r.Labels, Annotations: r.Annotations, Expr: Expression{where, r.Expr}}
			for _, texts := range []map[string]string{r.Labels, r.Annotations} {
				for name, text := range texts {
					queries, err := templateQueries(text)
					if err != nil {
						return nil, fmt.Errorf("%s: %s: %w", where, name, err)
					}
					for _, query := range queries {
						rule.Templates = append(rule.Templates, Expression{where + ", " + name, query})
					}
				}
			}
			rules = append(rules, rule)
		}
	}
	if len(rules) == 0 {
		return nil, fmt.Errorf("%s has no rules", file)
	}
	return rules, nil
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

// ReadMarkdown reads the expressions in blocks that are marked as promql. An empty line ends an
// expression.
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

// templateQueries returns the queries that a template of an annotation makes: the texts that it hands
// to the function query, by themselves or through printf.
func templateQueries(text string) ([]string, error) {
	tree := parse.New("annotation")
	tree.Mode = parse.SkipFuncCheck
	// As Prometheus does, which declares these variables.
	text = `{{ $labels := .Labels }}{{ $externalLabels := .Labels }}{{ $externalURL := "" }}{{ $value := .Value }}` + text
	if _, err := tree.Parse(text, "", "", map[string]*parse.Tree{}); err != nil {
		return nil, err
	}
	var queries []string
	var visit func(parse.Node)
	visitBranch := func(b *parse.BranchNode) {
		visit(b.Pipe)
		visit(b.List)
		if b.ElseList != nil {
			visit(b.ElseList)
		}
	}
	visit = func(node parse.Node) {
		switch n := node.(type) {
		case *parse.ListNode:
			for _, child := range n.Nodes {
				visit(child)
			}
		case *parse.IfNode:
			visitBranch(&n.BranchNode)
		case *parse.RangeNode:
			visitBranch(&n.BranchNode)
		case *parse.WithNode:
			visitBranch(&n.BranchNode)
		case *parse.ActionNode:
			visit(n.Pipe)
		case *parse.PipeNode:
			queries = append(queries, pipeQueries(n)...)
			for _, command := range n.Cmds {
				for _, arg := range command.Args {
					visit(arg)
				}
			}
		}
	}
	visit(tree.Root)
	return queries, nil
}

// pipeQueries returns the query of "text" | query, of printf "text" ... | query, and of query "text".
func pipeQueries(pipe *parse.PipeNode) []string {
	var queries []string
	for i, command := range pipe.Cmds {
		if command.Args[0].String() != "query" {
			continue
		}
		args := command.Args[1:]
		if len(args) == 0 && i > 0 {
			args = pipe.Cmds[i-1].Args
		}
		at := slices.IndexFunc(args, func(arg parse.Node) bool { return arg.Type() == parse.NodeString })
		if at < 0 {
			queries = append(queries, command.String()+" of something that is not a text") // will not parse
			continue
		}
		text := args[at].(*parse.StringNode).Text
		queries = append(queries, strings.NewReplacer("%q", `"example"`, "%%", "%").Replace(text))
	}
	return queries
}
