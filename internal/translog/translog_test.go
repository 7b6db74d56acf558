package translog

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/durable"
	"github.com/kagimori/kagimori/internal/journal"
)

// fixture is a journal with a log over it.
type fixture struct {
	t       testing.TB
	dir     string // of the log
	journal string
	j       *journal.Journal
	secret  []byte
	log     *Log
	errors  bytes.Buffer
	clock   clock.Clock
}

func newFixture(t testing.TB) *fixture {
	f := &fixture{t: t, dir: filepath.Join(t.TempDir(), "log"), journal: filepath.Join(t.TempDir(), "journal")}
	var err error
	f.secret, err = NewSigner()
	f.check(err)
	f.open()
	t.Cleanup(func() {
		if f.j != nil {
			f.close()
		}
	})
	return f
}

func (f *fixture) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) open() {
	f.t.Helper()
	var err error
	f.j, _, err = journal.Open(f.journal, journal.Options{SegmentSize: 2 << 20})
	f.check(err)
}

func (f *fixture) close() {
	f.t.Helper()
	f.check(f.j.Close())
	f.j = nil
}

func (f *fixture) signer() *Signer {
	f.t.Helper()
	s, err := LoadSigner(f.secret)
	f.check(err)
	return s
}

func (f *fixture) keys() *Keys {
	f.t.Helper()
	k, err := ParseKeys(f.signer().Keys())
	f.check(err)
	return k
}

// append writes n records.
func (f *fixture) append(n int) {
	f.t.Helper()
	records := make(chan int)
	done := make(chan error)
	for range 64 {
		go func() {
			var failed error
			for i := range records {
				if _, err := f.j.Append(context.Background(), fmt.Appendf(nil, `{"eventID":"%d"}`, i)); err != nil {
					failed = err
				}
			}
			done <- failed
		}()
	}
	for i := range n {
		records <- i
	}
	close(records)
	for range 64 {
		f.check(<-done)
	}
}

// run lets the log come up to the journal and stops it.
func (f *fixture) run() {
	f.t.Helper()
	f.start()
	f.log.Close()
}

func (f *fixture) start() {
	f.t.Helper()
	f.errors.Reset()
	f.log = Start(Config{Dir: f.dir, JournalDir: f.journal, LastSeq: f.j.LastSeq, Signer: f.signer(), Clock: f.clock,
		Log: slog.New(slog.NewTextHandler(&f.errors, nil))})
}

func (f *fixture) checkpoint() []byte {
	f.t.Helper()
	b, err := os.ReadFile(CheckpointFile(f.dir))
	f.check(err)
	return b
}

func (f *fixture) verify(older ...[]byte) (*Report, error) {
	return Verify(context.Background(), f.dir, f.journal, f.keys(), older, func(int64, int64) {})
}

// records are the journal's.
func (f *fixture) records() [][]byte {
	f.t.Helper()
	var all [][]byte
	for e, err := range journal.Read(f.journal, 0) {
		f.check(err)
		all = append(all, e.Record)
	}
	return all
}

// reference is the root by the reference implementation.
func reference(t testing.TB, records [][]byte) tlog.Tree {
	t.Helper()
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	})
	for i, r := range records {
		hashes, err := tlog.StoredHashes(int64(i), r, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
	}
	h, err := tlog.TreeHash(int64(len(records)), reader)
	if err != nil {
		t.Fatal(err)
	}
	return tlog.Tree{N: int64(len(records)), Hash: h}
}

// TestHeads holds roots of all sizes around the edges of tiles to the reference.
func TestHeads(t *testing.T) {
	tree, err := open(t.TempDir(), 0, writeFull)
	if err != nil {
		t.Fatal(err)
	}
	var records [][]byte
	if got, want := tree.head(), reference(t, nil); got != want {
		t.Errorf("the empty tree is %v, want %v", got, want)
	}
	for i := range 3 * width {
		records = append(records, fmt.Append(nil, i))
		if err := tree.add(records[i]); err != nil {
			t.Fatal(err)
		}
		if got := tree.head(); i%17 == 0 || (i+2)%width < 4 {
			if want := reference(t, records); got != want {
				t.Errorf("of %d records: %v, want %v", i+1, got, want)
			}
		}
	}
}

// TestLog lets a log grow over many starts, over the edges of tiles of three levels, and
// holds it to the reference and to its layout.
func TestLog(t *testing.T) {
	f := newFixture(t)
	var checkpoints [][]byte
	total := 0
	for _, n := range []int{1, 0, 254, 1, 1, 300, settled - 600, 42, 1, 256, 70000} {
		f.append(n)
		total += n
		f.run()
		c, err := f.keys().Open(f.checkpoint())
		f.check(err)
		if want := reference(t, f.records()); c.Tree != want {
			t.Fatalf("of %d records: %v, want %v", total, c.Tree, want)
		}
		checkpoints = append(checkpoints, f.checkpoint())
		if f.errors.Len() > 0 {
			t.Error(f.errors.String())
		}
	}
	report, err := f.verify(checkpoints...)
	if err != nil || report.Size != int64(total) || report.First != 1 || report.Last != int64(total) {
		t.Errorf("Verify: %+v, %v", report, err)
	}

	// The tiles are those that the specification asks for, and no others.
	found := map[string]bool{}
	f.check(filepath.WalkDir(f.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found[path] = true
		}
		return err
	}))
	tiles := tlog.NewTiles(torchwood.TileHeight, 0, int64(total))
	for _, tile := range tiles {
		if tile.W < width && tile.W+int(tile.N)*width < int(total>>(8*tile.L)) {
			continue // NewTiles lists some that later ones hold, too
		}
		path := filepath.Join(f.dir, torchwood.TilePath(tile))
		if !found[path] {
			t.Errorf("there is no %s", path)
		}
		delete(found, path)
	}
	delete(found, CheckpointFile(f.dir))
	delete(found, KeysFile(f.dir))
	for path := range found {
		t.Errorf("what is %s?", path)
	}

	// A reader of such logs that is not ours reads it.
	c, err := f.keys().Open(f.checkpoint())
	f.check(err)
	reader, records := tlog.TileHashReader(c.Tree, tileReader{f.dir}), f.records()
	for _, i := range []int64{0, 255, 256, settled - 1, settled, int64(total) - 1} {
		proof, err := tlog.ProveRecord(c.N, i, reader)
		f.check(err)
		f.check(tlog.CheckRecord(proof, c.N, c.Hash, i, tlog.RecordHash(records[i])))
	}
}

// tileReader implements tlog.TileReader.
type tileReader struct{ dir string }

func (r tileReader) Height() int                     { return torchwood.TileHeight }
func (r tileReader) SaveTiles([]tlog.Tile, [][]byte) {}
func (r tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range tiles {
		b, err := os.ReadFile(filepath.Join(r.dir, torchwood.TilePath(tile)))
		if errors.Is(err, fs.ErrNotExist) { // then the full one is there
			full := tile
			full.W = width
			b, err = os.ReadFile(filepath.Join(r.dir, torchwood.TilePath(full)))
			b = b[:min(len(b), tile.W*tlog.HashSize)]
		}
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// TestWithinASecond has a running log sign what was just recorded.
func TestWithinASecond(t *testing.T) {
	f := newFixture(t)
	f.start()
	defer f.log.Close()
	for i := range 3 {
		f.append(1)
		for began := time.Now(); f.log.Size() != int64(i+1); time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > 30*time.Second {
				t.Fatalf("the checkpoint is about %d records, not %d", f.log.Size(), i+1)
			}
		}
	}
}

// TestProofs proves records and older trees, and finds out every byte that was changed.
func TestProofs(t *testing.T) {
	f := newFixture(t)
	f.append(300)
	f.run()
	older := f.checkpoint()
	f.append(1000)
	f.run()
	keys := f.keys()
	tree, checkpoint, err := Load(f.dir, f.journal, keys, nil)
	f.check(err)
	records := f.records()
	var proofs [][]byte
	for _, seq := range []uint64{1, 256, 257, 1280, 1281, 1300} {
		proof, err := tree.ProveRecord(seq, records[seq-1], checkpoint)
		f.check(err)
		got, err := CheckProof(keys, proof)
		if err != nil || !bytes.Equal(got.Record, records[seq-1]) || got.Index != int64(seq)-1 || got.Size != 1300 || got.Origin != f.signer().origin {
			t.Errorf("record %d: %+v, %v", seq, got, err)
		}
		proofs = append(proofs, proof)
	}
	if _, err := tree.ProveRecord(1301, nil, checkpoint); err == nil {
		t.Error("a record that is not there was proved")
	}
	if _, err := tree.ProveRecord(5, records[5], checkpoint); err != nil {
		t.Error(err)
	} else if proof, _ := tree.ProveRecord(5, records[5], checkpoint); true {
		if _, err := CheckProof(keys, proof); err == nil {
			t.Error("a proof of another record was taken")
		}
	}
	proof, err := tree.ProveTree(keys, older, checkpoint)
	f.check(err)
	if got, err := CheckProof(keys, proof); err != nil || got.Old != 300 || got.Size != 1300 || got.Record != nil {
		t.Errorf("the older tree: %+v, %v", got, err)
	}
	proofs = append(proofs, proof)
	if _, err := tree.ProveTree(keys, checkpoint, older); err != nil {
		t.Error(err)
	}
	for _, proof := range proofs {
		want, err := CheckProof(keys, proof)
		f.check(err)
		for i := 0; i < len(proof); i += 3 {
			bad := bytes.Clone(proof)
			bad[i] ^= 1
			// Package note lets the last bits of base64 be anything.
			if got, err := CheckProof(keys, bad); err == nil && !reflect.DeepEqual(got, want) {
				t.Fatalf("with byte %d changed, this is taken for a proof of %+v:\n%s", i, got, bad)
			}
		}
	}

	// Another log's keys.
	other := newFixture(t)
	for _, proof := range proofs {
		if _, err := CheckProof(other.keys(), proof); err == nil {
			t.Error("a proof of another log was taken")
		}
	}
}

// TestTampering changes each part of what was signed, with the journal's own checks kept
// right, as somebody would who owns the machine.
func TestTampering(t *testing.T) {
	rewrite := func(f *fixture, change func(i int, record []byte) []byte) {
		records := f.records()
		f.check(os.RemoveAll(f.journal))
		f.open()
		for i, r := range records {
			if r = change(i, r); r != nil {
				_, err := f.j.Append(context.Background(), r)
				f.check(err)
			}
		}
		f.close()
	}
	for name, test := range map[string]struct {
		tamper func(f *fixture)
		// broken: the server finds out at its start, from what it reads then.
		broken bool
	}{
		"a record changed": {func(f *fixture) {
			rewrite(f, func(i int, r []byte) []byte {
				return append(r[:len(r):len(r)], bytes.Repeat([]byte(" "), b2i(i == 700))...)
			})
		}, true},
		"the first record gone": {func(f *fixture) { rewrite(f, func(i int, r []byte) []byte { return pick(i != 0, r) }) }, true},
		"the last record gone":  {func(f *fixture) { rewrite(f, func(i int, r []byte) []byte { return pick(i != 999, r) }) }, true},
		"two records swapped": {func(f *fixture) {
			all := f.records()
			rewrite(f, func(i int, r []byte) []byte { return all[map[int]int{4: 5, 5: 4}[i]+b2i(i != 4 && i != 5)*i] })
		}, true},
		"a tile changed": {func(f *fixture) {
			path := filepath.Join(f.dir, "tile/0/001")
			b, err := os.ReadFile(path)
			f.check(err)
			b[5] ^= 1
			f.check(os.WriteFile(path, b, 0o600))
		}, false}, // the server makes tiles again that it reads the records of
		"a checkpoint of other keys": {func(f *fixture) {
			other := newFixture(f.t)
			signed, err := other.signer().sign(reference(f.t, f.records()))
			f.check(err)
			f.check(os.WriteFile(CheckpointFile(f.dir), signed, 0o600))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.append(1000)
			f.run()
			f.close()
			if _, err := f.verify(f.checkpoint()); err != nil {
				t.Fatal(err)
			}
			test.tamper(f)
			if _, err := f.verify(); err == nil {
				t.Error("Verify finds nothing")
			}
			f.open()
			f.append(10)
			f.run()
			if (f.log.Err() != nil) != test.broken {
				t.Errorf("the server's log: %v, %s", f.log.Err(), &f.errors)
			}
			if test.broken && !strings.Contains(f.errors.String(), "kagimori audit verify") {
				t.Errorf("the server does not say what to do: %s", &f.errors)
			}
		})
	}
	t.Run("a log that was made anew", func(t *testing.T) {
		f := newFixture(t)
		f.append(1000)
		f.run()
		kept := f.checkpoint()
		f.close()
		rewrite(f, func(i int, r []byte) []byte {
			return append(r[:len(r):len(r)], bytes.Repeat([]byte(" "), b2i(i == 700))...)
		})
		f.check(os.RemoveAll(f.dir))
		f.open()
		f.append(100)
		f.run()
		if _, err := f.verify(); err != nil { // by itself it is in order
			t.Error(err)
		}
		if _, err := f.verify(kept); !errors.Is(err, ErrDisagree) {
			t.Errorf("with a checkpoint that somebody kept: %v", err)
		}
		tree, checkpoint, err := Load(f.dir, f.journal, f.keys(), nil)
		f.check(err)
		if _, err := tree.ProveTree(f.keys(), kept, checkpoint); !errors.Is(err, ErrDisagree) {
			t.Errorf("a proof for a checkpoint that somebody kept: %v", err)
		}
	})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func pick(keep bool, r []byte) []byte {
	if keep {
		return r
	}
	return nil
}

// TestLostFiles lets the log be made again of the journal.
func TestLostFiles(t *testing.T) {
	t.Run("a tile that the server does not need", func(t *testing.T) {
		f := newFixture(t)
		f.append(settled + 1000)
		f.run()
		f.check(os.Remove(filepath.Join(f.dir, "tile/0/000")))
		if _, err := f.verify(); err == nil || !strings.Contains(err.Error(), "tile/0/000 is missing; stop the server, delete the folder") {
			t.Errorf("Verify: %v", err)
		}
	})
	for _, lost := range []string{"", "checkpoint", "tile", "tile/1", "keys"} {
		t.Run(lost, func(t *testing.T) {
			f := newFixture(t)
			f.append(settled + 1000)
			f.run()
			want := f.checkpoint()
			f.check(os.RemoveAll(filepath.Join(f.dir, lost)))
			f.append(1)
			f.run()
			if f.log.Err() != nil {
				t.Fatal(f.errors.String())
			}
			if _, err := f.verify(want); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPowerCut takes away, or leaves as a power cut does, what is not on stable storage: the
// tiles after the last full one of level 1, of some sizes around its edge.
func TestPowerCut(t *testing.T) {
	for _, size := range []int{settled - 1, settled, settled + 300} {
		f := newFixture(t)
		f.append(size - 200)
		f.run()
		older := f.checkpoint()
		f.append(200)
		f.run()
		newer := f.checkpoint()
		full := map[string]bool{}
		_, tiles, err := Settled(f.dir)
		f.check(err)
		for _, name := range tiles {
			full[name] = true
		}
		for _, c := range []struct {
			name       string
			checkpoint []byte
			leaves     func(data []byte) []byte
		}{
			{"lost", newer, func([]byte) []byte { return nil }},
			{"lost before the checkpoint", older, func([]byte) []byte { return nil }},
			{"empty", newer, func([]byte) []byte { return []byte{} }},
			{"empty before the checkpoint", older, func([]byte) []byte { return []byte{} }},
			{"zero", newer, func(b []byte) []byte { return make([]byte, len(b)) }},
			{"cut short", older, func(b []byte) []byte { return b[:len(b)/2] }},
		} {
			f.check(durable.Replace(CheckpointFile(f.dir), c.checkpoint, 0o600))
			f.check(filepath.WalkDir(filepath.Join(f.dir, "tile"), func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				name, err := filepath.Rel(f.dir, path)
				f.check(err)
				if full[name] {
					return nil
				}
				data, err := os.ReadFile(path)
				f.check(err)
				if data = c.leaves(data); data == nil {
					return os.Remove(path)
				}
				return os.WriteFile(path, data, 0o600)
			}))
			f.append(1)
			f.run()
			if _, err := f.verify(older, newer); err != nil || f.log.Err() != nil {
				t.Errorf("%d records, %s: %v, %v", size, c.name, err, f.log.Err())
			}
		}
	}
}

// TestDiskFails has nothing written for a while: that holds up nobody, is told, and mends
// itself.
func TestDiskFails(t *testing.T) {
	for _, blocked := range []string{"checkpoint", "keys", "tile"} {
		t.Run(blocked, func(t *testing.T) {
			f := newFixture(t)
			path := filepath.Join(f.dir, blocked)
			f.check(os.MkdirAll(f.dir, 0o700))
			if blocked == "tile" {
				f.check(os.WriteFile(path, nil, 0o600))
			} else {
				f.check(os.Mkdir(path, 0o700))
			}
			clk := clock.NewManual(time.Unix(0, 0))
			f.clock = clk
			f.start()
			defer f.log.Close()
			f.append(300)
			until := func(what string, done func() bool) {
				for range 3000 {
					if done() {
						return
					}
					clk.Advance(Interval)
					time.Sleep(10 * time.Millisecond)
				}
				t.Fatalf("not %s after a long time", what)
			}
			until("told", func() bool { return f.log.Err() != nil })
			f.append(300)
			f.check(os.Remove(path))
			until("mended", func() bool { return f.log.Err() == nil && f.log.Size() == 600 })
			if _, err := f.verify(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWitness has a witness cosign a checkpoint, and asks for its signature.
func TestWitness(t *testing.T) {
	f := newFixture(t)
	f.append(10)
	f.run()
	_, secret, err := ed25519.GenerateKey(rand.Reader)
	f.check(err)
	witness, err := torchwood.NewCosignatureSigner("witness.example/w1", secret)
	f.check(err)
	keys, err := ParseKeys(f.signer().Keys() + "\n" + witness.Verifier().String() + "\n")
	f.check(err)
	if _, err := keys.Open(f.checkpoint()); err == nil || !strings.Contains(err.Error(), "no signature of the key witness.example/w1") {
		t.Errorf("without the witness: %v", err)
	}
	text, _, _ := bytes.Cut(f.checkpoint(), []byte("\n\n"))
	cosigned, err := note.Sign(&note.Note{Text: string(text) + "\n"}, witness)
	f.check(err)
	_, line, _ := bytes.Cut(cosigned, []byte("\n\n"))
	signed := append(f.checkpoint(), line...)
	if c, err := keys.Open(signed); err != nil || c.N != 10 {
		t.Errorf("with the witness: %v, %v", c, err)
	}
	if _, err := f.keys().Open(signed); err != nil {
		t.Errorf("who does not know the witness: %v", err)
	}
	f.append(10)
	f.run()
	if _, err := Verify(context.Background(), f.dir, f.journal, keys, [][]byte{signed}, func(int64, int64) {}); err != nil {
		t.Errorf("a log that has grown behind the witness: %v", err)
	}
	if _, err := Verify(context.Background(), f.dir, f.journal, keys, [][]byte{f.checkpoint()}, func(int64, int64) {}); err == nil {
		t.Error("a checkpoint without the witness was taken for one that it had seen")
	}
	tree, checkpoint, err := Load(f.dir, f.journal, keys, signed)
	f.check(err)
	proof, err := tree.ProveRecord(3, f.records()[2], checkpoint)
	f.check(err)
	if p, err := CheckProof(keys, proof); err != nil || p.Size != 10 {
		t.Errorf("a proof that the witness vouches for: %+v, %v", p, err)
	}
	if _, err := tree.ProveRecord(11, f.records()[10], checkpoint); err == nil || !strings.Contains(err.Error(), "take a newer one") {
		t.Errorf("a record after the witness's checkpoint: %v", err)
	}
	if _, err := ParseKeys(witness.Verifier().String()); err == nil {
		t.Error("a witness alone was taken for a log")
	}
}

// TestKeys are keys that are refused.
func TestKeys(t *testing.T) {
	f, other := newFixture(t), newFixture(t)
	lines := strings.Split(f.signer().Keys(), "\n")
	for name, text := range map[string]string{
		"nothing":   "# only a comment\n",
		"no key":    "kagimori+00000000+AAAA",
		"two logs":  f.signer().Keys() + other.signer().Keys(),
		"cut off":   lines[1][:len(lines[1])-4],
		"wrong":     strings.Replace(lines[2], "A", "B", 1),
		"no base64": lines[1] + "!",
	} {
		if _, err := ParseKeys(text); err == nil {
			t.Errorf("%s: taken for keys", name)
		}
	}
	for i, missing := range []string{"ML-DSA", "Ed25519"} { // a checkpoint must have both signatures
		c := f.signer()
		c.signers = c.signers[i : i+1]
		if i == 0 {
			c.signers = f.signer().signers[:1]
		}
		signed, err := c.sign(tlog.Tree{N: 1})
		f.check(err)
		if _, err := f.keys().Open(signed); err == nil {
			t.Errorf("without the signature of %s a checkpoint was taken", missing)
		}
	}
}

func FuzzCheckProof(f *testing.F) {
	x := newFixture(f)
	x.append(300)
	x.run()
	older := x.checkpoint()
	x.append(100)
	x.run()
	keys := x.keys()
	tree, checkpoint, err := Load(x.dir, x.journal, keys, nil)
	x.check(err)
	records := x.records()
	proof, err := tree.ProveRecord(7, records[6], checkpoint)
	x.check(err)
	f.Add(proof)
	proof, err = tree.ProveTree(keys, older, checkpoint)
	x.check(err)
	f.Add(proof)
	f.Fuzz(func(t *testing.T, proof []byte) {
		p, err := CheckProof(keys, proof)
		if err == nil && p.Record != nil && !bytes.Equal(p.Record, records[p.Index]) {
			t.Errorf("%q is proved to be record %d", p.Record, p.Index)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add(newFixture(f).signer().Keys())
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := ParseKeys(text); err == nil && k.origin == "" {
			t.Error("keys of no log")
		}
	})
}
