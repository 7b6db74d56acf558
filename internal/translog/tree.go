package translog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/kagimori/kagimori/internal/durable"
)

const (
	width = torchwood.TileWidth // hashes in a full tile
	// settled is how many leaves a full tile of level 1 stands for. Tiles up to the last
	// multiple of it are on stable storage; later ones are made again at the start.
	settled = width * width
)

// Tree is a Merkle tree (RFC 6962, section 2.1) in tiles of 256 hashes, of which the full
// ones are files in the layout of https://c2sp.org/tlog-tiles and the others in memory. A
// leaf is added at a time. It is not safe for concurrent use.
type Tree struct {
	dir  string
	size int64
	// edge is, by level of tiles, the tile that is not full yet.
	edge [][]tlog.Hash
	// full is given each tile when it is full.
	full func(t *Tree, tile tlog.Tile, data []byte) error
}

// tileAt is a full tile.
func tileAt(level int, n int64) tlog.Tile {
	return tlog.Tile{H: torchwood.TileHeight, L: level, N: n, W: width}
}

// open makes the tree of the first size leaves from its full tiles. The leaves after the
// last multiple of 256 can only be had if their tile is full by now.
func open(dir string, size int64, full func(*Tree, tlog.Tile, []byte) error) (*Tree, error) {
	t := &Tree{dir: dir, size: size, full: full}
	for level, n := 0, size; n > 0; level, n = level+1, n/width {
		t.edge = append(t.edge, nil)
		for i := n &^ (width - 1); i < n; i++ {
			h, err := t.stored(level, i)
			if err != nil {
				return nil, err
			}
			t.edge[level] = append(t.edge[level], h)
		}
	}
	return t, nil
}

// stored is the hash with the number i of a level of tiles, from the full tiles in files.
func (t *Tree) stored(level int, i int64) (tlog.Hash, error) {
	hashes, err := t.tile(level, i/width)
	if err == nil {
		return hashes[i%width], nil
	}
	if level == 0 || !errors.Is(err, fs.ErrNotExist) {
		return tlog.Hash{}, err
	}
	// Of a tile that is not full there are the full tiles below.
	if hashes, err = t.tile(level-1, i); err != nil {
		return tlog.Hash{}, err
	}
	return root(hashes), nil
}

// tile reads a full tile.
func (t *Tree) tile(level int, n int64) ([]tlog.Hash, error) {
	path := t.path(tileAt(level, n))
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(data) != TileSize {
		return nil, fmt.Errorf("%s has %d bytes, not %d", path, len(data), TileSize)
	}
	hashes := make([]tlog.Hash, width)
	for i := range hashes {
		copy(hashes[i][:], data[i*tlog.HashSize:])
	}
	return hashes, nil
}

func (t *Tree) path(tile tlog.Tile) string {
	return filepath.Join(t.dir, filepath.FromSlash(torchwood.TilePath(tile)))
}

// add adds a record.
func (t *Tree) add(record []byte) error {
	t.size++
	h := tlog.RecordHash(record)
	for level := 0; ; level++ {
		if level == len(t.edge) {
			t.edge = append(t.edge, nil)
		}
		t.edge[level] = append(t.edge[level], h)
		if len(t.edge[level]) < width {
			return nil
		}
		n := t.size>>(torchwood.TileHeight*(level+1)) - 1
		if err := t.full(t, tileAt(level, n), encode(t.edge[level])); err != nil {
			return err
		}
		h = root(t.edge[level])
		t.edge[level] = t.edge[level][:0]
	}
}

func encode(hashes []tlog.Hash) []byte {
	data := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		data = append(data, h[:]...)
	}
	return data
}

// root is the root over hashes of complete subtrees of the same size; the last one may
// be of a smaller one.
func root(hashes []tlog.Hash) tlog.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	k := 1
	for 2*k < len(hashes) {
		k *= 2
	}
	return tlog.NodeHash(root(hashes[:k]), root(hashes[k:]))
}

// head is the size of the tree and its root.
func (t *Tree) head() tlog.Tree {
	if t.size == 0 {
		h, _ := tlog.TreeHash(0, nil)
		return tlog.Tree{Hash: h}
	}
	var carry []tlog.Hash // of what is right of the full subtrees
	for _, hashes := range t.edge {
		if all := slices.Concat(hashes, carry); len(all) > 0 {
			carry = []tlog.Hash{root(all)}
		}
	}
	return tlog.Tree{N: t.size, Hash: carry[0]}
}

// ReadHashes implements tlog.HashReader.
func (t *Tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		within := level % torchwood.TileHeight
		level, n = level/torchwood.TileHeight, n<<within
		hashes := []tlog.Hash(nil)
		if n/width == t.size>>(torchwood.TileHeight*(level+1)) {
			hashes = t.edge[level]
		} else {
			var err error
			if hashes, err = t.tile(level, n/width); err != nil {
				return nil, err
			}
		}
		if n%width+1<<within > int64(len(hashes)) {
			return nil, fmt.Errorf("the tree of %d leaves has no hash %d of level %d", t.size, n, level)
		}
		out[i] = root(hashes[n%width:][:1<<within])
	}
	return out, nil
}

// partial are the tiles of a tree of that size that are not full.
func partial(size int64) []tlog.Tile {
	var tiles []tlog.Tile
	for level, n := 0, size; n > 0; level, n = level+1, n/width {
		if n%width > 0 {
			tile := tileAt(level, n/width)
			tile.W = int(n % width)
			tiles = append(tiles, tile)
		}
	}
	return tiles
}

// write makes a file of a tile, not on stable storage.
func (t *Tree) write(tile tlog.Tile, data []byte) error {
	path := t.path(tile)
	err := os.WriteFile(path, data, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = os.WriteFile(path, data, 0o600)
		}
	}
	return err
}

// writeFull writes a full tile. With one of level 1, that one and those below it become
// durable, with one of a higher level that one.
func writeFull(t *Tree, tile tlog.Tile, data []byte) error {
	if err := t.write(tile, data); err != nil || tile.L == 0 {
		return err
	}
	tiles := []tlog.Tile{tile}
	if tile.L == 1 {
		for i := range int64(width) {
			tiles = append(tiles, tileAt(0, tile.N*width+i))
		}
	}
	folders := map[string]bool{}
	for _, tile := range tiles {
		path := t.path(tile)
		if err := syncFile(path); err != nil {
			return err
		}
		for dir := filepath.Dir(path); len(dir) >= len(t.dir); dir = filepath.Dir(dir) {
			folders[dir] = true
		}
	}
	for dir := range folders {
		if err := durable.SyncFolder(dir); err != nil {
			return err
		}
	}
	return nil
}

// TileSize is the size of a full tile's file in bytes.
const TileSize = width * tlog.HashSize

// Settled is the last checkpoint of a log in dir, nil if there is none, and the files of the
// tiles that cannot be made again of the newest records: those up to the last full one of
// level 1, relative to dir.
func Settled(dir string) (checkpoint []byte, tiles []string, err error) {
	checkpoint, err = os.ReadFile(CheckpointFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	text, _, _ := bytes.Cut(checkpoint, []byte("\n\n"))
	c, err := torchwood.ParseCheckpoint(string(text) + "\n")
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", CheckpointFile(dir), err)
	}
	for level, n := 0, c.N/settled*width; n > 0; level, n = level+1, n/width {
		for i := range n {
			tiles = append(tiles, torchwood.TilePath(tileAt(level, i)))
		}
	}
	return checkpoint, tiles, nil
}

// Kept tells whether that can be the name, relative to a log's folder, of its checkpoint or of
// a tile.
func Kept(name string) bool {
	_, err := torchwood.ParseTilePath(name)
	return err == nil || name == filepath.Base(CheckpointFile(""))
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
