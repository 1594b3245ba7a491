package userlist

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/mattn/go-runewidth"

	"factory_exporter/factoryapi"
)

// maxCell is the width of a cell of the table, at most.
const maxCell = 60

// column is a column of the list. An empty cell stands for what is not known.
type column struct {
	name   string
	cell   func(*user) string
	number bool
}

func (l *List) columns(now time.Time) []column {
	columns := []column{
		{name: "id", cell: func(u *user) string { return u.id }},
		{name: "email", cell: func(u *user) string { return u.email }},
		{name: "created", cell: func(u *user) string { return timestamp(u.created) }},
		{name: "last_sign_in", cell: func(u *user) string { return timestamp(u.signIn) }},
		{name: "idle_days", number: true, cell: func(u *user) string {
			if u.signIn.State != factoryapi.Valid {
				return ""
			}
			return strconv.Itoa(int(max(0, now.Sub(u.signIn.Time)) / (24 * time.Hour)))
		}},
	}
	for i, attribute := range l.GroupBy {
		columns = append(columns, column{name: printable(attribute.String()), cell: func(u *user) string { return u.attributes[i] }})
	}
	if l.Usage {
		columns = append(columns,
			column{name: "last_used", cell: func(u *user) string {
				if u.lastUsed == 0 {
					return ""
				}
				return u.lastUsed.String()
			}},
			column{name: "credits", number: true, cell: func(u *user) string { return u.credits }})
	}
	return columns
}

func timestamp(t factoryapi.Timestamp) string {
	if t.State != factoryapi.Valid {
		return ""
	}
	return t.Time.Format(time.RFC3339)
}

// write writes the users in the format of the list.
func (l *List) write(w io.Writer, users []user, now time.Time) error {
	columns := l.columns(now)
	switch l.Format {
	case "csv":
		return writeCSV(w, columns, users)
	case "json":
		return writeJSON(w, columns, users)
	}
	return writeTable(w, columns, users)
}

func writeCSV(w io.Writer, columns []column, users []user) error {
	lines := csv.NewWriter(w) // its errors are those of Error
	row := make([]string, len(columns))
	for i, column := range columns {
		row[i] = harmless(column.name)
	}
	_ = lines.Write(row)
	for u := range users {
		for i, column := range columns {
			row[i] = harmless(column.cell(&users[u]))
		}
		_ = lines.Write(row)
	}
	lines.Flush()
	return lines.Error()
}

// writeJSON writes an object a line.
func writeJSON(w io.Writer, columns []column, users []user) error {
	lines := jsontext.NewEncoder(w)
	for u := range users {
		_ = lines.WriteToken(jsontext.BeginObject) // only the last error counts
		for _, column := range columns {
			_ = lines.WriteToken(jsontext.String(column.name))
			switch cell := column.cell(&users[u]); {
			case cell == "":
				_ = lines.WriteToken(jsontext.Null)
			case column.number:
				_ = lines.WriteValue(jsontext.Value(cell))
			default:
				_ = lines.WriteToken(jsontext.String(cell))
			}
		}
		if err := lines.WriteToken(jsontext.EndObject); err != nil {
			return err
		}
	}
	return nil
}

// writeTable aligns the columns as a terminal shows them.
func writeTable(w io.Writer, columns []column, users []user) error {
	terminal := runewidth.Condition{StrictEmojiNeutral: true} // not that of the environment
	widths := make([]int, len(columns))
	for i, column := range columns {
		widths[i] = terminal.StringWidth(column.name)
		for u := range users {
			widths[i] = max(widths[i], terminal.StringWidth(column.cell(&users[u])))
		}
		widths[i] = min(widths[i], maxCell)
	}
	line := func(cell func(column) string) error {
		var text strings.Builder
		end := 0 // of the last cell that has something
		for i, column := range columns {
			cut := terminal.Truncate(cell(column), widths[i], "…")
			text.WriteString(cut)
			if cut != "" {
				end = text.Len()
			}
			text.WriteString(strings.Repeat(" ", widths[i]-terminal.StringWidth(cut)+2))
		}
		_, err := io.WriteString(w, text.String()[:end]+"\n")
		return err
	}
	if err := line(func(c column) string { return c.name }); err != nil {
		return err
	}
	for u := range users {
		if err := line(func(c column) string { return c.cell(&users[u]) }); err != nil {
			return err
		}
	}
	return nil
}

// printable keeps the text of a member from commanding a terminal, and on its line. Blanks
// of any kind stay blanks.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r), unicode.Is(unicode.Zs, r), r == '\u200c', r == '\u200d': // the last two join letters
			return r
		case unicode.IsSpace(r), r == '\u2028', r == '\u2029':
			return ' '
		default:
			return unicode.ReplacementChar
		}
	}, text)
}

// harmless keeps a spreadsheet from taking a cell for a formula, or a part of it, should
// the spreadsheet split it at a semicolon, a tab or a bar. Such a part gets an apostrophe.
func harmless(cell string) string {
	const signs = "=+-@＝＋－＠﹦﹢﹣﹫−"
	if !strings.ContainsAny(cell, signs) {
		return cell
	}
	blank := func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("\"\u200c\u200d", r) }
	var text strings.Builder
	for begin := 0; begin < len(cell); {
		end := len(cell)
		if separator := strings.IndexAny(cell[begin:], ";|\t"); separator >= 0 {
			end = begin + separator + 1
		}
		part := cell[begin:end]
		if strings.IndexAny(strings.TrimLeftFunc(part, blank), signs) == 0 {
			text.WriteByte('\'')
		}
		text.WriteString(part)
		begin = end
	}
	return text.String()
}
