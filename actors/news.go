package actors

// Announced ends the announcements that a registry or a router gets after its
// restart: it knows every capsule again.
type Announced struct{}

// news is how far somebody has heard of a capsule. CapsuleUp and CapsuleDown
// come from its actor and from its supervisor, and so may overtake each other.
type news struct {
	generation uint64 // the latest heard of
	over       bool   // and that it has ended: it does not come back
}

// up says whether the news that a generation lives is still true.
func (n *news) up(generation uint64) bool {
	if generation < n.generation || (generation == n.generation && n.over) {
		return false
	}
	n.generation, n.over = generation, false
	return true
}

// down says whether the news that a generation does not live is not outdated.
func (n *news) down(generation uint64) bool {
	if generation < n.generation {
		return false
	}
	n.generation, n.over = generation, true
	return true
}
