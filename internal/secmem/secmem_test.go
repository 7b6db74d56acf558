package secmem

import (
	"bytes"
	"testing"
)

func TestZero(t *testing.T) {
	b := []byte("a secret and what follows it")
	Zero(b[:8])
	if want := append(make([]byte, 8), " and what follows it"...); !bytes.Equal(b, want) {
		t.Errorf("got %q, want %q", b, want)
	}
	Zero(nil)
}
