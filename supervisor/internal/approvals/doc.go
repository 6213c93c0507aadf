// Package approvals keeps what capsules ask people to approve: the requests that wait,
// and the decisions that are remembered.
//
//	desk := approvals.New(approvals.Config{Store: s, Principal: "default", Observe: observe})
//	services.Approvals = desk.For("capsule", path)
//	err := desk.Decide(ctx, id, approvals.Always)
//
// A request waits for at most a minute. A decision for the session is forgotten when the
// system ends; one for always is kept in the store:
//
//	approval/<principal>/<capsule>/<id>
package approvals
