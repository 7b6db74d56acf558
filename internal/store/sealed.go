package store

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Sealer encrypts and authenticates values under the store key.
type Sealer interface {
	// Seal appends the sealed form of plaintext, bound to binding, to dst.
	Seal(dst, plaintext, binding []byte) []byte
	// Open appends the plaintext of sealed to dst. It fails unless sealed came
	// from Seal with the same key and binding.
	Open(dst, sealed, binding []byte) ([]byte, error)
}

// bindingDomain sets bindings apart from whatever else the store key may seal,
// and numbers the version of what is sealed.
const bindingDomain = "kagimori store record v1"

// Binding is what a sealed record is bound to:
//
//	"kagimori store record v1"
//	for each of kind, account, region, id: length (4 bytes, big endian), bytes
//	revision (8 bytes, big endian)
//
// Different places or revisions never give the same binding.
func Binding(p Place, revision uint64) []byte {
	fields := [...]string{p.Kind, p.Account, p.Region, p.ID}
	size := len(bindingDomain) + 4*len(fields) + 8
	for _, f := range fields {
		size += len(f)
	}
	b := append(make([]byte, 0, size), bindingDomain...)
	for _, f := range fields {
		b = binary.BigEndian.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	return binary.BigEndian.AppendUint64(b, revision)
}

// SealRecord is what a backend stores for r. What is sealed is
//
//	number of index entries (uvarint)
//	for each: name and value, each with its length (uvarint) before it
//	the value of the record
//
// The entries are inside so that the index rows, which must be readable by the
// database, can be checked against them.
func SealRecord(s Sealer, r Record, index []IndexEntry) []byte {
	size := binary.MaxVarintLen64 + len(r.Value)
	for _, e := range index {
		size += 2*binary.MaxVarintLen64 + len(e.Name) + len(e.Value)
	}
	plain := binary.AppendUvarint(make([]byte, 0, size), uint64(len(index)))
	for _, e := range index {
		for _, f := range [...]string{e.Name, e.Value} {
			plain = binary.AppendUvarint(plain, uint64(len(f)))
			plain = append(plain, f...)
		}
	}
	plain = append(plain, r.Value...)
	defer clear(plain)
	return s.Seal(nil, plain, Binding(r.Place, r.Revision))
}

// OpenRecord opens what SealRecord made for this place and revision. Anything
// else is ErrTampered.
func OpenRecord(s Sealer, p Place, revision uint64, sealed []byte) (Record, []IndexEntry, error) {
	plain, err := s.Open(nil, sealed, Binding(p, revision))
	if err != nil {
		return Record{}, nil, Tampered(p)
	}
	index, value, err := splitIndex(plain)
	if err != nil {
		clear(plain)
		return Record{}, nil, Tampered(p)
	}
	return Record{Place: p, Revision: revision, Value: value}, index, nil
}

// Tampered is an ErrTampered that names the place.
func Tampered(p Place) error { return fmt.Errorf("%w: %v", ErrTampered, p) }

var errShort = errors.New("store: sealed record is cut short")

// splitIndex takes the index entries off the front of a record's plaintext.
func splitIndex(b []byte) ([]IndexEntry, []byte, error) {
	count, b, err := uvarint(b)
	if err != nil || count > MaxIndex {
		return nil, nil, errShort
	}
	index := make([]IndexEntry, count)
	for i := range index {
		for _, f := range [...]*string{&index[i].Name, &index[i].Value} {
			var n uint64
			if n, b, err = uvarint(b); err != nil || n > uint64(len(b)) {
				return nil, nil, errShort
			}
			*f, b = string(b[:n]), b[n:]
		}
	}
	return index, b, nil
}

func uvarint(b []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, errShort
	}
	return v, b[n:], nil
}
