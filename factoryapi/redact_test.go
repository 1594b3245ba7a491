package factoryapi_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"factory_exporter/factoryapi"
	"factory_exporter/internal/harness"
)

func TestNoPartOfTheKeyIsInAMessageThatIsCut(t *testing.T) {
	const bodyLimit = 64 << 10
	for _, apiKey := range []string{key, strings.Repeat("Ab1Cd2Ef3Gh4", 20)} {
		for before := 0; before < maxMessage; before += 3 {
			checkNoKey(t, failure(t, apiKey, answer{status: 200, body: strings.Repeat("x", before) + apiKey + apiKey}), apiKey)
			checkNoKey(t, failure(t, apiKey, answer{status: 500, body: strings.Repeat("x", before) + apiKey + apiKey}), apiKey)
		}
		for behind := 1; behind < 3*len(apiKey); behind += 5 {
			padding := strings.Repeat("\n", bodyLimit-behind)
			checkNoKey(t, failure(t, apiKey, answer{status: 500, body: padding + apiKey + apiKey + apiKey + apiKey}), apiKey)
			checkNoKey(t, failure(t, apiKey, answer{status: 200, body: padding + apiKey + apiKey + apiKey + apiKey}), apiKey)
		}
	}
}

func TestTheKeyIsScrubbedHoweverItComesBack(t *testing.T) {
	const apiKey = `Zx8kLm/Qw9vBn+Er7tYu=="Ty6pOi\Hj5`
	for name, transport := range map[string]http.RoundTripper{
		"as it is":            answer{status: 401, body: "no such key: " + apiKey},
		"in JSON":             answer{status: 401, body: `{"key":` + toJSON(t, apiKey) + `}`},
		"in a query":          answer{status: 302, header: http.Header{"Location": {"https://elsewhere.example/?key=" + url.QueryEscape(apiKey)}}},
		"in a path":           answer{status: 302, header: http.Header{"Location": {"https://elsewhere.example/" + url.PathEscape(apiKey)}}},
		"quoted by Go":        roundTrip(func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("malformed answer %q", apiKey) }),
		"quoted by us":        answer{status: 200, body: apiKey},
		"in base64":           answer{status: 401, body: "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+apiKey))},
		"in URL's base64":     answer{status: 401, body: base64.RawURLEncoding.EncodeToString([]byte("Bearer " + apiKey))},
		"in hex":              answer{status: 401, body: hex.EncodeToString([]byte(apiKey))},
		"in upper hex":        answer{status: 401, body: strings.ToUpper(hex.EncodeToString([]byte(apiKey)))},
		"in lower case":       answer{status: 401, body: strings.ToLower(apiKey)},
		"in upper case":       answer{status: 401, body: strings.ToUpper(apiKey)},
		"quoted, and cut":     answer{status: 200, body: strings.Repeat("x", 30) + apiKey},
		"shortened":           answer{status: 401, body: `{"detail":"no such key: ` + apiKey[:20] + `..."}`},
		"shortened in front":  answer{status: 401, body: "no such key: ..." + apiKey[8:]},
		"without its end":     answer{status: 401, body: "no such key: '" + apiKey[:len(apiKey)-1] + "' (truncated)"},
		"slashes escaped":     answer{status: 401, body: strings.ReplaceAll(apiKey, "/", `\/`)},
		"escaped for HTML":    answer{status: 401, body: "<p>" + strings.ReplaceAll(apiKey, "=", "&#x3D;") + "</p>"},
		"escaped, lower case": answer{status: 302, header: http.Header{"Location": {"/?key=" + strings.ReplaceAll(apiKey, "=", "%3d")}}},
		"with a part of it":   answer{status: 401, body: apiKey[:10] + apiKey[6:]},
		"in two lines":        answer{status: 401, body: apiKey[:15] + "\n" + apiKey[15:]},
	} {
		t.Run(name, func(t *testing.T) {
			err := failure(t, apiKey, transport)
			for part := range strings.FieldsFuncSeq(apiKey, func(r rune) bool { return strings.ContainsRune(`/+="\`, r) }) {
				for form, encoded := range map[string]string{
					"": part, "hex ": hex.EncodeToString([]byte(part)),
					"base64 ": middle(base64.StdEncoding.EncodeToString([]byte(apiKey))), "base64, one later ": middle(base64.StdEncoding.EncodeToString([]byte(apiKey[1:]))),
					"base64, two later ": middle(base64.StdEncoding.EncodeToString([]byte(apiKey[2:]))),
				} {
					if strings.Contains(strings.ToLower(err.Error()), strings.ToLower(encoded)) {
						t.Errorf("error %q holds %s%q of the key", err, form, part)
					}
				}
			}
		})
	}
}

func TestWithoutAKeyThereIsNothingToScrub(t *testing.T) {
	client := newClient(t, nil, factoryapi.Config{Credentials: static(""), Transport: answer{status: 401, body: "no key"}})
	if err := askOnce(t.Context(), client); apiError(t, err).Message != "no key" {
		t.Errorf("error %v", err)
	}
}

// checkNoKey checks that an error holds nothing that helps to guess the key.
func checkNoKey(t *testing.T, err *factoryapi.Error, apiKey string) {
	t.Helper()
	harness.CheckNoKey(t, "the error", err.Error(), apiKey)
}

// middle is a part of a text, away from its ends.
func middle(text string) string { return text[len(text)/2-4 : len(text)/2+4] }
