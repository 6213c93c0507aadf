package capsulehost

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// Limits of a request for an approval. The text of an action is compared with those that
// were approved before, so a longer one is refused; the others are only shown, and cut.
const (
	maxApprovalRequest = 64 << 10 // bytes
	maxAction          = 256      // characters
	maxResource        = 1024     // characters
	maxRisk            = 64       // characters
)

// Approvals asks people whether a guest may do something.
type Approvals interface {
	// RequestApproval returns when a person has decided, or nobody has in time: then the
	// decision is to deny. An error traps the guest.
	RequestApproval(ctx context.Context, r ApprovalRequest) (Approval, error)
}

// ApprovalRequest is what a guest asks for. Its texts have no control characters and no
// space around them.
type ApprovalRequest struct {
	Action    string // a short description, such as "git push"; never empty
	Resource  string // what it is done to: "git push origin main"
	Risk      string // "low", "medium", "high" or "critical", if the guest says so
	Principal string // for whom the guest runs; "" for the owner of the capsules
}

// Approval is the answer to an ApprovalRequest.
type Approval struct {
	Approved bool
	// Decision is "approve", "approve_session", "approve_always", "deny", or "allowance" if
	// an earlier decision covers the request.
	Decision string
}

// approvalCalls are the calls of Services.Approvals.
var approvalCalls = []hostFunction{
	{"astrid_request_approval", []api.ValueType{i64}, []api.ValueType{i64}, astridRequestApproval},
}

func astridRequestApproval(_ context.Context, i *Instance, stack []uint64) error {
	request, err := i.bytes("request", stack[0], maxApprovalRequest)
	if err != nil {
		return err
	}
	var r ApprovalRequest
	err = serdejson.DecodeStruct(request, serdejson.TextField("action", &r.Action),
		serdejson.TextField("resource", &r.Resource), serdejson.TextField("risk_level", &r.Risk))
	if err != nil {
		return fmt.Errorf("invalid approval request: %w", err)
	}
	if n := utf8.RuneCountInString(r.Action); n > maxAction {
		return fmt.Errorf("invalid approval request: the action has %d characters, over the limit of %d", n, maxAction)
	}
	r.Action, r.Resource, r.Risk = displayed(r.Action, maxAction), displayed(r.Resource, maxResource), displayed(r.Risk, maxRisk)
	if r.Action == "" {
		return fmt.Errorf("invalid approval request: the action is empty")
	}
	r.Principal = i.principal()
	answer := Approval{Decision: "deny"} // nobody is there to ask
	if s := i.services().Approvals; s != nil {
		i.outside(func() { answer, err = s.RequestApproval(i.ctx, r) })
		if err != nil {
			return err
		}
	}
	text := []byte(`{"approved":` + strconv.FormatBool(answer.Approved) + `,"decision":`)
	return i.answer(stack, string(append(serdejson.AppendString(text, answer.Decision), '}')))
}

// displayed returns a guest's text as a person may be shown it: without control and
// formatting characters, which could hide a part of it, and of at most n characters.
func displayed(text string, n int) string {
	var out strings.Builder
	for _, r := range strings.TrimSpace(text) {
		if n == 0 {
			break
		}
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) {
			continue
		}
		out.WriteRune(r)
		n--
	}
	return strings.TrimSpace(out.String())
}

// principal returns the principal of the guest's caller; "" if there is none.
func (i *Instance) principal() string {
	if caller := i.hostAPI.Caller(); caller != nil && caller.Principal != nil {
		return *caller.Principal
	}
	return ""
}
