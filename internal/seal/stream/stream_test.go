package stream

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

var (
	testKey    = [32]byte{1, 2, 3}
	testHeader = []byte("header")
)

// data is n bytes of which no two chunks are alike.
func data(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16*31)
	}
	return b
}

func encrypt(t testing.TB, plaintext []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, testKey, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plaintext); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// decrypt returns what was released, also with an error.
func decrypt(src io.Reader, key [32]byte, header []byte) ([]byte, error) {
	r, err := NewReader(src, key, header)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 15, chunkSize - 1, chunkSize, chunkSize + 1, 2 * chunkSize, 3*chunkSize + 17} {
		plaintext := data(n)
		sealed := encrypt(t, plaintext)
		chunks := max(1, (n+chunkSize-1)/chunkSize)
		if want := saltSize + n + chunks*tagSize; len(sealed) != want {
			t.Errorf("%d bytes became %d, want %d", n, len(sealed), want)
		}
		for name, src := range map[string]io.Reader{
			"whole":         bytes.NewReader(sealed),
			"half":          iotest.HalfReader(bytes.NewReader(sealed)),
			"data with EOF": iotest.DataErrReader(bytes.NewReader(sealed)),
		} {
			if got, err := decrypt(src, testKey, testHeader); err != nil || !bytes.Equal(got, plaintext) {
				t.Errorf("%d bytes, %s: got %d bytes, %v", n, name, len(got), err)
			}
		}
		r, err := NewReader(bytes.NewReader(sealed), testKey, testHeader)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(r, plaintext); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// The cut of writes has no bearing on the chunks.
func TestSmallWrites(t *testing.T) {
	plaintext := data(2*chunkSize + 100)
	var b bytes.Buffer
	w, err := NewWriter(&b, testKey, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(plaintext, 977) {
		if n, err := w.Write(part); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := decrypt(&b, testKey, testHeader); err != nil || !bytes.Equal(got, plaintext) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

type chunk struct {
	number, last byte
	plain        []byte
}

// second is the format written down once more, from the package comment, with
// any sequence of chunks.
func second(t testing.TB, salt []byte, chunks ...chunk) []byte {
	t.Helper()
	key, err := hkdf.Key(sha256.New, testKey[:], salt, "kagimori v1 stream"+"header", 32)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := aes.NewCipher(key)
	aead, _ := cipher.NewGCM(block)
	out := bytes.Clone(salt)
	for _, c := range chunks {
		out = aead.Seal(out, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, c.number, c.last}, c.plain, nil)
	}
	return out
}

func TestFormat(t *testing.T) {
	salt := data(saltSize)
	plaintext := data(2*chunkSize + 5)
	first, middle, end := plaintext[:chunkSize], plaintext[chunkSize:2*chunkSize], plaintext[2*chunkSize:]
	sealed := second(t, salt, chunk{0, 0, first}, chunk{1, 0, middle}, chunk{2, 1, end})
	if got, err := decrypt(bytes.NewReader(sealed), testKey, testHeader); err != nil || !bytes.Equal(got, plaintext) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	// The same by value, as a third implementation made it (Python, cryptography).
	sealed = second(t, salt, chunk{0, 1, []byte("kagimori")})
	const want = "60625df5930b9e6510d3df11566c632672b0b3a420ab4869"
	if got := hex.EncodeToString(sealed[saltSize:]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	for name, chunks := range map[string][]chunk{
		"an empty last chunk behind a full one": {{0, 0, first}, {1, 1, nil}},
		"an empty chunk that is not the last":   {{0, 0, nil}, {1, 1, end}},
		"a short chunk that is not the last":    {{0, 0, end}, {1, 1, end}},
		"a chunk behind the last":               {{0, 1, first}, {1, 1, end}},
		"a stream that starts with chunk 1":     {{1, 1, end}},
	} {
		_, err := decrypt(bytes.NewReader(second(t, salt, chunks...)), testKey, testHeader)
		if !errors.Is(err, ErrAuthentication) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAttacks(t *testing.T) {
	plaintext := data(3*chunkSize + 100)
	sealed := encrypt(t, plaintext)
	const full = chunkSize + tagSize
	salt := sealed[:saltSize]
	c := [][]byte{sealed[saltSize:][:full], sealed[saltSize+full:][:full], sealed[saltSize+2*full:][:full], sealed[saltSize+3*full:]}
	other := encrypt(t, plaintext)
	join := func(parts ...[]byte) []byte { return slices.Concat(append([][]byte{salt}, parts...)...) }

	for _, v := range []struct {
		name     string
		sealed   []byte
		released int // chunks
		err      error
	}{
		{"nothing at all", nil, 0, ErrTruncated},
		{"cut in the salt", salt[:31], 0, ErrTruncated},
		{"salt only", salt, 0, ErrTruncated},
		{"last chunk dropped", join(c[0], c[1], c[2]), 2, ErrTruncated},
		{"two chunks dropped", join(c[0], c[1]), 1, ErrTruncated},
		{"cut in the last chunk", join(c[0], c[1], c[2], c[3][:50]), 3, ErrAuthentication},
		{"cut in the last tag", sealed[:len(sealed)-1], 3, ErrAuthentication},
		{"cut behind less than a tag", join(c[0], c[1], c[2], c[3][:1]), 3, ErrAuthentication},
		{"first chunk dropped", join(c[1], c[2], c[3]), 0, ErrAuthentication},
		{"middle chunk dropped", join(c[0], c[2], c[3]), 1, ErrAuthentication},
		{"chunks swapped", join(c[0], c[2], c[1], c[3]), 1, ErrAuthentication},
		{"chunk repeated", join(c[0], c[1], c[1], c[2], c[3]), 2, ErrAuthentication},
		{"last chunk repeated", join(c[0], c[1], c[2], c[3], c[3]), 3, ErrAuthentication},
		{"byte appended", join(c[0], c[1], c[2], c[3], []byte{0}), 3, ErrAuthentication},
		{"stream appended", slices.Concat(sealed, sealed), 3, ErrAuthentication},
		{"chunk of another stream", join(c[0], other[saltSize+full:][:full], c[2], c[3]), 1, ErrAuthentication},
		{"salt of another stream", slices.Concat(other[:saltSize], sealed[saltSize:]), 0, ErrAuthentication},
	} {
		got, err := decrypt(bytes.NewReader(v.sealed), testKey, testHeader)
		if !errors.Is(err, v.err) {
			t.Errorf("%s: %v, want %v", v.name, err, v.err)
		}
		if !bytes.Equal(got, plaintext[:v.released*chunkSize]) {
			t.Errorf("%s: %d bytes were released, want %d", v.name, len(got), v.released*chunkSize)
		}
	}

	if got, err := decrypt(bytes.NewReader(sealed), [32]byte{1}, testHeader); len(got) > 0 || !errors.Is(err, ErrAuthentication) {
		t.Errorf("wrong key: %d bytes, %v", len(got), err)
	}
	if got, err := decrypt(bytes.NewReader(sealed), testKey, []byte("Header")); len(got) > 0 || !errors.Is(err, ErrAuthentication) {
		t.Errorf("wrong header: %d bytes, %v", len(got), err)
	}
}

func TestEveryByteCounts(t *testing.T) {
	small := encrypt(t, []byte("small"))
	for i := range small {
		for bit := range 8 {
			changed := bytes.Clone(small)
			changed[i] ^= 1 << bit
			if got, err := decrypt(bytes.NewReader(changed), testKey, testHeader); len(got) > 0 || !errors.Is(err, ErrAuthentication) {
				t.Fatalf("byte %d bit %d: %q, %v", i, bit, got, err)
			}
		}
		if _, err := decrypt(bytes.NewReader(small[:i]), testKey, testHeader); err == nil {
			t.Fatalf("cut at %d: no error", i)
		}
	}
}

// A full disk or a broken connection is reported as what it is, and stays.
func TestOtherErrors(t *testing.T) {
	full := errors.New("disk full")
	if _, err := NewWriter(&limited{0, full}, testKey, nil); err != full {
		t.Errorf("salt: %v", err)
	}
	w, err := NewWriter(&limited{saltSize + 100, full}, testKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data(3 * chunkSize)); err != full {
		t.Errorf("Write: %v", err)
	}
	if _, err := w.Write([]byte{1}); err != full {
		t.Errorf("Write again: %v", err)
	}
	if err := w.Close(); err != full {
		t.Errorf("Close: %v", err)
	}

	w, _ = NewWriter(io.Discard, testKey, nil)
	if err := w.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := w.Write([]byte{1}); err == nil {
		t.Error("Write after Close: no error")
	}

	broken := errors.New("broken")
	for _, n := range []int{0, 10, saltSize, 1000, saltSize + chunkSize + tagSize, 100_000} {
		src := io.MultiReader(bytes.NewReader(encrypt(t, data(200_000))[:n]), iotest.ErrReader(broken))
		if _, err := decrypt(src, testKey, testHeader); err != broken {
			t.Errorf("source breaks at %d: %v", n, err)
		}
	}

	r, _ := NewReader(bytes.NewReader(encrypt(t, data(100))[:60]), testKey, testHeader)
	for range 2 {
		if n, err := r.Read(make([]byte, 10)); n != 0 || err != ErrAuthentication {
			t.Errorf("Read: %d, %v", n, err)
		}
	}
}

type limited struct {
	free int
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if l.free -= len(p); l.free < 0 {
		return 0, l.err
	}
	return len(p), nil
}

// FuzzReader changes one place of a sound stream, cuts it and appends to it.
// Whatever is released is a prefix of what was written, in whole chunks, and all
// of it only if nothing was changed.
func FuzzReader(f *testing.F) {
	plaintext := data(2*chunkSize + 7)
	sealed := encrypt(f, plaintext)
	f.Add(0, byte(0), len(sealed), []byte(nil))
	f.Add(40, byte(1), len(sealed), []byte(nil))
	f.Add(0, byte(0), saltSize+chunkSize+tagSize, []byte(nil))
	f.Add(0, byte(0), saltSize+chunkSize+tagSize, []byte("more"))
	f.Add(0, byte(0), len(sealed), sealed[len(sealed)-23:])
	f.Fuzz(func(t *testing.T, at int, flip byte, length int, more []byte) {
		changed := bytes.Clone(sealed)
		if at >= 0 && at < len(changed) {
			changed[at] ^= flip
		}
		if length >= 0 && length < len(changed) {
			changed = changed[:length]
		}
		changed = append(changed, more...)
		got, err := decrypt(bytes.NewReader(changed), testKey, testHeader)
		if !bytes.HasPrefix(plaintext, got) {
			t.Fatalf("released %d bytes that were never written", len(got))
		}
		if same := bytes.Equal(changed, sealed); (err == nil) != same {
			t.Fatalf("same %t, error %v", same, err)
		}
		if err != nil && len(got)%chunkSize != 0 {
			t.Fatalf("released %d bytes of a chunk that is not sound", len(got))
		}
	})
}

func Example() {
	key := [32]byte{} // from a key derivation
	var file bytes.Buffer
	w, _ := NewWriter(&file, key, []byte("head"))
	fmt.Fprint(w, "hello")
	w.Close()

	r, _ := NewReader(&file, key, []byte("head"))
	got, err := io.ReadAll(r)
	fmt.Println(string(got), err)
	// Output: hello <nil>
}
