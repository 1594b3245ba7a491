// Package apikey holds the key of the API: a value, or a file that is read again.
package apikey

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Prefix is what the API keys of Factory begin with.
const Prefix = "fk-"

const (
	maxKeyBytes = 64 << 10
	// keyTimeout bounds the time to read a key file, which may be on a network.
	keyTimeout = 5 * time.Second
)

// Value is a key that does not change. Make one with [Parse].
type Value struct{ key, source string }

// Parse returns the key in text, without surrounding white space. source says where the
// text came from. The error names it, and does not quote the text.
func Parse(text, source string) (Value, error) {
	key, err := parse(text)
	if err != nil {
		return Value{}, fmt.Errorf("%s: %w", source, err)
	}
	return Value{key, source}, nil
}

func (v Value) Key(context.Context) string { return v.key }

// String says where the key came from.
func (v Value) String() string { return v.source }

// File is a key in a file that may be replaced while the program runs. Make one with
// [Open]. It is safe for concurrent use.
type File struct {
	path   string
	logger *slog.Logger
	read   func(path string) (key string, err error)

	mu      sync.Mutex
	key     string
	failing bool
	reading *reading // nil if no read is under way
}

// reading is a read of the key file. It cannot be canceled, so a read that hangs goes
// on, and nobody starts another one meanwhile.
type reading struct {
	done  chan struct{}
	until time.Time // somebody waits for it
	key   string
	err   error
}

// Open reads the key in the file at path, without surrounding white space. The file is a
// regular one of at most 64 KiB. Open returns when ctx ends, if not before. Later failures
// to read the file are logged.
func Open(ctx context.Context, path string, logger *slog.Logger) (*File, error) {
	f := &File{path: path, logger: logger, read: readKey}
	key, err := f.readWithin(ctx)
	f.key = key
	if err != nil {
		return nil, err
	}
	return f, nil
}

// String says where the key came from.
func (f *File) String() string { return "the file " + f.path }

// Key reads the file again and returns its key. While it cannot read a key within five
// seconds, it returns the last good one. The log says so once, and once more when the
// file can be read again.
func (f *File) Key(ctx context.Context) string {
	key, err := f.readWithin(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	if errors.Is(err, context.Canceled) {
		return f.key // the file is not to blame
	}
	switch {
	case err != nil && !f.failing:
		f.logger.Warn("Cannot read the API key file; using the last good key", "err", err)
	case err == nil && f.failing:
		f.logger.Info("The API key file can be read again", "file", f.path)
	}
	f.failing = err != nil
	if err == nil {
		f.key = key
	}
	return f.key
}

// readWithin reads the key, or joins the read under way. A read is waited for until
// keyTimeout after it began, so a file that hangs costs that once.
func (f *File) readWithin(ctx context.Context) (string, error) {
	f.mu.Lock()
	if f.reading == nil {
		f.reading = &reading{done: make(chan struct{}), until: time.Now().Add(keyTimeout)}
		go func(r *reading) {
			r.key, r.err = f.read(f.path)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.reading = nil
			close(r.done)
		}(f.reading)
	}
	r := f.reading
	f.mu.Unlock()

	ctx, cancel := context.WithDeadline(ctx, r.until)
	defer cancel()
	select {
	case <-r.done:
		return r.key, r.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return "", context.Canceled
		}
		return "", fmt.Errorf("%s: the file could not be read in time; check that the disk or network it is on answers", f.path)
	}
}

// readKey reads the key in a file. Its errors name the file.
func readKey(path string) (string, error) {
	// O_NONBLOCK, so that opening a pipe does not wait for a writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return "", err
	case info.IsDir():
		return "", fmt.Errorf("%s is a directory; give the file in it that holds the key", path)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyBytes+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxKeyBytes {
		return "", fmt.Errorf("%s is larger than %d KiB, so it does not hold just a key", path, maxKeyBytes>>10)
	}
	key, err := parse(string(text))
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// parse trims a key. It refuses a text that cannot travel in an HTTP header, and the
// usual ways to write more than a key.
func parse(text string) (string, error) {
	key := strings.TrimSpace(text)
	name, value, assigned := strings.Cut(strings.TrimPrefix(key, "export "), "=")
	label := regexp.MustCompile(`^"?[A-Za-z_][A-Za-z0-9_. -]*"?:(\s|` + Prefix + `)`).MatchString(key)                        // as in YAML or in a header
	assigned = assigned && regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name) && strings.Trim(value, "=") != "" // base64 may end in =
	switch {
	case key == "":
		return "", errors.New("the API key is empty")
	case strings.HasPrefix(key, "\ufeff") || strings.HasPrefix(key, "\xff\xfe") || strings.HasPrefix(key, "\xfe\xff"):
		return "", errors.New("the API key begins with a byte-order mark: save the file as plain ASCII text without it")
	case strings.HasPrefix(key, "{") || strings.HasPrefix(key, "["):
		return "", errors.New("the API key is inside JSON: give only the key itself")
	case assigned:
		return "", errors.New("the API key follows a name and an equals sign: take the name and the = away")
	case label:
		return "", errors.New("the API key follows a name and a colon: take the name and the colon away, and give only the key")
	case len(key) > 7 && strings.EqualFold(key[:7], "Bearer "):
		return "", errors.New("the API key follows the word Bearer: take it away, because the exporter adds it")
	case strings.ContainsAny(key[:1], `"'`) || strings.ContainsAny(key[len(key)-1:], `"'`):
		return "", errors.New("the API key is in quotes: take the quotes away")
	case strings.ContainsAny(key, "\r\n"):
		return "", errors.New("the API key has a line break inside: give one key only")
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("the API key has a character that is not printable ASCII")
	}
	return key, nil
}

// Hide shortens what looks like an API key to fk-... .
func Hide(text []byte) []byte {
	if !bytes.Contains(text, []byte(Prefix)) {
		return text
	}
	const escape = `\\[A-Za-z][0-9A-Fa-f]*` // as Go and JSON write it in quotes
	keys := regexp.MustCompile(`(^|[^A-Za-z0-9]|` + escape + `)` + Prefix + `[A-Za-z0-9_.~+/=-]+`)
	return keys.ReplaceAll(text, []byte("${1}"+Prefix+"..."))
}
