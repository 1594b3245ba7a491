package fakeapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// LastPage as the page of a [Fault] is the last page of a listing, whatever its number.
const LastPage = -1

// Fault spoils requests that the server would have answered with a page.
type Fault struct {
	Path  string   // what the path of the endpoint begins with, such as AnalyticsPath; empty: any
	Page  int      // the number of the page in its listing, from 1; 0: any page; or LastPage
	Times int      // how many requests are spoilt; 0: all, for ever
	Serve Behavior // what happens to them
}

func (f Fault) fits(path string, p page) bool {
	return strings.HasPrefix(path, f.Path) && (f.Page == 0 || f.Page == p.number || f.Page == LastPage && p.last)
}

// Behavior answers a request in place of the API. page is the body that the API would have sent
// with status 200; it may be changed, and not be kept. A behavior that waits ends when the request's context does,
// which a server that has read the whole request ends when the client goes away.
type Behavior func(w http.ResponseWriter, r *http.Request, page []byte)

// Status answers with an HTTP status, the error body of the API document and a header of the given
// names and values, in turns:
//
//	Status(http.StatusTooManyRequests, "Retry-After", "7")
func Status(code int, header ...string) Behavior {
	if len(header)%2 != 0 {
		panic("fakeapi: a header without a value")
	}
	return func(w http.ResponseWriter, r *http.Request, _ []byte) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		sendError(w, r, code, "this request was chosen to fail")
	}
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
func Redirect(to string) Behavior {
	return func(w http.ResponseWriter, r *http.Request, _ []byte) {
		http.Redirect(w, r, to, http.StatusFound)
	}
}

// Edit sends the page after change was made to it. Numbers in it are of type [json.Number].
func Edit(change func(page map[string]any)) Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		body, err := edited(page, change)
		if err != nil {
			sendError(w, r, http.StatusInternalServerError, fmt.Sprintf("edit the page: %v", err))
			return
		}
		send(w, http.StatusOK, body)
	}
}

func edited(page []byte, change func(map[string]any)) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(page))
	decoder.UseNumber()
	var content map[string]any
	if err := decoder.Decode(&content); err != nil {
		return nil, err
	}
	change(content)
	return json.Marshal(content)
}

// Cursor sends the page with this cursor to a next one, also on the last page.
func Cursor(cursor string) Behavior {
	return Edit(func(page map[string]any) {
		page["pagination"] = map[string]any{"hasMore": true, "nextCursor": cursor}
	})
}

// Replace sends the page with all occurrences of old replaced. The bytes need not be JSON, or UTF-8.
func Replace(old, new string) Behavior {
	return func(w http.ResponseWriter, _ *http.Request, page []byte) {
		send(w, http.StatusOK, bytes.ReplaceAll(page, []byte(old), []byte(new)))
	}
}

// Large sends a valid page with a field in front that the API document does not know, which holds
// size bytes.
func Large(size int) Behavior {
	return func(w http.ResponseWriter, _ *http.Request, page []byte) {
		body := make([]byte, 0, size+len(page)+16)
		body = append(body, `{"padding":"`...)
		body = append(body, strings.Repeat("x", size)...)
		body = append(body, `",`...)
		body = append(body, page[len("{"):]...)
		send(w, http.StatusOK, body)
	}
}

// CutJSON sends the first half of the page as a complete HTTP message.
func CutJSON() Behavior {
	return func(w http.ResponseWriter, _ *http.Request, page []byte) {
		send(w, http.StatusOK, page[:len(page)/2])
	}
}

// CutTransfer sends the first half of the page, of which it promised the whole, and closes the
// connection.
func CutTransfer() Behavior {
	return func(w http.ResponseWriter, _ *http.Request, page []byte) {
		promise(w, page)
		_, _ = w.Write(page[:len(page)/2])
		flush(w)
		panic(http.ErrAbortHandler) // net/http closes the connection, silently
	}
}

// Reset ends the connection before any byte of an answer: with a TCP reset if it is TCP, by closing
// it otherwise.
//
// An [http.Transport] repeats a GET by itself when that happens on a connection that it has used
// before. To be seen by the client, a reset needs a new connection, or has to strike twice.
func Reset() Behavior {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler) // HTTP/2, which resets the stream
		}
		if tcp, ok := conn.(interface{ SetLinger(seconds int) error }); ok {
			_ = tcp.SetLinger(0) // whether or not this works, the connection ends
		}
		_ = conn.Close()
	}
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
		promise(w, page)
		_, _ = w.Write(page[:len(page)/2])
		flush(w)
		<-r.Context().Done()
	}
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

// Endless sends the start of a page whose first id never ends. It stops when the client goes away.
func Endless() Behavior {
	return func(w http.ResponseWriter, r *http.Request, _ []byte) {
		w.Header().Set("Content-Type", "application/json")
		chunk := bytes.Repeat([]byte("x"), 32<<10)
		_, err := io.WriteString(w, `{"pagination":{"hasMore":false,"nextCursor":null},"users":[{"id":"`)
		for err == nil && r.Context().Err() == nil {
			_, err = w.Write(chunk)
		}
	}
}

// promise sends the header of an answer whose body is the whole page.
func promise(w http.ResponseWriter, page []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	w.WriteHeader(http.StatusOK)
}

// flush sends what was written so far. It fails where there is no connection or no longer one, and
// then there is nothing to send.
func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }
