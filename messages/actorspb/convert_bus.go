package actorspb

import "github.com/astrid-actors/astrid-actors/messages"

func fromBus(b *messages.Bus) *Bus {
	return &Bus{
		Delivered: b.Delivered, Lagged: b.Lagged, Steps: fromOutcomes(b.Steps), DeadLetters: b.DeadLetters,
		Topics: each(b.Topics, func(t messages.BusTopic) *BusTopic {
			return &BusTopic{
				Name: t.Name, Messages: t.Messages, Bytes: t.Bytes, Receivers: t.Receivers, Last: fromTime(t.Last), Publisher: t.Publisher,
			}
		}),
		Subscriptions: each(b.Subscriptions, func(s messages.BusSubscription) *BusSubscription {
			return &BusSubscription{Pattern: s.Pattern, Capsule: s.Capsule, Waiting: s.Waiting, Lost: s.Lost}
		}),
		SubscriptionCount: b.SubscriptionCount,
	}
}

func toBus(b *Bus) messages.Bus {
	return messages.Bus{
		Delivered: b.GetDelivered(), Lagged: b.GetLagged(), Steps: toOutcomes(b.GetSteps()), DeadLetters: b.GetDeadLetters(),
		Topics: each(b.GetTopics(), func(t *BusTopic) messages.BusTopic {
			return messages.BusTopic{
				Name: t.GetName(), Messages: t.GetMessages(), Bytes: t.GetBytes(), Receivers: t.GetReceivers(),
				Last: toTime(t.GetLast()), Publisher: t.GetPublisher(),
			}
		}),
		Subscriptions: each(b.GetSubscriptions(), func(s *BusSubscription) messages.BusSubscription {
			return messages.BusSubscription{Pattern: s.GetPattern(), Capsule: s.GetCapsule(), Waiting: s.GetWaiting(), Lost: s.GetLost()}
		}),
		SubscriptionCount: b.GetSubscriptionCount(),
	}
}
