package fakeapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net"
	"net/http"
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
// ends when the request's context does.
type Behavior func(w http.ResponseWriter, r *http.Request, page []byte)

// Status answers with an HTTP status, the error body of the API document and a header of
// the given names and values in turns, such as "Retry-After", "7".
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
	content := []byte(body) // copied once, as it may be large
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Type", contentType)
		send(w, status, content)
	}
}

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

// Cursor sends the page with this cursor to a next one.
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
func EditUsers(change func(user map[string]any)) Behavior { return editEach("users", change) }

// EditRows sends the answer of an endpoint of the analytics after change was made to
// each of its rows.
func EditRows(change func(row map[string]any)) Behavior { return editEach("data", change) }

func editEach(list string, change func(map[string]any)) Behavior {
	return Edit(func(page map[string]any) {
		for _, element := range page[list].([]any) {
			change(element.(map[string]any))
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
func CutJSON() Behavior {
	return func(w http.ResponseWriter, _ *http.Request, page []byte) { send(w, http.StatusOK, page[:len(page)/2]) }
}

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
// has used before.
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
	promise(w, http.StatusOK, len(page))
	_, _ = w.Write(page[:len(page)/2])
	flush(w)
}

// Trickle sends the page a byte at a time, with a pause between two.
func Trickle(every time.Duration) Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		promise(w, http.StatusOK, len(page))
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
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		then(zipped{w, zip}, r, page)
		_ = zip.Close() // fails where the client has gone
	}
}

type zipped struct {
	http.ResponseWriter
	zip *gzip.Writer
}

func (z zipped) Write(b []byte) (int, error) { return z.zip.Write(b) }
func (z zipped) WriteHeader(status int) {
	z.Header().Del("Content-Length") // of the answer before
	z.ResponseWriter.WriteHeader(status)
}

// CutCompressed sends the first half of the compressed page as a complete HTTP message.
func CutCompressed() Behavior {
	return func(w http.ResponseWriter, _ *http.Request, page []byte) {
		var body bytes.Buffer
		zip := gzip.NewWriter(&body)
		_, _ = zip.Write(page) // the buffer takes everything
		_ = zip.Close()
		w.Header().Set("Content-Encoding", "gzip")
		send(w, http.StatusOK, body.Bytes()[:body.Len()/2])
	}
}

// onConnection hands a request's connection over to serve, and closes it then.
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

// flush sends what was written so far, if there is still a connection.
func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }
