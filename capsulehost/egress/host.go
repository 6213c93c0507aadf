package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// badPorts are the ports of other protocols, to which browsers don't speak HTTP either
// (https://fetch.spec.whatwg.org/#port-blocking): a request could hold commands for them.
var badPorts = []uint16{
	0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95,
	101, 102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179,
	389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601,
	636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566,
	6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
}

// checkURL checks everything about a URL that is known before the connection, and writes
// its host in the form that is then looked up. So what is checked is what is used.
func (c *Client) checkURL(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("the scheme %q is neither http nor https", u.Scheme)
	}
	host, err := canonical(u.Hostname())
	if err != nil {
		return err
	}
	address, isAddress := parseAddress(host)
	if !c.granted(host, isAddress) {
		return fmt.Errorf("the host %q is not granted: see net in the manifest of the capsule", host)
	}
	if text := u.Port(); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return fmt.Errorf("the port %q is not a number up to 65535", text)
		}
		if slices.Contains(badPorts, uint16(port)) {
			return fmt.Errorf("the port %d is that of another protocol than HTTP", port)
		}
	}
	if isAddress {
		if err := checkAddress(address, c.cfg.Networks); err != nil {
			return fmt.Errorf("connect to %q: %w", host, err)
		}
	}
	switch port := u.Port(); {
	case port != "":
		u.Host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		u.Host = "[" + host + "]"
	default:
		u.Host = host
	}
	return nil
}

// canonical returns a host in lower case and ASCII, without a dot at its end.
func canonical(host string) (string, error) {
	host = strings.TrimSuffix(host, ".")
	if host == "" {
		return "", errors.New("the URL has no host")
	}
	if strings.Contains(host, "%") {
		return "", fmt.Errorf("the host %q holds %q: neither zones nor escapes are allowed", host, "%")
	}
	if _, isAddress := parseAddress(host); isAddress {
		return host, nil
	}
	for _, r := range host {
		if r >= 0x80 {
			ascii, err := idna.Lookup.ToASCII(host)
			if err != nil {
				return "", fmt.Errorf("the host %q: %w", host, err)
			}
			host = strings.TrimSuffix(ascii, ".")
			break
		}
	}
	host = strings.ToLower(host)
	for _, r := range host {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-_.", r) {
			if _, isAddress := parseAddress(host); isAddress {
				break
			}
			return "", fmt.Errorf("the host %q holds %q", host, r)
		}
	}
	if _, isAddress := parseAddress(host); !isAddress && endsInNumber(host) {
		return "", fmt.Errorf("the host %q is a number: write an address as four decimal numbers", host)
	}
	return host, nil
}

// parseAddress reads an address in its usual form.
func parseAddress(host string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(host)
	return a, err == nil
}

// endsInNumber reports whether the last label of a name is a number, decimal, octal or
// hexadecimal: some resolvers take such a name for an address.
func endsInNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.Trim(last, "0123456789") == "" {
		return true
	}
	hex, ok := strings.CutPrefix(last, "0x")
	return ok && strings.Trim(hex, "0123456789abcdef") == ""
}

// granted reports whether a pattern of the manifest grants a host: `*` all of them,
// a name itself and the names below it.
func (c *Client) granted(host string, isAddress bool) bool {
	return slices.ContainsFunc(c.cfg.Hosts, func(pattern string) bool {
		if pattern == "*" {
			return true
		}
		pattern, err := canonical(strings.Trim(pattern, "[]"))
		return err == nil && (host == pattern || !isAddress && strings.HasSuffix(host, "."+pattern))
	})
}
