// Package egress sends capsules' HTTP requests: an implementation of capsulehost.HTTP
// that reaches only what is granted.
//
//	client := egress.New(egress.Config{Hosts: []string{"api.example.com"}})
//	defer client.Close()
//	services.HTTP = client
//
// A request must pass three checks, each again for every redirect:
//
//   - the host in its URL is granted to the capsule;
//   - its port is not one of another well-known protocol;
//   - the address that is connected to is a public one, or in a network that the
//     operator allows. This is checked in the moment of the connection, so a name that
//     resolves to another address each time gains nothing.
//
// Proxies of the environment (HTTP_PROXY and so on) are not used: a proxy would connect
// to addresses that nobody has checked. An embedder that needs one replaces the
// transport, which then is responsible for the third check.
package egress
