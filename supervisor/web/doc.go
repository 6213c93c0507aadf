// Package web shows a running [supervisor.Supervisor] as a page in a browser: the
// troubles, their causes, the decisions and the next steps.
//
//	listener, err := web.Listen(ctx, "127.0.0.1:7711", cfg)
//	err = web.Serve(ctx, listener, sup, cfg)
//
// Everything is in the program: html/template, one style sheet, one script, and a stream
// of server-sent events with the changes. Without the script it works as a static page.
//
// # Access
//
// Without a token the server listens on loopback addresses only, and answers only
// requests whose Host names one: every user of this machine may look, and no one else.
// With a token a browser logs in, and a program sends "Authorization: Bearer". A page of
// another origin can neither read nor act: the Host and the Origin of requests are
// checked, and each change needs a secret that only our own pages have. All text of
// guests is escaped by templates, and the Content-Security-Policy allows no script and
// no style but ours.
//
// The server is an observer: it reads snapshots and events, and sends the commands that
// any embedding program can send. It has no TLS: to use it from another machine, put it
// behind a proxy that has, or reach it through ssh -L.
package web
