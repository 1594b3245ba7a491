package check

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"factory_exporter/factoryapi"
)

// meaningOf says what a failure means and needs, if that is known.
func meaningOf(err error) string {
	failure, ok := errors.AsType[*factoryapi.Error](err)
	if !ok {
		return ""
	}
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(failure.Message, word) })
	}
	switch reason := failure.Reason(); {
	case reason == "401":
		return "The API does not take the key: it is mistyped or deleted, it belongs to another host, or its maker has left or changed roles."
	case reason == "402":
		return "The plan of the organization does not cover this, or its bill is open. An Owner sees that in the billing settings."
	case reason == "403":
		return "The API knows the key, but the key may not ask this. It needs the personal key of a Manager or Owner; for --collector.usage also an Enterprise plan."
	case reason == "404":
		return "The host answers, and has nothing at this path. --factory.url must be the base URL, without a path of the API."
	case reason == "429":
		return "The API was asked too often. Wait, and set --collector.cache-ttl so that the exporter lists less often."
	case strings.HasPrefix(reason, "3"):
		return "The host sends to another URL, which the key must not follow. Give that URL as --factory.url if it is Factory's."
	case strings.HasPrefix(reason, "5"):
		return "The API itself has failed, or something in front of it. Try again later."
	case has("proxy"):
		return "The proxy of the environment variable HTTPS_PROXY does not let the request through."
	case has("certificate", "x509", "tls:"):
		return "The TLS certificate is not trusted. Where a proxy opens TLS, set the environment variable SSL_CERT_FILE to a file with its authority."
	case reason == string(factoryapi.KindTimeout):
		return "Nothing answered in time. A firewall may drop the packets, or --factory.request-timeout or --factory.listing-timeout is too short."
	case has("no such host"):
		return "The host of --factory.url has no address here. Check its name, and the DNS of this machine."
	case reason == string(factoryapi.KindConnection):
		return "There is no connection to the host of --factory.url. Check the network, and whether HTTPS_PROXY is needed or wrong."
	case has("text/html"):
		return "A web page answered in place of the API. --factory.url must be the base URL of the API."
	}
	return "The answer is not what the documents promise. Please open an issue with these lines."
}

// hide removes what may tell of somebody from a line: addresses, ids, and what commands a
// terminal.
func hide(line string) string {
	line = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, line)
	return regexp.MustCompile(`[^\s"'<>()]*@[^\s"'<>():,;]*|\b[a-z]+_[0-9A-Z]{10,}|\b[0-9a-f]{8}-[0-9a-f-]{20,}`).ReplaceAllString(line, "(hidden)")
}
