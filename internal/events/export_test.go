package events

// SetMaxPending has fewer deliveries wait than in earnest, until the test ends.
func SetMaxPending(t interface{ Cleanup(func()) }, n int) {
	before := maxPending
	maxPending.events = n
	t.Cleanup(func() { maxPending = before })
}

// LearnBehind has no uses of keys searched for at once, until the test ends.
func LearnBehind(t interface{ Cleanup(func()) }) {
	before := learnAtOnce
	learnAtOnce = 1
	t.Cleanup(func() { learnAtOnce = before })
}
