// Command fakeapi serves an organization as the Factory API does, for the test of the
// packages.
//
//	fakeapi ADDRESS MEMBERS KEY-FILE
//
// The key is read at each request, so that a test can rotate it.
package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"factory_exporter/factoryapi/fakeapi"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "fakeapi:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%d arguments instead of ADDRESS MEMBERS KEY-FILE", len(args))
	}
	address, keyFile := args[0], args[2]
	members, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	api := fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(members, 1, time.Now())...), "")
	server := &http.Server{
		Addr:              address,
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			key, err := os.ReadFile(keyFile)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			api.SetKey(strings.TrimSpace(string(key)))
			api.ServeHTTP(w, r)
		}),
	}
	return server.ListenAndServe()
}
