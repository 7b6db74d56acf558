package translog

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/kagimori/kagimori/internal/journal"
)

// The first lines of the two kinds of proofs. The one of a record is that of
// https://c2sp.org/tlog-proof, with the record as its extra data.
const (
	recordProof = "c2sp.org/tlog-proof@v1"
	treeProof   = "kagimori.org/consistency-proof@v1"
)

// Proof is a proof that was checked.
type Proof struct {
	Origin string // of the log
	Size   int64  // of the tree that the checkpoint is about
	// Record and Index are what is proved to be in the log; nil if the proof is of an
	// older tree.
	Record []byte
	Index  int64
	// Old is the size of the older tree that is proved to be the beginning of the log.
	Old int64
}

// Load is the tree of a checkpoint that all keys signed, or of the log's last one if signed
// is nil, and that checkpoint. It is for those who look at a log from outside.
func Load(dir, journalDir string, keys *Keys, signed []byte) (_ *Tree, checkpoint []byte, err error) {
	if signed == nil {
		if signed, err = os.ReadFile(CheckpointFile(dir)); err != nil {
			return nil, nil, err
		}
		keys = keys.Log()
	}
	c, err := keys.Open(signed)
	if err != nil {
		return nil, nil, err
	}
	oldest, err := journal.First(journalDir)
	if err != nil {
		return nil, nil, err
	}
	t, err := open(dir, max(c.N&^(settled-1), int64(max(oldest, 1))-1), keep)
	if err != nil {
		return nil, nil, err
	}
	for e, err := range journal.Read(journalDir, uint64(t.size)+1) {
		if err != nil {
			return nil, nil, err
		}
		if t.size == c.N {
			break
		}
		if err := t.add(e.Record); err != nil {
			return nil, nil, err
		}
	}
	if t.head() != c.Tree {
		return nil, nil, fmt.Errorf("%w of %d records", ErrDisagree, c.N)
	}
	return t, signed, nil
}

// keep leaves full tiles as they are in their files.
func keep(*Tree, tlog.Tile, []byte) error { return nil }

// ProveRecord is a proof that the record with that number in the journal is in the tree
// that the checkpoint is about.
func (t *Tree) ProveRecord(seq uint64, record, checkpoint []byte) ([]byte, error) {
	index := int64(seq) - 1
	if index >= t.size {
		return nil, fmt.Errorf("the record has the number %d, and the checkpoint is about the first %d: take a newer one", seq, t.size)
	}
	hashes, err := tlog.ProveRecord(t.size, index, t)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("%s\nextra %s\nindex %d\n", recordProof, base64.StdEncoding.EncodeToString(record), index)
	return join(head, hashes, checkpoint), nil
}

// ProveTree is a proof that the tree of an older checkpoint, which keys are of, is the
// beginning of this one.
func (t *Tree) ProveTree(keys *Keys, older, checkpoint []byte) ([]byte, error) {
	old, err := keys.Open(older)
	if err != nil {
		return nil, fmt.Errorf("the older checkpoint: %w", err)
	}
	var hashes []tlog.Hash
	if old.N > 0 {
		if old.N > t.size {
			return nil, fmt.Errorf("%w: the older checkpoint is about %d records, the last one about %d", ErrDisagree, old.N, t.size)
		}
		if hashes, err = tlog.ProveTree(t.size, old.N, t); err != nil {
			return nil, err
		}
		if err := tlog.CheckTree(hashes, t.size, t.head().Hash, old.N, old.Hash); err != nil {
			return nil, fmt.Errorf("%w: it did not begin with the %d records of the older checkpoint", ErrDisagree, old.N)
		}
	}
	return join(fmt.Sprintf("%s\nold %s\n", treeProof, base64.StdEncoding.EncodeToString(older)), hashes, checkpoint), nil
}

func join(head string, hashes []tlog.Hash, checkpoint []byte) []byte {
	b := []byte(head)
	for _, h := range hashes {
		b = append(b, h.String()+"\n"...)
	}
	return append(append(b, '\n'), checkpoint...)
}

// errProof is for what is no proof at all.
var errProof = errors.New("this is not a proof: it is damaged, or something else")

// CheckProof checks a proof of either kind, with nothing but the keys.
func CheckProof(keys *Keys, proof []byte) (*Proof, error) {
	head, checkpoint, ok := bytes.Cut(proof, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) < 2 {
		return nil, errProof
	}
	c, err := keys.Open(checkpoint)
	if err != nil {
		return nil, err
	}
	p := &Proof{Origin: c.Origin, Size: c.N}
	kind, lines := lines[0], lines[1:]
	field := func(name string) (string, bool) {
		if len(lines) == 0 {
			return "", false
		}
		value, ok := strings.CutPrefix(lines[0], name+" ")
		lines = lines[1:]
		return value, ok
	}
	switch kind {
	case recordProof:
		extra, ok1 := field("extra")
		index, ok2 := field("index")
		hashes, ok3 := parseHashes(lines)
		p.Record, err = base64.StdEncoding.Strict().DecodeString(extra)
		n, err2 := strconv.ParseInt(index, 10, 64)
		if !ok1 || !ok2 || !ok3 || err != nil || err2 != nil || n < 0 || strconv.FormatInt(n, 10) != index {
			return nil, errProof
		}
		p.Index = n
		if n >= c.N || tlog.CheckRecord(hashes, c.N, c.Hash, n, tlog.RecordHash(p.Record)) != nil {
			return nil, errors.New("the proof is wrong: the record is not in the log")
		}
	case treeProof:
		encoded, ok1 := field("old")
		hashes, ok2 := parseHashes(lines)
		older, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if !ok1 || !ok2 || err != nil {
			return nil, errProof
		}
		old, err := keys.Open(older)
		if err != nil {
			return nil, fmt.Errorf("the older checkpoint: %w", err)
		}
		p.Old = old.N
		if old.N > c.N || old.N > 0 && tlog.CheckTree(hashes, c.N, c.Hash, old.N, old.Hash) != nil {
			return nil, errors.New("the proof is wrong: the log does not begin with what the older checkpoint is about")
		}
	default:
		return nil, errProof
	}
	return p, nil
}

func parseHashes(lines []string) ([]tlog.Hash, bool) {
	hashes := make([]tlog.Hash, len(lines))
	for i, line := range lines {
		h, err := tlog.ParseHash(line)
		if err != nil || h.String() != line {
			return nil, false
		}
		hashes[i] = h
	}
	return hashes, true
}
