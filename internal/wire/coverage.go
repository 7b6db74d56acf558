package wire

import (
	"bytes"
	"fmt"
)

// Coverage is docs/coverage.md: every operation of the table, and whether it works
// here, as implemented tells by its name.
func Coverage(implemented func(name string) bool) []byte {
	var rows bytes.Buffer
	working := 0
	for _, op := range KMS {
		state := "coming; answers UnsupportedOperationException"
		if implemented(op.Name) {
			state = "works"
			working++
		}
		fmt.Fprintf(&rows, "| [%[1]s](https://docs.aws.amazon.com/kms/latest/APIReference/API_%[1]s.html) | %s |\n", op.Name, state)
	}
	var b bytes.Buffer
	b.WriteString("<!-- Generated from the operation table in internal/wire. Do not edit. -->\n\n# Operations of AWS KMS\n\n")
	fmt.Fprintf(&b, "%d of %d operations work.\n\n| operation | state |\n|---|---|\n", working, len(KMS))
	b.Write(rows.Bytes())
	return b.Bytes()
}
