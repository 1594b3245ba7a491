package userlist

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// output is where the list goes: stdout, or a file beside the one that it is to replace.
type output struct {
	io.Writer
	file *os.File // nil: stdout
	path string   // of the file to replace
}

// open opens the output, before anything is asked.
func (l *List) open(stdout io.Writer) (*output, error) {
	if l.Output == "" || l.Output == "-" {
		if file, ok := stdout.(*os.File); ok && isClosed(file) {
			return nil, errors.New("stdout is closed, so there is nowhere to print to: open it, or give --output=FILE")
		}
		return &output{Writer: stdout}, nil
	}
	path, err := replaceable(l.Output)
	if err != nil {
		return nil, fmt.Errorf("--output=%s: %w", l.Output, err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // its mode is 0600
	if err != nil {
		return nil, fmt.Errorf("--output=%s: %w", l.Output, err)
	}
	return &output{Writer: file, file: file, path: path}, nil
}

// replaceable returns the path of the file to replace. That is the one behind a symbolic
// link, and there need not be one.
func replaceable(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(path); err == nil {
			return "", errors.New("is a symbolic link that leads nowhere")
		}
		return path, nil
	case err != nil:
		return "", err
	case info.IsDir():
		return "", errors.New("is a directory: give the name of a file in it")
	case !info.Mode().IsRegular():
		return "", errors.New("is not a regular file, so it cannot be replaced: leave the flag out and redirect the output")
	}
	return filepath.EvalSymlinks(path)
}

// finish puts a complete file in its place.
func (o *output) finish() error {
	if o.file == nil {
		return nil
	}
	if err := errors.Join(o.file.Sync(), o.file.Close()); err != nil {
		return err
	}
	if err := os.Rename(o.file.Name(), o.path); err != nil {
		return err
	}
	o.file = nil
	directory, err := os.Open(filepath.Dir(o.path))
	if err != nil {
		return err
	}
	defer directory.Close()
	_ = directory.Sync() // not every system can; the file itself is safe
	return nil
}

// discard removes a file that was not finished.
func (o *output) discard() {
	if o.file != nil {
		_ = o.file.Close() // perhaps it is closed already
		_ = os.Remove(o.file.Name())
	}
}

// isClosed reports whether a standard stream was closed when the process began. Go puts
// the null device there, open for reading as well, which a shell's >/dev/null is not.
func isClosed(file *os.File) bool {
	info, err := file.Stat()
	null, err2 := os.Stat(os.DevNull)
	if err != nil || err2 != nil || !os.SameFile(info, null) {
		return false
	}
	_, err = file.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// progress is a line on a terminal that tells how far the command is.
type progress struct{ terminal io.Writer } // nil: nobody looks

func newProgress(w io.Writer, quiet bool) progress {
	file, ok := w.(*os.File)
	if !ok || quiet {
		return progress{}
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return progress{}
	}
	return progress{file}
}

// show replaces the line. An empty one leaves nothing.
func (p progress) show(line string) {
	if p.terminal != nil {
		const eraseRest = "\x1b[K" // of the line, from the cursor on
		fmt.Fprint(p.terminal, "\r"+line+eraseRest)
	}
}

// end writes a line that stays.
func (p progress) end(line string) {
	if p.terminal != nil {
		fmt.Fprintln(p.terminal, line)
	}
}
