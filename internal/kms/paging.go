package kms

import (
	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
)

// page is one page of a list: Limit and Marker as the caller gave them, and the
// marker of the next page.
type page struct {
	limit int
	after string // list what comes after this
	last  string // the last item that was listed
	more  bool
}

// newPage reads Limit (initial when left out, at most highest) and Marker.
func newPage(limit *int32, marker *string, initial, highest int) (*page, error) {
	p := &page{limit: initial}
	if limit != nil {
		if int(*limit) > highest {
			return nil, tooLarge("limit", int(*limit), highest)
		}
		p.limit = int(*limit)
	}
	if marker != nil {
		var ok bool
		if p.after, ok = api.ParseMarker(*marker); !ok {
			return nil, awserr.New(awserr.InvalidMarker, "Could not deserialize marker. Use the NextMarker of the previous answer unchanged.")
		}
	}
	return p, nil
}

// full tells, with n items listed, whether the page is full; then there is more.
func (p *page) full(n int) bool {
	p.more = n >= p.limit
	return p.more
}

// next is NextMarker and Truncated of the answer.
func (p *page) next() (*string, bool) {
	if !p.more {
		return nil, false
	}
	return api.Marker(p.last), true
}

// tooLarge and tooSmall are AWS's words for a number out of range, for ranges
// that are documented but not in the service model.
func tooLarge(member string, value, highest int) error {
	return invalid("1 validation error detected: Value '%d' at '%s' failed to satisfy constraint: Member must have value less than or equal to %d", value, member, highest)
}

func tooSmall(member string, value, lowest int) error {
	return invalid("1 validation error detected: Value '%d' at '%s' failed to satisfy constraint: Member must have value greater than or equal to %d", value, member, lowest)
}
