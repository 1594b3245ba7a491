package factoryapi

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// Credentials supply the API key.
type Credentials interface {
	// Key returns the key to use from now on.
	Key() string
}

// StaticKey is a key that does not change. Make one with [NewStaticKey].
type StaticKey struct{ key string }

// NewStaticKey returns the key in text, without surrounding white space. Its error
// does not quote the text.
func NewStaticKey(text string) (StaticKey, error) {
	key, err := parseKey(text)
	return StaticKey{key}, err
}

// Key returns the key.
func (k StaticKey) Key() string { return k.key }

// KeyFile is a key in a file that may be replaced while the program runs. Make
// one with [NewKeyFile]. It is safe for concurrent use.
type KeyFile struct {
	path   string
	logger *slog.Logger

	mu      sync.Mutex
	key     string
	failing bool
}

// NewKeyFile reads the key in the file at path, without surrounding white space.
// Later failures to read the file are logged to logger, which may be nil.
func NewKeyFile(path string, logger *slog.Logger) (*KeyFile, error) {
	key, err := readKey(path)
	if err != nil {
		return nil, err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &KeyFile{path: path, logger: logger, key: key}, nil
}

// Key reads the file again and returns its key. While the file holds no key, it
// returns the last good one. The log says so once, and once more when the file can be
// read again.
func (f *KeyFile) Key() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	key, err := readKey(f.path)
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

func readKey(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err // names the file
	}
	key, err := parseKey(string(text))
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// parseKey trims a key and refuses what cannot travel in an HTTP header.
func parseKey(text string) (string, error) {
	key := strings.TrimSpace(text)
	switch {
	case key == "":
		return "", errors.New("the API key is empty")
	case strings.ContainsAny(key, "\r\n"):
		return "", errors.New("the API key has a line break inside: give one key only")
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("the API key has a character that is not printable ASCII")
	}
	return key, nil
}
