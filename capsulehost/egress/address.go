package egress

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// special are the networks of the IANA registries of special-purpose addresses that are
// not the public Internet, besides all of IPv6 outside 2000::/3.
var special = prefixes( //nolint:gochecknoglobals // a constant table
	"0.0.0.0/8",       // this network
	"10.0.0.0/8",      // private
	"100.64.0.0/10",   // shared: carriers' address translation
	"127.0.0.0/8",     // loopback
	"169.254.0.0/16",  // link-local: also the metadata services of clouds
	"172.16.0.0/12",   // private
	"192.0.0.0/24",    // protocol assignments
	"192.0.2.0/24",    // documentation
	"192.88.99.0/24",  // relays of 6to4
	"192.168.0.0/16",  // private
	"198.18.0.0/15",   // benchmarks
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"224.0.0.0/4",     // multicast
	"240.0.0.0/4",     // reserved, and broadcast

	"2001::/23",     // protocol assignments: also Teredo, which holds IPv4 addresses
	"2001:db8::/32", // documentation
	"2002::/16",     // 6to4, which holds IPv4 addresses
	"3fff::/20",     // documentation
)

var (
	public6 = netip.MustParsePrefix("2000::/3")     //nolint:gochecknoglobals // a constant
	nat64   = netip.MustParsePrefix("64:ff9b::/96") //nolint:gochecknoglobals // a constant
)

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for n, text := range texts {
		all[n] = netip.MustParsePrefix(text)
	}
	return all
}

// checkAddress refuses an address that is not public, unless it is in a network that is
// allowed.
func checkAddress(a netip.Addr, allowed []netip.Prefix) error {
	a = a.Unmap() // ::ffff:127.0.0.1 is 127.0.0.1
	in := func(p netip.Prefix) bool { return p.Contains(a.WithZone("")) }
	if slices.ContainsFunc(allowed, in) {
		return nil
	}
	if nat64.Contains(a) { // an IPv4 address, reached through a translator
		b := a.As16()
		return checkAddress(netip.AddrFrom4([4]byte(b[12:])), allowed)
	}
	if n := slices.IndexFunc(special, in); n >= 0 {
		return refusedAddress("an address in " + special[n].String())
	}
	switch {
	case a.Zone() != "" || a.Is6() && !public6.Contains(a):
		return refusedAddress("an IPv6 address that is not public")
	case isOwn(a):
		return refusedAddress("an address of this machine")
	}
	return nil
}

func refusedAddress(what string) error {
	return fmt.Errorf("it is %s, which is not public: the operator has to allow the network (run --allow-network)", what)
}

// isOwn reports whether an address is this machine's: its services may trust
// connections from itself.
func isOwn(a netip.Addr) bool {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return true // in doubt
	}
	return slices.ContainsFunc(own, func(o net.Addr) bool {
		prefix, err := netip.ParsePrefix(o.String())
		return err == nil && prefix.Addr().Unmap() == a
	})
}
