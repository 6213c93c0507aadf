package journal

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/messages"
)

// An instance that its pool gives up is not shown any more, also if another one, that was
// just added, has not begun to load.
func TestPoolScalesBothWays(t *testing.T) {
	j := New(Config{Kept: 100})
	j.Enter(&messages.Capsule{Path: "capsules/w", ID: "w", InstancesMin: 1, InstancesMax: 3})
	scaled := func(instance, instances uint32, cause string) {
		j.Observe(messages.Event{Path: "capsules/w", Detail: messages.PoolScaled{Instance: instance, Instances: instances, Cause: cause}})
	}
	loads := func(instance string) {
		j.Observe(messages.Event{Path: "capsules/w#" + instance, Generation: 1, Detail: messages.CapsuleLoading{}})
	}
	loads("1")
	scaled(2, 2, "calls wait")
	loads("2")
	scaled(3, 3, "calls wait")
	scaled(2, 2, "idle")
	loads("3")
	var got []uint32
	for _, i := range j.Detail("w").Capsule.Instances {
		got = append(got, i.Number)
	}
	if diff := cmp.Diff([]uint32{1, 3}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
