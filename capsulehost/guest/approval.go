package guest

import (
	"encoding/json"
	"fmt"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

// Approval is a person's answer to RequestApproval.
type Approval struct {
	Approved bool `json:"approved"`
	// Decision is "approve", "approve_session", "approve_always", "deny", or "allowance" if
	// an earlier decision covers the request.
	Decision string `json:"decision"`
}

// Risk is how much harm an action could do, in the capsule's own judgement.
type Risk string

// The risks.
const (
	RiskLow      Risk = "low"
	RiskMedium   Risk = "medium"
	RiskHigh     Risk = "high"
	RiskCritical Risk = "critical"
)

// RequestApproval asks a person whether the capsule may do something, and waits for the
// answer: for at most a minute, then it is denied. action is a short description such as
// "git push", of 1 to 256 characters; resource is what it is done to: "git push origin
// main". The answer may be remembered for requests with the same action.
func RequestApproval(action, resource string, risk Risk) (Approval, error) {
	var answer Approval
	request, err := json.Marshal(map[string]string{"action": action, "resource": resource, "risk_level": string(risk)})
	if err == nil {
		err = json.Unmarshal([]byte(abi.RequestApproval(string(request))), &answer)
	}
	if err != nil {
		return Approval{}, fmt.Errorf("request an approval: %w", err)
	}
	return answer, nil
}
