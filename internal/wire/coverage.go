package wire

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
)

// Coverage is docs/coverage.md: every operation of every service, and whether it
// works here, as implemented tells.
func Coverage(implemented func(*Operation) bool) []byte {
	var b bytes.Buffer
	b.WriteString("<!-- Generated from the operation tables in internal/wire. Do not edit. -->\n\n# Operations\n")
	for _, s := range Services {
		var rows bytes.Buffer
		working := 0
		for _, name := range slices.Sorted(maps.Keys(s.byName)) {
			state := "coming; answers UnsupportedOperationException"
			if s.query {
				state = "coming; answers UnsupportedOperation"
			}
			if implemented(s.byName[name]) {
				state = "works"
				working++
			}
			fmt.Fprintf(&rows, "| [%s](https://docs.aws.amazon.com/%s/latest/APIReference/API_%[1]s.html) | %[3]s |\n", name, s.docs, state)
		}
		fmt.Fprintf(&b, "\n## %s\n\n%d of %d operations work.\n\n| operation | state |\n|---|---|\n", s.Title, working, len(s.byName))
		b.Write(rows.Bytes())
	}
	return b.Bytes()
}
