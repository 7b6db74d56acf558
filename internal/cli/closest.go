package cli

import "strings"

// Closest is the one of known that name was most likely meant to be: one that
// it abbreviates, or else the one with the fewest letters added, dropped,
// changed or swapped. It is empty only when known is.
func Closest(name string, known []string) string {
	best, least := "", 0
	for _, k := range known {
		d := distance(name, k)
		if strings.HasPrefix(k, name) {
			d = min(d, 1)
		}
		if best == "" || d < least {
			best, least = k, d
		}
	}
	return best
}

// maxCompared bounds the work on a name from outside; no known one is as long.
const maxCompared = 64

// distance is the optimal string alignment distance of a and b in bytes.
func distance(a, b string) int {
	a, b = a[:min(len(a), maxCompared)], b[:min(len(b), maxCompared)]
	// Three rows of the table are enough: a swap looks two rows back.
	var before, above []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, above, row = above, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			row[j+1] = min(row[j]+1, above[j+1]+1, above[j]+change)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
