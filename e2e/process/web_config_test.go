package process_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWebConfigurationTurnsOnTLSAndAuthentication(t *testing.T) {
	t.Parallel()
	api := serve(t, newAPI())
	authority := newAuthority(t)
	dir := t.TempDir()
	writeCertificate(t, filepath.Join(dir, "server.pem"), authority.issue(t, "127.0.0.1"))
	var (
		overTLS      = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.pem\n"
		knownClients = overTLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: " + authority.file + "\n"
		// The password is "open sesame", hashed with bcrypt.
		knownUsers = overTLS + "basic_auth_users:\n  prometheus: $2a$04$iQum9a1KM3Rvi6LBQoMup.1EJcNvTzaGf1XnFQF6ITraS/12JGka6\n"
	)
	exporters := map[string]string{} // addresses, by configuration
	for i, config := range []string{overTLS, knownClients, knownUsers} {
		file := filepath.Join(dir, fmt.Sprintf("web%d.yml", i))
		writeFile(t, file, config)
		exporters[config] = start(t, api, nil, "--web.config.file="+file).Address
	}

	client := func(certificates ...tls.Certificate) *http.Client {
		transport := &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: authority.pool(), Certificates: certificates},
			ForceAttemptHTTP2: true,
		}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	known := client(authority.issue(t, "prometheus"))
	expired := client(authority.issueUntil(t, time.Now().Add(-time.Hour), "prometheus"))
	stranger := client(newAuthority(t).issue(t, "prometheus"))

	for _, test := range []struct {
		name, config   string
		client         *http.Client
		user, password string
		status         int // 0: there is no connection
	}{
		{name: "TLS", config: overTLS, client: client(), status: 200},
		{name: "TLS with a client certificate", config: knownClients, client: known, status: 200},
		{name: "TLS without the client certificate", config: knownClients, client: client()},
		{name: "TLS with a stranger's certificate", config: knownClients, client: stranger},
		{name: "TLS with an expired certificate", config: knownClients, client: expired},
		{name: "basic authentication", config: knownUsers, client: client(), user: "prometheus", password: "open sesame", status: 200},
		{name: "wrong password", config: knownUsers, client: client(), user: "prometheus", password: "open barley", status: 401},
		{name: "unknown user", config: knownUsers, client: client(), user: "grafana", password: "open sesame", status: 401},
		{name: "no password", config: knownUsers, client: client(), status: 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			request, err := http.NewRequest(http.MethodGet, "https://"+exporters[test.config]+"/metrics", nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.user != "" {
				request.SetBasicAuth(test.user, test.password)
			}
			response, err := test.client.Do(request)
			if test.status == 0 {
				if err == nil {
					response.Body.Close()
					t.Fatalf("there is an answer, with status %d", response.StatusCode)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != test.status || response.ProtoMajor != 2 {
				t.Errorf("status %d over %s, want %d over HTTP/2", response.StatusCode, response.Proto, test.status)
			}
			if got, want := strings.Contains(string(body), "factory_up 1"), test.status == 200; got != want {
				t.Errorf("there are numbers: %t, want %t", got, want)
			}
		})
	}

	t.Run("plain HTTP on the TLS port", func(t *testing.T) {
		conn, err := net.Dial("tcp", exporters[overTLS])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d, want 400", response.StatusCode)
		}
	})
}
