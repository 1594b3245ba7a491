package factoryapi_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"time"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

func ExampleClient_Pages() {
	api := httptest.NewServer(fakeapi.NewServer(fakeapi.NewOrganization(
		fakeapi.User{
			ID: "user_01", Email: "ada@acme.example", Metadata: map[string]string{"team": "platform"},
			CreatedAt: "2026-01-02T03:04:05.000Z", LastSignInAt: "2026-03-04T05:06:07.000Z",
		},
		fakeapi.User{ID: "user_02", Email: "bob@acme.example", CreatedAt: "2026-02-03T04:05:06.000Z"},
	), "fk-example"))
	defer api.Close()

	client, err := factoryapi.New(factoryapi.Config{URL: api.URL, Credentials: static("fk-example"), MaxRetries: 3})
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseIdleConnections()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for page, err := range client.Pages(ctx) {
		if err != nil {
			log.Print(err) // users seen so far are part of a listing that failed
			return
		}
		for _, user := range page {
			team, _ := user.Metadata.Get("team")
			signedIn := "never"
			if user.LastSignInAt.State == factoryapi.Valid {
				signedIn = user.LastSignInAt.Time.Format(time.DateOnly)
			}
			fmt.Printf("%s %s, team %q, last sign-in: %s\n", user.ID, user.Email, team, signedIn)
		}
	}
	// Output:
	// user_01 ada@acme.example, team "platform", last sign-in: 2026-03-04
	// user_02 bob@acme.example, team "", last sign-in: never
}
