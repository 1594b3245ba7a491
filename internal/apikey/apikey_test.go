package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/internal/apikey"
	"factory_exporter/internal/harness"
)

func TestKeysAreTrimmed(t *testing.T) {
	for name, text := range map[string]string{
		"alone":           key,
		"a line":          key + "\n",
		"a Windows line":  key + "\r\n",
		"white space":     " \t\n" + key + "  \n\n",
		"no-break spaces": "\u00a0" + key + "\u2003",
	} {
		t.Run(name, func(t *testing.T) {
			if got := parse(t, text).Key(t.Context()); got != key {
				t.Errorf("static key %q, want %q", got, key)
			}
			file, err := apikey.Open(t.Context(), write(t, keyPath(t), text), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if got := file.Key(t.Context()); got != key {
				t.Errorf("key of the file %q, want %q", got, key)
			}
		})
	}
}

func TestKeysMayHoldAnyPrintableASCII(t *testing.T) {
	var all []byte
	for c := byte('!'); c <= '~'; c++ {
		all = append(all, c)
	}
	for _, want := range []string{"k" + string(all) + "k", "YmFzZTY0", "YmFzZTY0IQ==", "YmFzZTY0Cg=", "key-with=sign"} {
		if got := parse(t, want).Key(t.Context()); got != want {
			t.Errorf("key %q, want %q", got, want)
		}
	}
}

func TestUnusableKeysAreRefusedWithoutQuotingThem(t *testing.T) {
	for want, texts := range map[string][]string{
		"empty":                  {"", " \r\n\t"},
		"line break":             {"qqq\njjj", "qqq\r\njjj", "qqq\rjjj", "qqq\r\nHost: elsewhere\r\n\r\njjj"},
		"not printable ASCII":    {"qqq jjj", "qqq\tjjj", "qqq\x00jjj", "qqq\x1b[1mjjj", "qqq\x7fjjj", "qqqéjjj", "q\x00q\x00q\x00j\x00j\x00", "qqq\xffjjj", "qqq\u00a0jjj", "qqq\u2028jjj"},
		"byte-order mark":        {"\ufeffqqqjjj", "\xff\xfeq\x00q\x00q\x00j\x00j\x00j\x00"},
		"quotes":                 {`"qqqjjj"`, "'qqqjjj'\n", `qqqjjj"`},
		"the name and the =":     {"FACTORY_API_KEY=qqqjjj", "export FACTORY_API_KEY=qqqjjj\n", `KEY="qqqjjj"`},
		"the name and the colon": {"Authorization: Bearer qqqjjj", "api_key: qqqjjj\n", `api key: "qqqjjj"`, "api_key:fk-qqqjjj"},
		"Bearer":                 {"bearer qqqjjj"},
		"JSON":                   {`{"key": "qqqjjj"}`, `["qqqjjj"]`},
	} {
		for _, text := range texts {
			static, err := apikey.Parse(text, "variable KEY")
			checkKeyError(t, err, want)
			if got := static.Key(t.Context()); got != "" {
				t.Errorf("key %q along with the error", got)
			}
			path := write(t, keyPath(t), text)
			file, err := apikey.Open(t.Context(), path, slog.New(slog.DiscardHandler))
			checkKeyError(t, err, want)
			if file != nil || err != nil && !strings.Contains(err.Error(), path) {
				t.Errorf("file %v along with the error %v, which should name the file", file, err)
			}
		}
	}
}

func TestAKeyFileThatCannotBeReadIsRefusedByName(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	for path, want := range map[string]string{
		missing:     "no such file",
		dir:         "is a directory",
		pipe:        "not a regular file",
		"/dev/zero": "not a regular file",
		write(t, filepath.Join(dir, "large"), strings.Repeat("k", 64<<10+1)): "larger than 64 KiB",
	} {
		_, err := apikey.Open(t.Context(), path, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q and the name %s", err, want, path)
		}
	}
	if _, err := apikey.Open(t.Context(), missing, slog.New(slog.DiscardHandler)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v does not wrap the cause", err)
	}
}

func TestAKeyFileMayBeBehindASymbolicLink(t *testing.T) {
	link := keyPath(t)
	if err := os.Symlink(write(t, keyPath(t), key), link); err != nil {
		t.Fatal(err)
	}
	file, err := apikey.Open(t.Context(), link, nil)
	if err != nil || file.Key(t.Context()) != key {
		t.Errorf("error %v", err)
	}
}

// A network mount that is gone lets a read hang, and a read cannot be canceled.
func TestAKeyFileThatHangsIsWaitedForAWhile(t *testing.T) {
	path := write(t, keyPath(t), "fk-secret-old")
	synctest.Test(t, func(t *testing.T) {
		log := new(harness.Log)
		file, err := apikey.Open(t.Context(), path, log.Logger())
		if err != nil {
			t.Fatal(err)
		}
		var reads atomic.Int64
		network := make(chan struct{})
		file.ReadWith(func(string) (string, error) {
			reads.Add(1)
			<-network
			return "fk-secret-new", nil
		})
		for _, tt := range []struct{ deadline, takes time.Duration }{
			{2 * time.Second, 2 * time.Second},
			{time.Hour, 3 * time.Second}, // five since the read began
			{time.Hour, 0},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
			start := time.Now()
			if got := file.Key(ctx); got != "fk-secret-old" {
				t.Errorf("key %q", got)
			}
			if got := time.Since(start); got != tt.takes {
				t.Errorf("with %s to go it took %s, want %s", tt.deadline, got, tt.takes)
			}
			cancel()
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		file.Key(canceled)
		checkOneLine(t, log, slog.LevelWarn, path)
		if got := reads.Load(); got != 1 {
			t.Errorf("%d reads at once, want 1", got)
		}

		log.Reset()
		close(network)
		synctest.Wait()
		for range 2 {
			if got := file.Key(t.Context()); got != "fk-secret-new" {
				t.Errorf("afterwards: key %q", got)
			}
		}
		checkOneLine(t, log, slog.LevelInfo, path)
	})
}

func TestTheLastGoodKeyIsUsedWhileTheFileHoldsNone(t *testing.T) {
	for _, tt := range []struct {
		name string
		lose func(t *testing.T, path string)
	}{
		{"gone", remove},
		{"emptied", func(t *testing.T, path string) { write(t, path, "") }},
		{"unreadable", func(t *testing.T, path string) {
			remove(t, path)
			if err := os.Mkdir(path, 0o700); err != nil { // a mode would not stop root
				t.Fatal(err)
			}
		}},
		{"two keys", func(t *testing.T, path string) { write(t, path, "fk-secret-1\nfk-secret-2\n") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, keyPath(t), "fk-secret-old")
			log := new(harness.Log)
			file, err := apikey.Open(t.Context(), path, log.Logger())
			if err != nil {
				t.Fatal(err)
			}
			for i, good := range []string{"fk-secret-old", "fk-secret-new"} {
				log.Reset()
				tt.lose(t, path)
				for range 3 {
					if got := file.Key(t.Context()); got != good {
						t.Errorf("trouble %d: key %q, want %q", i+1, got, good)
					}
				}
				checkOneLine(t, log, slog.LevelWarn, path)

				log.Reset()
				remove(t, path)
				write(t, path, "fk-secret-new")
				for range 3 {
					if got := file.Key(t.Context()); got != "fk-secret-new" {
						t.Errorf("afterwards: key %q", got)
					}
				}
				checkOneLine(t, log, slog.LevelInfo, path)
			}
		})
	}
}

// keyPath is where a test's key file may be.
func keyPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "key")
}

var write = harness.WriteFile

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Error(err)
	}
}

// checkKeyError checks the refusal of a key made of "qqq" and "jjj".
func checkKeyError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("error %v, want %q", err, want)
	}
	if text := err.Error(); strings.Contains(text, "qqq") || strings.Contains(text, "jjj") || strings.ContainsAny(text, "\r\n") {
		t.Errorf("error %q holds the key, or a line break", err)
	}
}

// checkOneLine checks that a log holds one line of this level, which names the file and
// no key.
func checkOneLine(t *testing.T, log *harness.Log, level slog.Level, path string) {
	t.Helper()
	text := log.String()
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, "level="+level.String()) || !strings.Contains(text, path) {
		t.Errorf("log %q, want one line of level %s that names %s", text, level, path)
	}
	if strings.Contains(text, "fk-secret") {
		t.Errorf("log holds a key: %q", text)
	}
}

func parse(t *testing.T, text string) apikey.Value {
	t.Helper()
	key, err := apikey.Parse(text, "a test")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestMain(m *testing.M) { harness.Main(m) }

const key = harness.Key

func TestHiddenTextHasNoKeys(t *testing.T) {
	if got := string(apikey.Hide([]byte("the afk-mode of key=fk-a/b+c= and fk-..."))); got != "the afk-mode of key=fk-... and fk-..." {
		t.Errorf("Hide returns %q", got)
	}
	for _, before := range []string{"\n", "\t", "\x1b", "\x00", "\u200b", "\U000e0001"} { // a quoted one ends with a letter or a digit
		if got, want := string(apikey.Hide(fmt.Appendf(nil, "%q", before+"fk-9s8Yq0vJ"))), strconv.Quote(before+"fk-..."); got != want {
			t.Errorf("Hide returns %s, want %s", got, want)
		}
	}
}
