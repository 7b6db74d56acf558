// Package stream encrypts a stream of any length in authenticated chunks. Bytes
// changed, chunks dropped, repeated, moved or appended, and a stream cut short
// are all detected, and no byte of a chunk is released before all of it has been
// authenticated.
//
// It is the STREAM construction (https://eprint.iacr.org/2015/189) as the payload
// of https://age-encryption.org/v1 uses it, with AES-256-GCM, which FIPS 140
// approves, in place of ChaCha20-Poly1305:
//
//	stream    = salt || chunk...                  the salt is 32 random bytes
//	streamKey = HKDF-SHA256(key, salt, "kagimori v1 stream" || header), 32 bytes
//	chunk     = AES-256-GCM(streamKey, nonce, up to 65,536 bytes), tag of 16 bytes
//	nonce     = number of the chunk, 11 bytes big-endian from 0 || last
//
// last is 1 for the last chunk and 0 for all others. All chunks but the last are
// full. The last is empty only if the whole stream is. The header is not part of
// the stream: it is whatever the caller keeps before it, and is authenticated.
//
// The counter is a nonce chosen by the caller in the eyes of crypto/cipher, so
// this works with GODEBUG=fips140=on but NewWriter and NewReader return an error
// with fips140=only.
package stream

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/kagimori/kagimori/internal/secmem"
)

const (
	saltSize  = 32
	chunkSize = 64 << 10
	tagSize   = 16
	nonceSize = 12
	label     = "kagimori v1 stream"
)

var (
	// ErrAuthentication: the stream was changed, or key or header are not those
	// that it was written with.
	ErrAuthentication = errors.New("stream: authentication failed: the data was changed or cut short, or it belongs to another key")
	// ErrTruncated: the stream ends before its last chunk.
	ErrTruncated = errors.New("stream: truncated: the end is missing")

	errClosed = errors.New("stream: write after Close")
)

// newAEAD is AES-256-GCM under the key of one stream.
func newAEAD(key [32]byte, salt, header []byte) (cipher.AEAD, error) {
	streamKey, err := hkdf.Key(sha256.New, key[:], salt, label+string(header), 32)
	if err != nil {
		return nil, err
	}
	defer secmem.Zero(streamKey)
	block, err := aes.NewCipher(streamKey)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// nonce counts chunks. Its counter of 88 bits, of which 64 are used, cannot run
// out.
type nonce [nonceSize]byte

func (n *nonce) of(chunk uint64, last bool) []byte {
	binary.BigEndian.PutUint64(n[3:11], chunk)
	n[11] = 0
	if last {
		n[11] = 1
	}
	return n[:]
}

// Writer encrypts what is written to it. It belongs to one goroutine.
type Writer struct {
	dst   io.Writer
	aead  cipher.AEAD
	nonce nonce
	chunk uint64
	plain []byte // less than or exactly one chunk, not yet written
	out   []byte
	err   error // sticky
}

// NewWriter starts a stream on dst, writing its salt. Nothing is whole before
// Close has returned nil.
func NewWriter(dst io.Writer, key [32]byte, header []byte) (*Writer, error) {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	aead, err := newAEAD(key, salt, header)
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	if _, err := dst.Write(salt); err != nil {
		return nil, err
	}
	return &Writer{
		dst: dst, aead: aead,
		plain: make([]byte, 0, chunkSize),
		out:   make([]byte, 0, chunkSize+tagSize),
	}, nil
}

// Write encrypts p. Full chunks go to the destination once more follows them. An
// error of the destination is returned by every later call too.
func (w *Writer) Write(p []byte) (n int, err error) {
	for len(p) > 0 && w.err == nil {
		if len(w.plain) == chunkSize {
			w.flush(false)
			continue
		}
		free := min(len(p), chunkSize-len(w.plain))
		w.plain = append(w.plain, p[:free]...)
		p = p[free:]
		n += free
	}
	return n, w.err
}

// Close writes the last chunk. It does not close the destination. A second Close
// returns an error.
func (w *Writer) Close() error {
	if w.err == nil {
		w.flush(true)
	}
	err := w.err
	if err == nil {
		w.err = errClosed
	}
	secmem.Zero(w.plain[:cap(w.plain)])
	return err
}

func (w *Writer) flush(last bool) {
	w.out = w.aead.Seal(w.out[:0], w.nonce.of(w.chunk, last), w.plain, nil)
	_, w.err = w.dst.Write(w.out)
	w.plain = w.plain[:0]
	w.chunk++
}

// Reader decrypts a stream. It belongs to one goroutine.
type Reader struct {
	src    *bufio.Reader
	aead   cipher.AEAD
	nonce  nonce
	chunk  uint64
	sealed []byte
	buf    []byte // a chunk's plaintext
	plain  []byte // what of buf has not been read yet
	err    error  // sticky, once plain is empty
}

// NewReader reads the salt of a stream from src, which it reads to the end: a
// stream is the last thing in its file. It may return ErrTruncated. A wrong key
// or header is found by the first Read.
func NewReader(src io.Reader, key [32]byte, header []byte) (*Reader, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(src, salt); err != nil {
		return nil, truncated(err)
	}
	aead, err := newAEAD(key, salt, header)
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	return &Reader{
		src: bufio.NewReader(src), aead: aead,
		sealed: make([]byte, chunkSize+tagSize),
		buf:    make([]byte, 0, chunkSize),
	}, nil
}

// Read returns authenticated plaintext. It returns io.EOF only after the last
// chunk, ErrAuthentication or ErrTruncated for a stream that is not as it was
// written, and any other error of the source. Errors stay.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.plain) == 0 && r.err == nil {
		r.plain, r.err = r.next()
	}
	if len(r.plain) == 0 {
		return 0, r.err
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

// next is the plaintext of the next chunk, with io.EOF if it is the last one.
func (r *Reader) next() ([]byte, error) {
	n, err := io.ReadFull(r.src, r.sealed)
	last := err == io.ErrUnexpectedEOF
	switch {
	case err == nil: // full: it is the last one if nothing follows
		_, err := r.src.Peek(1)
		if err != nil && err != io.EOF {
			return nil, err
		}
		last = err == io.EOF
	case !last:
		return nil, truncated(err)
	}
	sealed := r.sealed[:n]

	plain, err := r.aead.Open(r.buf[:0], r.nonce.of(r.chunk, last), sealed, nil)
	if err != nil {
		// A sound chunk that is not the last, with nothing behind it, tells a cut
		// from damage. A cut inside a chunk cannot be told.
		if _, err := r.aead.Open(r.buf[:0], r.nonce.of(r.chunk, false), sealed, nil); last && err == nil {
			secmem.Zero(r.buf[:cap(r.buf)])
			return nil, ErrTruncated
		}
		return nil, ErrAuthentication
	}
	if len(plain) == 0 && r.chunk > 0 {
		return nil, ErrAuthentication // a writer fills the chunk before instead
	}
	r.chunk++
	if last {
		return plain, io.EOF
	}
	return plain, nil
}

// truncated is ErrTruncated for the end of the source, and any other error as
// it is.
func truncated(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrTruncated
	}
	return err
}
