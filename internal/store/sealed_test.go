package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/store"
	"github.com/kagimori/kagimori/internal/store/storetest"
)

var place = store.Place{Kind: "thing", Account: "111122223333", Region: "eu-central-1", ID: "鍵-1"}

func TestOpenRecordRefusesAnythingElse(t *testing.T) {
	s := storetest.NewSealer()
	index := []store.IndexEntry{{Name: "owner", Value: "mori"}, {Name: "state", Value: "on"}}
	r := store.Record{Place: place, Revision: 7, Value: []byte("secret")}
	sealed := store.SealRecord(s, r, index)
	if bytes.Contains(sealed, []byte("secret")) || bytes.Contains(sealed, []byte("mori")) {
		t.Fatal("sealed record shows its content")
	}
	got, gotIndex, err := store.OpenRecord(s, place, 7, sealed)
	if err != nil || !reflect.DeepEqual(got, r) || !reflect.DeepEqual(gotIndex, index) {
		t.Fatalf("OpenRecord = %+v %v %v, want %+v %v", got, gotIndex, err, r, index)
	}

	refused := func(what string, p store.Place, revision uint64, sealed []byte) {
		t.Helper()
		_, _, err := store.OpenRecord(s, p, revision, sealed)
		if !errors.Is(err, store.ErrTampered) {
			t.Errorf("%s: got %v, want ErrTampered", what, err)
		} else if !strings.Contains(err.Error(), p.ID) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error must name the place and no content: %v", what, err)
		}
	}
	refused("other revision", place, 8, sealed)
	for _, field := range []func(*store.Place) *string{
		func(p *store.Place) *string { return &p.Kind },
		func(p *store.Place) *string { return &p.Account },
		func(p *store.Place) *string { return &p.Region },
		func(p *store.Place) *string { return &p.ID },
	} {
		p := place
		*field(&p) += "x"
		refused("other place", p, 7, sealed)
	}
	for i := range sealed {
		b := bytes.Clone(sealed)
		b[i] ^= 1
		refused("changed byte", place, 7, b)
		refused("cut", place, 7, sealed[:i])
	}
	_, _, err = store.OpenRecord(storetest.NewSealer(), place, 7, sealed)
	if !errors.Is(err, store.ErrTampered) {
		t.Errorf("other key: %v", err)
	}
}

func TestSealRecordLeavesNoPlaintextBehind(t *testing.T) {
	var spy spySealer
	value := []byte("secret")
	store.SealRecord(&spy, store.Record{Place: place, Revision: 1, Value: value}, nil)
	if bytes.Contains(spy.plaintext, []byte("secret")) {
		t.Error("working copy of the value was not zeroed")
	}
	if string(value) != "secret" {
		t.Error("the caller's value was changed")
	}
}

type spySealer struct{ plaintext []byte }

func (s *spySealer) Seal(dst, plaintext, _ []byte) []byte {
	s.plaintext = plaintext
	return append(dst, plaintext...)
}
func (s *spySealer) Open(dst, sealed, _ []byte) ([]byte, error) { return append(dst, sealed...), nil }

// FuzzOpenRecord opens arbitrary bytes, once as they are (never authentic) and
// once as if they had been authentic, to reach the decoding behind.
func FuzzOpenRecord(f *testing.F) {
	open := new(spySealer)
	f.Add([]byte{})
	f.Add([]byte{0})
	f.Add([]byte("\x01\x05owner\x04mori value"))
	f.Add(binary.AppendUvarint([]byte{1}, 1<<63))
	f.Add(bytes.Repeat([]byte{0xff}, 20))
	f.Add(store.SealRecord(open, store.Record{Value: []byte("v")}, []store.IndexEntry{{Name: "a", Value: "b"}, {Name: "c"}}))
	sealer := storetest.NewSealer()
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, _, err := store.OpenRecord(sealer, place, 1, data); !errors.Is(err, store.ErrTampered) {
			t.Fatalf("forged record: %v", err)
		}
		r, index, err := store.OpenRecord(open, place, 1, data)
		if err != nil {
			if !errors.Is(err, store.ErrTampered) {
				t.Fatalf("got %v, want ErrTampered", err)
			}
			return
		}
		again, againIndex, err := store.OpenRecord(open, place, 1, store.SealRecord(open, r, index))
		if err != nil || !bytes.Equal(again.Value, r.Value) || !reflect.DeepEqual(againIndex, index) {
			t.Fatalf("round trip: %+v %v %v, want %+v %v", again, againIndex, err, r, index)
		}
	})
}

// FuzzBinding: two bindings are equal exactly if what they bind is, and every
// binding can be read back, so that none can mean two things.
func FuzzBinding(f *testing.F) {
	f.Add("k", "a", "r", "i", uint64(1), "k", "a", "r", "i", uint64(1))
	f.Add("k", "a", "r", "i", uint64(1), "ka", "", "r", "i", uint64(1))
	f.Add("", "", "", "", uint64(0), "", "", "", "\x00", uint64(0))
	f.Add("k", "a", "r", "i\x00\x00\x00\x00", uint64(1), "k", "a", "r", "i", uint64(1))
	f.Fuzz(func(t *testing.T, k1, a1, r1, i1 string, n1 uint64, k2, a2, r2, i2 string, n2 uint64) {
		p1, p2 := store.Place{Kind: k1, Account: a1, Region: r1, ID: i1}, store.Place{Kind: k2, Account: a2, Region: r2, ID: i2}
		b1, b2 := store.Binding(p1, n1), store.Binding(p2, n2)
		if same := p1 == p2 && n1 == n2; same != bytes.Equal(b1, b2) {
			t.Fatalf("%v %d and %v %d: same=%v, bindings %x and %x", p1, n1, p2, n2, same, b1, b2)
		}
		rest, ok := bytes.CutPrefix(b1, []byte("kagimori store record v1"))
		if !ok {
			t.Fatalf("binding %x has no domain", b1)
		}
		for _, want := range []string{k1, a1, r1, i1} {
			n := binary.BigEndian.Uint32(rest)
			if string(rest[4:4+n]) != want {
				t.Fatalf("read %q, want %q", rest[4:4+n], want)
			}
			rest = rest[4+n:]
		}
		if len(rest) != 8 || binary.BigEndian.Uint64(rest) != n1 {
			t.Fatalf("revision %x, want %d", rest, n1)
		}
	})
}
