package actorspb

import "github.com/astrid-actors/astrid-actors/messages"

func fromBus(b *messages.Bus) *Bus {
	return &Bus{
		Delivered: b.Delivered, Lagged: b.Lagged, Steps: fromOutcomes(b.Steps), DeadLetters: b.DeadLetters,
		Topics: each(b.Topics, func(t messages.BusTopic) *BusTopic {
			return &BusTopic{
				Name: t.Name, Messages: t.Messages, Bytes: t.Bytes, Receivers: t.Receivers, Last: fromTime(t.Last), Publisher: t.Publisher,
				Publishers: t.Publishers,
			}
		}),
		Subscriptions: each(b.Subscriptions, func(s messages.BusSubscription) *BusSubscription {
			return &BusSubscription{Pattern: s.Pattern, Capsule: s.Capsule, Waiting: s.Waiting, Lost: s.Lost}
		}),
		SubscriptionCount: b.SubscriptionCount, Durable: each(b.Durable, fromDurable),
	}
}

func toBus(b *Bus) messages.Bus {
	return messages.Bus{
		Delivered: b.GetDelivered(), Lagged: b.GetLagged(), Steps: toOutcomes(b.GetSteps()), DeadLetters: b.GetDeadLetters(),
		Topics: each(b.GetTopics(), func(t *BusTopic) messages.BusTopic {
			return messages.BusTopic{
				Name: t.GetName(), Messages: t.GetMessages(), Bytes: t.GetBytes(), Receivers: t.GetReceivers(),
				Last: toTime(t.GetLast()), Publisher: t.GetPublisher(), Publishers: t.GetPublishers(),
			}
		}),
		Subscriptions: each(b.GetSubscriptions(), func(s *BusSubscription) messages.BusSubscription {
			return messages.BusSubscription{Pattern: s.GetPattern(), Capsule: s.GetCapsule(), Waiting: s.GetWaiting(), Lost: s.GetLost()}
		}),
		SubscriptionCount: b.GetSubscriptionCount(), Durable: each(b.GetDurable(), toDurable),
	}
}

func fromDurable(t messages.DurableTopic) *DurableTopic {
	return &DurableTopic{
		Name: t.Name, Declared: t.Declared, KeepAge: fromDuration(t.KeepAge), KeepBytes: t.KeepBytes,
		Messages: t.Messages, Bytes: t.Bytes, Last: t.Last,
		Subscriptions: each(t.Subscriptions, func(s messages.DurableSubscription) *DurableSubscription {
			return &DurableSubscription{Capsule: s.Capsule, Action: s.Action, Position: s.Position, Lag: s.Lag, Attempts: s.Attempts}
		}),
	}
}

func toDurable(t *DurableTopic) messages.DurableTopic {
	return messages.DurableTopic{
		Name: t.GetName(), Declared: t.GetDeclared(), KeepAge: t.GetKeepAge().AsDuration(), KeepBytes: t.GetKeepBytes(),
		Messages: t.GetMessages(), Bytes: t.GetBytes(), Last: t.GetLast(),
		Subscriptions: each(t.GetSubscriptions(), func(s *DurableSubscription) messages.DurableSubscription {
			return messages.DurableSubscription{
				Capsule: s.GetCapsule(), Action: s.GetAction(), Position: s.GetPosition(), Lag: s.GetLag(), Attempts: s.GetAttempts(),
			}
		}),
	}
}
