// Command tools builds the programs of other projects that the end-to-end tests run:
// Prometheus, promtool, Alertmanager and amtool. They are kept in the user's cache
// directory.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"factory_exporter/e2e/internal/tools"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	for _, project := range tools.Projects() {
		dir, err := project.Build(ctx, os.Stderr)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Fprintf(os.Stderr, "%s: in %s\n", project, dir)
	}
}
