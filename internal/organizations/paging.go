package organizations

import (
	"errors"

	"github.com/kagimori/kagimori/internal/api"
)

// page collects one page of a list.
type page[T any] struct {
	limit int
	after string // list what comes after this
	last  string // the last item that was listed
	items []T
	more  bool
}

// errPageFull ends a listing whose page is full.
var errPageFull = errors.New("page full")

// highest is the largest MaxResults, and what stands for one that was left out.
const highest = 20

// newPage reads MaxResults and NextToken.
func newPage[T any](limit *int32, token *string) (*page[T], error) {
	p := &page[T]{limit: highest, items: []T{}}
	if limit != nil {
		p.limit = int(*limit)
	}
	if token != nil {
		var ok bool
		if p.after, ok = api.ParseMarker(*token); !ok {
			return nil, invalid("INVALID_NEXT_TOKEN", "You provided an invalid NextToken. Use the NextToken of the previous answer unchanged.")
		}
	}
	return p, nil
}

// add lists an item, or ends the listing.
func (p *page[T]) add(id string, item T) error {
	if len(p.items) == p.limit {
		p.more = true
		return errPageFull
	}
	p.items, p.last = append(p.items, item), id
	return nil
}

// next is NextToken of the answer.
func (p *page[T]) next() *string {
	if !p.more {
		return nil
	}
	return api.Marker(p.last)
}

// ended is the error of a listing that may have ended with a full page.
func ended(err error) error {
	if errors.Is(err, errPageFull) {
		return nil
	}
	return err
}
