package fakeapi

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// LastPage as the page of a [Fault] is the last page of a listing, whatever its number.
const LastPage = -1

// Fault changes the answers to requests that the server would have answered with a page.
type Fault struct {
	Path  string   // what the path of the endpoint begins with, such as AnalyticsPath; empty: any
	Page  int      // the number of the page in its listing, from 1; 0: any page; or LastPage
	Times int      // how many requests are changed; 0: all, forever
	Serve Behavior // what happens to them
}

func (f Fault) fits(path string, p page) bool {
	return strings.HasPrefix(path, f.Path) && (f.Page == 0 || f.Page == p.number || f.Page == LastPage && p.last)
}

// Behavior answers a request in place of the API. page is the body that the API would
// have sent with status 200; it may be changed, and not be kept. A behavior that waits
// ends when the request's context does, which a server that has read the whole request
// ends when the client goes away.
type Behavior func(w http.ResponseWriter, r *http.Request, page []byte)

// Status answers with an HTTP status, the error body of the API document and a header of
// the given names and values, in turns:
//
//	Status(http.StatusTooManyRequests, "Retry-After", "7")
func Status(code int, header ...string) Behavior {
	serve := Refuse(code, "this request was chosen to fail")
	for i := 0; i < len(header); i += 2 {
		serve = WithHeader(header[i], header[i+1], serve)
	}
	return serve
}

// Refuse answers with an HTTP status and the documented error body with this detail.
func Refuse(code int, detail string) Behavior {
	return func(w http.ResponseWriter, r *http.Request, _ []byte) { sendError(w, r, code, detail) }
}

// Respond answers with this status, content type and body.
func Respond(status int, contentType, body string) Behavior {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// Redirect answers with status 302 and a Location.
func Redirect(to string) Behavior { return Status(http.StatusFound, "Location", to) }

// Edit sends the page after change was made to it. Numbers in it are of type
// [json.Number].
func Edit(change func(page map[string]any)) Behavior {
	return func(w http.ResponseWriter, _ *http.Request, page []byte) {
		decoder := json.NewDecoder(bytes.NewReader(page))
		decoder.UseNumber()
		var content map[string]any
		if err := decoder.Decode(&content); err != nil {
			panic(err) // it was made here
		}
		change(content)
		send(w, http.StatusOK, marshal(content))
	}
}

// Cursor sends the page with this cursor to a next one, also on the last page.
func Cursor(cursor string) Behavior {
	return Edit(func(page map[string]any) {
		page["pagination"] = map[string]any{"hasMore": true, "nextCursor": cursor}
	})
}

// Replace sends the page with all occurrences of old replaced. The bytes need not be
// JSON, or UTF-8.
func Replace(old, new string) Behavior {
	return func(w http.ResponseWriter, _ *http.Request, page []byte) {
		send(w, http.StatusOK, bytes.ReplaceAll(page, []byte(old), []byte(new)))
	}
}

// EditUsers sends the page after change was made to each of its users.
func EditUsers(change func(user map[string]any)) Behavior {
	return Edit(func(page map[string]any) {
		for _, user := range page["users"].([]any) {
			change(user.(map[string]any))
		}
	})
}

// CursorAgain sends the page with the cursor that led to it, which the first page has not.
func CursorAgain() Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		Cursor(r.URL.Query().Get("cursor"))(w, r, page)
	}
}

// PageWith sends the page with another status.
func PageWith(status int) Behavior {
	return func(w http.ResponseWriter, _ *http.Request, page []byte) { send(w, status, page) }
}

// Large sends a valid page with a field in front that the API document does not know,
// which holds size bytes.
func Large(size int) Behavior {
	padding := []byte(`{"padding":"` + strings.Repeat("x", size) + `",`) // made once, as it is sent often
	return func(w http.ResponseWriter, _ *http.Request, page []byte) {
		send(w, http.StatusOK, padding, page[len("{"):])
	}
}

// CutJSON sends the first half of the page as a complete HTTP message.
func CutJSON() Behavior { return Half(PageWith(http.StatusOK)) }

// CutTransfer sends the first half of the page, of which it promised the whole, and
// closes the connection.
func CutTransfer() Behavior {
	return func(w http.ResponseWriter, _ *http.Request, page []byte) {
		sendHalf(w, page)
		panic(http.ErrAbortHandler) // net/http closes the connection, silently
	}
}

// Reset ends the connection before any byte of an answer: with a TCP reset if it is TCP,
// by closing it otherwise.
//
// An [http.Transport] repeats a GET by itself when that happens on a connection that it
// has used before. To be seen by the client, a reset needs a new connection, or has to
// happen twice.
func Reset() Behavior {
	return onConnection(func(conn net.Conn) {
		if tcp, ok := conn.(interface{ SetLinger(seconds int) error }); ok {
			_ = tcp.SetLinger(0) // whether or not this works, the connection ends
		}
	})
}

// Hang sends nothing, not even a header.
func Hang() Behavior {
	return func(_ http.ResponseWriter, r *http.Request, _ []byte) {
		<-r.Context().Done()
	}
}

// HangInBody sends the first half of the page, and then nothing more.
func HangInBody() Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		sendHalf(w, page)
		<-r.Context().Done()
	}
}

func sendHalf(w http.ResponseWriter, page []byte) {
	promise(w, page)
	_, _ = w.Write(page[:len(page)/2])
	flush(w)
}

// Trickle sends the page a byte at a time, with a pause between two.
func Trickle(every time.Duration) Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		promise(w, page)
		for i := range page {
			if i > 0 && !wait(r.Context(), every) {
				return
			}
			if _, err := w.Write(page[i : i+1]); err != nil {
				return
			}
			flush(w)
		}
	}
}

// Endless sends the start of a page whose first id never ends.
func Endless() Behavior {
	return endless(http.StatusOK, `{"pagination":{"hasMore":false,"nextCursor":null},"users":[{"id":"`, "x")
}

// EndlessError answers with a status and a body that repeats text forever.
func EndlessError(status int, text string) Behavior { return endless(status, "", text) }

// endless sends a body that never ends, until the client goes away.
func endless(status int, begin, text string) Behavior {
	chunk := strings.Repeat(text, 1+(32<<10)/len(text))
	return func(w http.ResponseWriter, r *http.Request, _ []byte) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, err := io.WriteString(w, begin)
		for err == nil && r.Context().Err() == nil {
			_, err = io.WriteString(w, chunk)
		}
	}
}

// EndlessHeader sends a status line, and then the same header line forever.
func EndlessHeader(line string) Behavior {
	return onConnection(func(conn net.Conn) {
		_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		for err == nil {
			_, err = io.WriteString(conn, line+"\r\n")
		}
	})
}

// Raw sends text, which need not be HTTP, and closes the connection.
func Raw(text string) Behavior {
	return onConnection(func(conn net.Conn) { _, _ = io.WriteString(conn, text) })
}

// WithHeader adds a header to the answer of then.
func WithHeader(name, value string, then Behavior) Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		w.Header().Add(name, value)
		then(w, r, page)
	}
}

// Compressed compresses the answer of then with gzip, for clients that ask for that.
// Others get status 406.
func Compressed(then Behavior) Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			sendError(w, r, http.StatusNotAcceptable, "this client does not ask for gzip")
			return
		}
		var body bytes.Buffer
		zip := gzip.NewWriter(&body)
		a := answer{ResponseWriter: w, body: zip}
		then(&a, r, page)
		_ = zip.Close() // the buffer takes everything
		w.Header().Set("Content-Encoding", "gzip")
		a.send(body.Bytes())
	}
}

// Half sends the first half of the answer of then as a complete HTTP message.
func Half(then Behavior) Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		var body bytes.Buffer
		a := answer{ResponseWriter: w, body: &body}
		then(&a, r, page)
		a.send(body.Bytes()[:body.Len()/2])
	}
}

// answer is what a behavior answers. Its status and its body are held back.
type answer struct {
	http.ResponseWriter
	status int
	body   io.Writer
}

func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// send sends the answer with another body.
func (a *answer) send(body []byte) {
	a.Header().Set("Content-Length", strconv.Itoa(len(body)))
	a.ResponseWriter.WriteHeader(cmp.Or(a.status, http.StatusOK))
	_, _ = a.ResponseWriter.Write(body)
}

// onConnection hands a request's connection over to serve, and closes it then. HTTP/2 has
// none to hand over: there, the stream is reset.
func onConnection(serve func(net.Conn)) Behavior {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer conn.Close()
		serve(conn)
	}
}

// promise sends the header of an answer whose body is the whole page.
func promise(w http.ResponseWriter, page []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	w.WriteHeader(http.StatusOK)
}

// flush sends what was written so far. It fails where there is no connection or no longer
// one, and then there is nothing to send.
func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }
