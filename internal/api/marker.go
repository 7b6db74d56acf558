package api

import (
	"encoding/base64"
	"strings"
)

// markerPrefix tells the markers of this version.
const markerPrefix = "1:"

// Marker is the NextMarker, NextToken or the like of a list whose last item on this page
// is last. It is neither secret nor authenticated.
func Marker(last string) *string {
	m := base64.RawURLEncoding.EncodeToString([]byte(markerPrefix + last))
	return &m
}

// ParseMarker is the last item of the page that a marker was given out with. It is false for
// what is none.
func ParseMarker(marker string) (last string, ok bool) {
	raw, err := base64.RawURLEncoding.DecodeString(marker)
	last, ok = strings.CutPrefix(string(raw), markerPrefix)
	return last, err == nil && ok && last != ""
}
