package translog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/kagimori/kagimori/internal/journal"
)

// Report is what Verify found to be in order.
type Report struct {
	Origin string
	// First and Last are the numbers of the records that were read; those before First
	// are not in the journal's folder any more, and are known by their hashes.
	First, Last int64
	// Size is how many records the checkpoint is about. Those up to Last came after it.
	Size int64
}

// Verify holds every record of a journal to the tiles, to the last checkpoint, which the
// log must have signed, and to older checkpoints that somebody has kept, which all keys
// must have signed. progress is told now and then how many records
// have been read, of how many. Its errors that are ErrDisagree say that what was signed is
// not there any more.
func Verify(ctx context.Context, dir, journalDir string, keys *Keys, older [][]byte, progress func(done, of int64)) (*Report, error) {
	signed, err := os.ReadFile(CheckpointFile(dir))
	if err != nil {
		return nil, err
	}
	last, err := keys.Log().Open(signed)
	if err != nil {
		return nil, err
	}
	heads := map[int64][]torchwood.Checkpoint{last.N: {last}}
	for _, signed := range older {
		c, err := keys.Open(signed)
		if err != nil {
			return nil, fmt.Errorf("the older checkpoint: %w", err)
		}
		if c.N > last.N {
			return nil, fmt.Errorf("%w: an older checkpoint is about %d records, the last one about %d", ErrDisagree, c.N, last.N)
		}
		heads[c.N] = append(heads[c.N], c)
	}
	oldest, err := journal.First(journalDir)
	if err != nil {
		return nil, err
	}
	r := &Report{Origin: last.Origin, Size: last.N, First: int64(max(oldest, 1))}
	t, err := open(dir, r.First-1, compare)
	if err != nil {
		return nil, fmt.Errorf("the records before %d are not in the journal's folder, and their hashes not in the log's: %w", r.First, err)
	}
	check := func() error {
		for _, c := range heads[t.size] {
			if c.N > 0 && t.head() != c.Tree {
				return fmt.Errorf("%w of %d records: a record up to there was changed", ErrDisagree, c.N)
			}
		}
		delete(heads, t.size)
		return nil
	}
	for e, err := range journal.Read(journalDir, uint64(r.First)) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && t.size == last.N {
			r.Last = int64(e.Seq) // written after the checkpoint
			continue
		}
		if err == nil {
			err = t.add(e.Record)
		}
		if err == nil {
			err = check()
		}
		if err != nil {
			return nil, err
		}
		if r.Last = t.size; t.size%(1<<14) == 0 {
			progress(t.size, last.N)
		}
	}
	if t.size < last.N {
		return nil, fmt.Errorf("%w: that is about %d records, the journal has %d", ErrDisagree, last.N, t.size)
	}
	// Older checkpoints about what is not in the folder any more.
	for n, cs := range heads {
		for _, c := range cs {
			if n == 0 {
				continue
			}
			proof, err := tlog.ProveTree(last.N, n, t)
			if err != nil {
				return nil, err
			}
			if err := tlog.CheckTree(proof, last.N, last.Hash, n, c.Hash); err != nil {
				return nil, fmt.Errorf("%w of %d records: a record up to there was changed", ErrDisagree, n)
			}
		}
	}
	return r, nil
}

// compare holds a full tile to its file.
func compare(t *Tree, tile tlog.Tile, data []byte) error {
	stored, err := os.ReadFile(t.path(tile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing; stop the server, delete the folder %s and start the server: it makes the tiles again of the journal",
			torchwood.TilePath(tile), filepath.Join(t.dir, "tile"))
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(stored, data) {
		first := tile.N << (torchwood.TileHeight * (tile.L + 1))
		return fmt.Errorf("%w: of the records from %d on, one was changed, or their tile %s", ErrDisagree, first+1, torchwood.TilePath(tile))
	}
	return nil
}
