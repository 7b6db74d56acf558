package lint

// Rules are the names of the rules that look at statements.
func Rules() (names []string) {
	for _, r := range rules {
		names = append(names, r.name)
	}
	return names
}
