package events

// SetMaxPending has fewer deliveries wait than in earnest, until the test ends.
func SetMaxPending(t interface{ Cleanup(func()) }, n int) {
	before := maxPending
	maxPending = n
	t.Cleanup(func() { maxPending = before })
}

// ParseTargets reads a file of targets.
func ParseTargets(text []byte) error {
	_, err := parseTargets(text)
	return err
}
