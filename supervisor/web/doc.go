// Package web shows a running [supervisor.Supervisor] as a page in a browser:
// what is in trouble, why, what was decided and what comes next.
//
//	listener, err := web.Listen(ctx, "127.0.0.1:7711", cfg)
//	err = web.Serve(ctx, listener, sup, cfg)
//
// All of it is in the program: html/template, one style sheet, one script, and a
// stream of server-sent events that sends what has changed. It works without the
// script too, as a page that stands still.
//
// # Who may look
//
// Without a token it listens at loopback addresses only, and answers only
// requests that name one: every user of the machine may look, and nobody else.
// With a token a browser logs in, and a program sends "Authorization: Bearer". A
// page of another origin can neither read nor act: the Host and the Origin of
// requests are checked, and what changes something needs a secret that only our
// own pages have. Whatever guests say is text: templates escape it, and the
// Content-Security-Policy allows no script and no style but ours.
//
// It is an observer: it sees snapshots and events, and asks for what any
// embedder may ask for. It does no TLS: beyond the machine itself, put it behind
// something that does, or reach it through ssh -L.
package web
