package factoryapi

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// maxElements bounds the number of users or rows in a page. A million of them with next
// to nothing in them fit into maxBodyBytes, and each takes more memory than its text.
const maxElements = 1 << 15

// form says what the parts of an answer are called.
type form struct {
	array, element, about string // about is the object that tells what the array is
	hasMore, cursor       string // fields of about; there is no cursor without pages
	days                  Days   // that were asked for, zero if none were
}

// decode reads the body of a 200 and puts the elements of its array into the memory of an
// empty slice. Its error and that of read name what is wrong.
//
// A listing spends its time here, so the work is split: a library checks that the
// whole body is JSON, at the speed of memory, and a walk over text that is known to be
// JSON picks the few fields that are wanted.
func decode[T any](body []byte, f form, memory []T, read func(*walker, *T) error) (all []T, next end, err error) {
	w, err := newWalker(body)
	if err != nil {
		return nil, end{}, err
	}
	found, told, answered := false, false, f.days
	for name := range w.names() {
		switch name {
		case f.array:
			found = w.peek() == '['
			all, err = elements(w, memory, f.element, read)
		case f.about:
			next, told, answered = end{}, false, f.days // of two, the last one counts
			for name := range w.names() {
				switch name {
				case f.hasMore:
					value := w.skip()
					next.hasMore, told = value == "true", value == "true" || value == "false"
				case f.cursor:
					text, _ := w.str()
					next.cursor = strings.Clone(text)
				case "start_date":
					text, _ := w.str()
					answered.First = parseDay(text)
				case "end_date":
					text, _ := w.str()
					answered.Last = parseDay(text)
				}
			}
		}
	}
	// A range that the API cut silently would make people look as if they did nothing.
	// Dates that are not written like those that were sent say nothing of that.
	cut := answered.First != 0 && answered.First != f.days.First || answered.Last != 0 && answered.Last != f.days.Last
	switch {
	case !found:
		err = fmt.Errorf("JSON without an array %q", f.array)
	case err != nil:
	case cut && f.days != Days{}:
		err = fmt.Errorf("answer is for %s, but %s was asked for", answered, f.days)
	case !told && f.cursor != "":
		err = fmt.Errorf("JSON without %q in %q", f.hasMore, f.about)
	case next.hasMore && f.cursor == "":
		err = fmt.Errorf("%q is true, but this endpoint has no pages", f.hasMore)
	case next.hasMore && next.cursor == "":
		err = fmt.Errorf("%q is true, but there is no %q", f.hasMore, f.cursor)
	}
	if err != nil {
		return nil, end{}, err
	}
	return all, next, nil
}

// elements reads the array at hand into the memory of an empty slice. The error of read
// says what is wrong with an element; the first one counts.
func elements[T any](w *walker, memory []T, noun string, read func(*walker, *T) error) (all []T, err error) {
	all = memory
	tooMany := false
	for range w.elements() {
		if tooMany = len(all) == maxElements; tooMany {
			continue // to the end of the array, from where the walk goes on
		}
		all = append(all, *new(T))
		n := len(all)
		if wrong := read(w, &all[n-1]); wrong != nil && err == nil {
			err = fmt.Errorf("%s %d of the page %w", noun, n, wrong)
		}
	}
	if tooMany {
		return nil, fmt.Errorf("more than %d elements in an array", maxElements)
	}
	return all, err
}

// errNotJSON quotes nothing, because decode does not know the key.
var errNotJSON = errors.New("not JSON, or cut short")

func (w *walker) user(u *User) error {
	if w.peek() != '{' {
		return errors.New("is not an object")
	}
	for name := range w.names() {
		switch name {
		case "id":
			u.ID, _ = w.str()
		case "email":
			u.Email, _ = w.str()
		case "createdAt":
			u.CreatedAt = w.timestamp()
		case "lastSignInAt":
			u.LastSignInAt = w.timestamp()
		case "metadata":
			u.Metadata = Metadata{walker{text: w.skip(), plain: w.plain}}
		}
	}
	if u.ID == "" {
		return errors.New("has no \"id\"")
	}
	return nil
}

func (w *walker) timestamp() Timestamp {
	if text, ok := w.str(); ok {
		return ParseTimestamp(text)
	}
	if w.skip() == "null" {
		return Timestamp{}
	}
	return Timestamp{State: Invalid}
}

// walker is a position in JSON text that is known to be valid. So nothing here can
// fail; a value can only be of another type than expected.
type walker struct {
	text  string
	plain bool // see isPlain
	pos   int
}

// newWalker returns a walker at the object that body is.
func newWalker(body []byte) (*walker, error) {
	// Invalid UTF-8 is replaced where it is read. If a name is repeated, the last one
	// counts.
	if !jsontext.Value(body).IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) {
		return nil, errNotJSON
	}
	text := string(body)
	w := &walker{text: text, plain: isPlain(text)}
	if w.peek() != '{' {
		return nil, errors.New("JSON, but not an object")
	}
	return w, nil
}

// isPlain reports whether the strings in text are written without escapes and in valid
// UTF-8, so that the next quote ends a string. Almost every page is plain.
func isPlain(text string) bool {
	return !strings.Contains(text, `\`) && utf8.ValidString(text)
}

// peek returns the first byte of the next token, and 0 at the end. It skips white
// space, commas and colons, which are known to be in the right places.
func (w *walker) peek() byte {
	for ; w.pos < len(w.text); w.pos++ {
		if c := w.text[w.pos]; c > ' ' && c != ',' && c != ':' {
			return c
		}
	}
	return 0
}

// names yields the names in the object at hand, and nothing if it is not an object.
// The loop's body may read the value or leave it.
func (w *walker) names() iter.Seq[string] { return w.items('{') }

// elements yields once for each element of the array at hand, in the same way.
func (w *walker) elements() iter.Seq[string] { return w.items('[') }

// items yields the name of each item of the object or array that begins so. Whoever stops
// before the last one cannot go on behind it.
func (w *walker) items(opening byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		if w.peek() != opening {
			return
		}
		w.pos++
		for c := w.peek(); c != '}' && c != ']' && c != 0; c = w.peek() {
			name := ""
			if opening == '{' {
				name, _ = w.str()
				w.peek()
			}
			value := w.pos
			if !yield(name) {
				return
			}
			if w.pos == value {
				w.skip()
			}
		}
		w.pos++
	}
}

func (w *walker) skip() string {
	w.peek()
	start := w.pos
	for depth := 0; ; {
		switch w.peek() {
		case '{', '[':
			depth++
			w.pos++
		case '}', ']':
			depth--
			w.pos++
		case '"':
			w.quoted()
		default:
			w.pos += literal(w.text[w.pos:])
		}
		if depth == 0 {
			return w.text[start:w.pos]
		}
	}
}

// str reads the value at hand if it is a string. Invalid UTF-8 becomes U+FFFD.
func (w *walker) str() (string, bool) {
	if w.peek() != '"' {
		return "", false
	}
	raw := w.quoted()
	if text := raw[1 : len(raw)-1]; w.plain || isPlain(text) {
		return text, true
	}
	unquoted, _ := jsontext.AppendUnquote(nil, raw) // its error says what was mended
	return string(unquoted), true
}

// quoted skips the string at hand and returns it as it is written.
func (w *walker) quoted() string {
	start := w.pos
	w.pos++
	for !w.plain && w.text[w.pos] != '"' {
		if w.text[w.pos] == '\\' {
			w.pos++ // an escaped quote does not end the string
		}
		w.pos++
	}
	w.pos += strings.IndexByte(w.text[w.pos:], '"') + 1
	return w.text[start:w.pos]
}

// scalar reads the value at hand as text if it is a string, a number or a boolean.
func (w *walker) scalar() (string, bool) {
	if text, ok := w.str(); ok {
		return text, true
	}
	switch text := w.skip(); text[0] {
	case '{', '[', 'n':
		return "", false
	default:
		return text, true
	}
}

// literal returns the length of the number, true, false or null that text begins with.
func literal(text string) int {
	if end := strings.IndexAny(text, ",]} \t\r\n"); end >= 0 {
		return end
	}
	return len(text)
}
