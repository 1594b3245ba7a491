package process_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"factory_exporter/e2e/internal/process"
)

// More is for the tests of the toolkit.
func TestWebConfigurationTurnsOnTLSAndAuthentication(t *testing.T) {
	t.Parallel()
	server, _ := serveTLS(t, nil) // for its certificate
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "web.yml")
	writeFile(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	writeFile(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	// The password is "open sesame", hashed with bcrypt.
	writeFile(t, config, `tls_server_config: {cert_file: cert.pem, key_file: key.pem}
basic_auth_users: {prometheus: $2a$04$iQum9a1KM3Rvi6LBQoMup.1EJcNvTzaGf1XnFQF6ITraS/12JGka6}`)
	p := start(t, serve(t, newAPI()), nil, "--web.config.file="+config)
	for password, want := range map[string]int{"open sesame": http.StatusOK, "open barley": http.StatusUnauthorized} {
		authorization := "Basic " + base64.StdEncoding.EncodeToString([]byte("prometheus:"+password))
		status, body := process.Get(t, server.Client(), "https://"+p.Address+"/metrics", "Authorization", authorization)
		if status != want || strings.Contains(body, "\nfactory_up 1\n") != (want == http.StatusOK) {
			t.Errorf("%s: status %d, want %d, with numbers if 200:\n%.500s", password, status, want, body)
		}
	}
	if status, _ := process.Get(t, http.DefaultClient, p.URL()+"/metrics"); status != http.StatusBadRequest {
		t.Errorf("plain HTTP: status %d, want 400", status)
	}
}
