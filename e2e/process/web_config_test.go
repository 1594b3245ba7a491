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
	// More is for the tests of the toolkit.
	for _, test := range []struct {
		name, config, password string
		client                 *http.Client
		status                 int // 0: there is no connection
	}{
		{"TLS", overTLS, "", client(), 200},
		{"TLS with a client certificate", knownClients, "", client(authority.issue(t, "prometheus")), 200},
		{"TLS without the client certificate", knownClients, "", client(), 0},
		{"basic authentication", knownUsers, "open sesame", client(), 200},
		{"wrong password", knownUsers, "open barley", client(), 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			request, err := http.NewRequest(http.MethodGet, "https://"+exporters[test.config]+"/metrics", nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.password != "" {
				request.SetBasicAuth("prometheus", test.password)
			}
			response, err := test.client.Do(request)
			if err != nil {
				if test.status != 0 {
					t.Error(err)
				}
				return
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != test.status || response.ProtoMajor != 2 || strings.Contains(string(body), "factory_up 1") != (test.status == 200) {
				t.Errorf("status %d over %s, error %v, want %d over HTTP/2, with numbers if 200", response.StatusCode, response.Proto, err, test.status)
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
