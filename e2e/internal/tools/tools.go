// Package tools builds the programs of other projects that the end-to-end tests run, and
// finds them.
package tools

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Command is what builds the programs. The working directory is e2e.
const Command = "go run ./tools"

// Project is a project with programs that the tests run.
type Project struct {
	Module   string
	Version  string   // of the module
	Release  string   // of the same source, as the project and its container images number it
	Image    string   // without the tag, which is the release behind a v
	Programs []string // in the module's folder cmd
	Flags    []string // to build with
}

// Projects is the list of all programs and their versions.
func Projects() []Project {
	return []Project{
		{
			Module:  "github.com/prometheus/prometheus",
			Version: "v0.316.0", // 3.16.0: as a module, release 3.y.z of Prometheus is v0.3yy.z
			Release: "3.16.0",
			Image:   "prom/prometheus", Programs: []string{"prometheus", "promtool"},
			// Discovering targets in clouds takes most of the dependencies.
			Flags: []string{"-tags=remove_all_sd"},
		},
		{
			Module:  "github.com/prometheus/alertmanager",
			Version: "v0.31.1", // the modules of newer releases lack a file that a build needs
			Release: "0.31.1",
			Image:   "prom/alertmanager", Programs: []string{"alertmanager", "amtool"},
		},
	}
}

// Path returns the path of a program that was built before.
func Path(program string) (string, error) {
	for _, p := range Projects() {
		if !slices.Contains(p.Programs, program) {
			continue
		}
		dir, err := p.dir()
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, program)
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s %s is not built: run `%s` in e2e, once, which takes minutes", program, p.Release, Command)
		}
		return path, nil
	}
	return "", fmt.Errorf("%s is not one of the tools", program)
}

// dir is the directory that the project's programs are kept in.
func (p Project) dir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "factory_exporter-e2e", filepath.Base(p.Module)+"-"+p.Release), nil
}

// Build builds the project's programs, unless they are there, and returns the directory
// that they are in. It tells of its progress as it goes on. When ctx ends it stops, and
// leaves nothing behind.
func (p Project) Build(ctx context.Context, progress io.Writer) (dir string, err error) {
	if dir, err = p.dir(); err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	unfinished, err := os.MkdirTemp(filepath.Dir(dir), "unfinished-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(unfinished)) }()
	bin := filepath.Join(unfinished, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return "", err
	}

	args := append([]string{"install", "-v"}, p.Flags...)
	for _, program := range p.Programs {
		args = append(args, p.Module+"/cmd/"+program+"@"+p.Version)
	}
	install := exec.CommandContext(ctx, "go", args...)
	install.Dir = unfinished // outside of any module
	install.Env = append(os.Environ(), "GOBIN="+bin, "GOTMPDIR="+unfinished)
	// The compilers that the go command has started end with it.
	install.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	install.Cancel = func() error { return syscall.Kill(-install.Process.Pid, syscall.SIGINT) }
	if err := p.follow(install, progress); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", fmt.Errorf("cannot build %s: %w", p, err)
	}
	if err := os.Rename(bin, dir); err != nil && !errors.Is(err, fs.ErrExist) { // another build was faster
		return "", err
	}
	return dir, nil
}

func (p Project) String() string {
	return fmt.Sprintf("%s %s", strings.Join(p.Programs, " and "), p.Release)
}

// follow runs a build and tells, every few seconds, how far it got. What else the build
// says is passed on.
func (p Project) follow(build *exec.Cmd, progress io.Writer) error {
	output, err := build.StderrPipe()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := build.Start(); err != nil {
		return err
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	ticker := time.NewTicker(5 * time.Second)
	defer ticker.Stop()
	downloaded, compiled := 0, 0
	tell := func(what string) {
		fmt.Fprintf(progress, "%s: %s, %d modules downloaded, %d packages compiled (%s)\n",
			p, what, downloaded, compiled, time.Since(begin).Round(time.Second))
	}
	tell("begun")
	for {
		select {
		case <-ticker.C:
			tell("building")
		case line, more := <-lines:
			switch {
			case !more:
				err := build.Wait()
				if err == nil {
					tell("done")
				}
				return err
			case strings.HasPrefix(line, "go: downloading "):
				downloaded++
			case !strings.Contains(line, " "): // the path of a package
				compiled++
			default:
				fmt.Fprintln(progress, line)
			}
		}
	}
}
