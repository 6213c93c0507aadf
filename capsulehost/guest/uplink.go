package guest

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

// maxInbound is the size of the largest message that an uplink hands over, in bytes.
const maxInbound = 1 << 20

// UplinkProfile says what an uplink is used for.
type UplinkProfile string

// The profiles.
const (
	UplinkChat        UplinkProfile = "chat"
	UplinkInteractive UplinkProfile = "interactive"
	UplinkNotify      UplinkProfile = "notify"
	UplinkBridge      UplinkProfile = "bridge"
)

// Uplink connects the system with a platform on which people write.
type Uplink struct{ id string }

// RegisterUplink registers an uplink; it ends with the capsule's instance. The manifest
// grants it with uplink = true. A name and a platform have at most 512 bytes each; at most
// 32 uplinks can be registered, and one that is there already kills the capsule.
func RegisterUplink(name, platform string, profile UplinkProfile) Uplink {
	return Uplink{abi.UplinkRegister(name, platform, string(profile))}
}

// Send hands over what a user of the platform has written, at most 1 MiB of UTF-8. sent is
// false if the system has no room for it.
func (u Uplink) Send(user, content string) (sent bool, err error) {
	if len(content) > maxInbound || !utf8.ValidString(content) {
		return false, fmt.Errorf("send to the uplink: %d bytes: the host takes %d of UTF-8", len(content), maxInbound)
	}
	var answer struct {
		OK bool `json:"ok"`
	}
	if err := json.Unmarshal([]byte(abi.UplinkSend(u.id, user, content)), &answer); err != nil {
		return false, fmt.Errorf("send to the uplink: %w", err)
	}
	return answer.OK, nil
}
