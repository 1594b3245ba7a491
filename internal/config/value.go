package config

import (
	"errors"
	"fmt"
	"log/slog"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"factory_exporter/collector/census"
	"factory_exporter/internal/apikey"
	"factory_exporter/internal/server"
)

// flagValue is the value of one flag. Its errors name the flag.
type flagValue struct {
	name       string
	set        func(string) error
	repeatable bool
	boolean    bool
	typed      bool // on the command line, not in the environment
	given      []string
}

func (v *flagValue) Set(text string) error {
	if v.repeatable && !v.typed && strings.TrimSpace(text) == "" {
		return nil // a blank line of an environment variable
	}
	if err := v.set(text); err != nil {
		if v.repeatable && strings.Contains(text, ",") {
			err = fmt.Errorf("%w; give the flag once for each value", err)
		}
		return fmt.Errorf("--%s=%s: %w", v.name, text, err)
	}
	v.given = append(v.given, text)
	return nil
}

func (v *flagValue) String() string     { return strings.Join(v.given, ",") }
func (v *flagValue) IsCumulative() bool { return v.repeatable }
func (v *flagValue) IsBoolFlag() bool   { return v.boolean }

// store returns a function that parses a text and stores the value in target.
func store[T any](target *T, parse func(string) (T, error)) func(string) error {
	return func(text string) (err error) {
		*target, err = parse(text)
		return err
	}
}

func keyFile(text string) (string, error) {
	if strings.HasPrefix(text, apikey.Prefix) {
		return "", errors.New("looks like the API key itself: write the key into a file, and give the path of the file")
	}
	return text, nil
}

// notEmpty returns a function that takes any text but blanks. instead says what to do.
func notEmpty(instead string) func(string) (string, error) {
	return func(text string) (string, error) {
		if strings.TrimSpace(text) == "" {
			return "", errors.New("is empty: " + instead)
		}
		return text, nil
	}
}

func boolean(text string) (bool, error) {
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, errors.New("not true or false")
	}
	return value, nil
}

func wholeNumber(least, most int) func(string) (int, error) {
	return func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("not a whole number from %d to %d", least, most)
		}
		return n, nil
	}
}

func duration(text string) (time.Duration, error) {
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, errors.New("not a duration like 500ms, 30s or 7d")
	}
	return time.Duration(d), nil
}

func positiveDuration(text string) (time.Duration, error) {
	d, err := duration(text)
	if err == nil && d == 0 {
		return 0, errors.New("must be longer than zero")
	}
	return d, err
}

// window reads the length of a window, which is at least an hour.
func window(text string) (census.Window, error) {
	length, err := model.ParseDuration(text)
	switch {
	case err != nil:
		err = errors.New("not a window like 7d, 4w or 1y (there is no unit for months: write days)")
	case length == 0:
		err = errors.New("must be longer than zero")
	case time.Duration(length) < time.Hour:
		err = errors.New("shorter than an hour, because m is minutes: for months write days, like 90d")
	}
	return census.Window{Label: text, Length: time.Duration(length)}, err
}

func telemetryPath(text string) (string, error) {
	switch {
	case !regexp.MustCompile(`^/[A-Za-z0-9/._~-]*$`).MatchString(text) || path.Clean(text) != text:
		return "", errors.New("not a clean path like /metrics")
	case server.IsPage(text):
		return "", errors.New("is the path of another page")
	}
	return text, nil
}

func logLevel(text string) (level slog.Level, err error) {
	if text, err = oneOf("debug", "info", "warn", "error")(text); err == nil {
		err = level.UnmarshalText([]byte(text))
	}
	return level, err
}

func oneOf(options ...string) func(string) (string, error) {
	return func(text string) (string, error) {
		if !slices.Contains(options, text) {
			return "", fmt.Errorf("not one of %s", strings.Join(options, ", "))
		}
		return text, nil
	}
}
