// Package topiclog keeps the messages of durable topics in a store, and how far each
// durable subscription has come.
//
//	log, err := topiclog.New(ctx, topiclog.Config{Store: s, Log: logger})
//	defer log.Close()
//	log.Declare(map[string]topiclog.Keep{"orders": {Age: 7 * 24 * time.Hour}})
//
// The keys in the store are
//
//	topic/<topic>                       the positions that it has, and what it keeps
//	event/<topic>/<position>            one message; positions count from 1, without gaps
//	cursor/<capsule>/<topic>/<action>   the position that was answered last
//
// A topic has one writer, a goroutine that runs while messages wait: it numbers what has
// come in since its last transaction, and drops what the topic keeps no longer. So one
// sync of the disk is paid by many publishers, and each compares the topic's revision.
package topiclog
