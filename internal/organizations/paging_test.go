package organizations

import (
	"testing"

	"github.com/kagimori/kagimori/internal/awserr"
)

// FuzzNextToken: a token is one of ours, and leads on from where it was given, or
// it is refused.
func FuzzNextToken(f *testing.F) {
	for _, s := range []string{"", "x", "MTo", "MTphYmM", "MTphYmM=", "Mjp4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		p, err := newPage[int](nil, &token)
		if err != nil {
			if !awserr.Is(err, awserr.InvalidInput) {
				t.Fatal(err)
			}
			return
		}
		next := &page[int]{last: p.after, more: true}
		again, err := newPage[int](nil, next.next())
		if err != nil || again.after != p.after || p.after == "" {
			t.Errorf("%q leads to %q, its like to %+v, %v", token, p.after, again, err)
		}
	})
}
