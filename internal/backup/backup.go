// Package backup writes a data folder into one encrypted file and reads it back.
//
// A backup can be taken while a server runs: it is the store of one moment, and
// the journal up to a slightly later one, so that it holds the record of
// whatever the store holds. It can only be read with a secret that opens the root
// key, and any change to it is found.
//
// # Format
//
//	"kagimori backup 1\n"   18 bytes
//	length                  4 bytes, big-endian: of the root document, up to 65,536
//	root document           JSON of package seal; its slots open the root key
//	stream                  all the rest, in the format of package seal/stream
//
// The header of the stream is all that precedes it; its key is that of the root
// key for the purpose "backup" (seal.Keys.Derive), HKDF-SHA256(root key, no salt,
// "kagimori v1 purpose backup"), 32 bytes. The stream's plaintext is one gzip
// member (RFC 1952) of a tar archive (POSIX.1-2001, pax) with these regular files
// and no others:
//
//	manifest.json           Manifest as JSON
//	kagimori.db             the store, an SQLite database of package store/sqlite
//	journal/NAME            the segments of package journal, oldest first
//	transparency/PATH       the last checkpoint of package translog, and those of
//	                        its tiles that the newest segments do not have in them
//
// Segments are as a power cut could have left them: the last one has no end mark,
// and zeros behind its records up to its full size.
package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/durable"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/journal"
	"github.com/kagimori/kagimori/internal/seal"
	"github.com/kagimori/kagimori/internal/seal/stream"
	"github.com/kagimori/kagimori/internal/secmem"
	"github.com/kagimori/kagimori/internal/store/sqlite"
	"github.com/kagimori/kagimori/internal/translog"
)

const (
	magic = "kagimori backup 1\n"
	// maxRoot is the largest root document in bytes.
	maxRoot = 64 << 10
	// purpose is what the key of backups is derived for.
	purpose = "backup"

	manifestName     = "manifest.json"
	storeName        = "kagimori.db"
	journalName      = "journal/"
	transparencyName = "transparency/"
)

// Manifest tells what a backup is of.
type Manifest struct {
	Created         time.Time `json:"created"`
	RootFingerprint string    `json:"rootFingerprint"`
}

// Summary tells what a backup holds.
type Summary struct {
	Manifest
	Account string // the first account
	Records int    // records of the store, each of which was opened
	Journal uint64 // audit records
	LastSeq uint64 // the number of the newest audit record
}

// Progress is told the bytes done and their total; a total of 0 is not known yet.
type Progress func(done, total int64)

// Write writes a backup of the data folder dir, whose store is open as db, to
// dst. It needs room in tmp for a copy of the store.
func Write(ctx context.Context, dst io.Writer, dir, tmp string, db *sqlite.DB, root *seal.Root, keys *seal.Keys, now time.Time, progress Progress) (err error) {
	work, err := os.MkdirTemp(tmp, ".kagimori-backup-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	// The store comes first: the journal then has all that the store has.
	snapshot := filepath.Join(work, storeName)
	if err := db.Snapshot(ctx, snapshot, nil); err != nil {
		return err
	}
	if err := checkRoot(ctx, snapshot, root); err != nil {
		return err
	}
	// The checkpoint comes before the journal, which then has all that it is about.
	transparency := datadir.TransparencyDir(dir)
	checkpoint, tiles, err := translog.Settled(transparency)
	if err != nil {
		return err
	}
	segments, err := journal.Segments(datadir.JournalDir(dir))
	if err != nil {
		return err
	}
	info, err := os.Stat(snapshot)
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(Manifest{Created: now, RootFingerprint: root.Fingerprint()})
	if err != nil {
		return err
	}
	total := int64(len(manifest)) + info.Size() + int64(len(checkpoint)) + int64(len(tiles))*translog.TileSize
	for _, s := range segments {
		total += s.Size
	}

	head := header(root)
	if _, err := dst.Write(head); err != nil {
		return err
	}
	sealed, err := newWriter(dst, keys, head)
	if err != nil {
		return err
	}
	zip, err := gzip.NewWriterLevel(sealed, gzip.BestSpeed)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zip)
	a := archiver{ctx: ctx, tar: archive, now: now, total: total, progress: progress}
	if err := a.add(manifestName, int64(len(manifest)), strings.NewReader(string(manifest))); err != nil {
		return err
	}
	if err := a.addFile(storeName, snapshot, info.Size(), info.Size()); err != nil {
		return err
	}
	for _, s := range segments {
		if err := a.addFile(journalName+filepath.Base(s.Path), s.Path, s.Used, s.Size); err != nil {
			return err
		}
	}
	if checkpoint != nil {
		name := transparencyName + filepath.Base(translog.CheckpointFile(transparency))
		if err := a.add(name, int64(len(checkpoint)), bytes.NewReader(checkpoint)); err != nil {
			return err
		}
	}
	for _, tile := range tiles {
		if err := a.addFile(transparencyName+tile, filepath.Join(transparency, tile), translog.TileSize, translog.TileSize); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), zip.Close(), sealed.Close())
}

// checkRoot refuses a snapshot that is under another root key than root, with
// which the backup will be opened.
func checkRoot(ctx context.Context, snapshot string, root *seal.Root) error {
	db, err := sqlite.Open(snapshot)
	if err != nil {
		return err
	}
	defer db.Close()
	its, err := datadir.ReadRoot(ctx, db)
	if err == nil && its.Fingerprint() != root.Fingerprint() {
		err = errors.New("the root key was rotated at the same time; run the backup again")
	}
	return err
}

type archiver struct {
	ctx         context.Context
	tar         *tar.Writer
	now         time.Time
	done, total int64
	progress    Progress
}

// addFile adds the first used bytes of a file, and zeros up to size.
func (a *archiver) addFile(name, path string, used, size int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return a.add(name, size, io.LimitReader(io.MultiReader(io.LimitReader(f, used), zeros{}), size))
}

func (a *archiver) add(name string, size int64, r io.Reader) error {
	if err := a.tar.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: a.now, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := io.Copy(a.tar, &counter{r, a.ctx, func(n int) {
		a.done += int64(n)
		a.progress(a.done, a.total)
	}})
	return err
}

// counter tells how much was read, and stops when ctx ends.
type counter struct {
	io.Reader
	ctx  context.Context
	read func(n int)
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.Reader.Read(p)
	c.read(n)
	return n, err
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// header is what a backup begins with: the magic line and the root document,
// whose slots open the rest.
func header(root *seal.Root) []byte {
	doc := root.Marshal()
	b := append([]byte(magic), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(b[len(magic):], uint32(len(doc)))
	return append(b, doc...)
}

func newWriter(dst io.Writer, keys *seal.Keys, head []byte) (*stream.Writer, error) {
	key := keys.Derive(purpose)
	defer secmem.Zero(key)
	return stream.NewWriter(dst, [32]byte(key), head)
}

// Reader is an opened backup.
type Reader struct {
	Root *seal.Root
	Keys *seal.Keys
	src  io.Reader
	head []byte
}

// Open reads the head of a backup and opens its root key with unlock. The keys
// are the caller's to close.
func Open(src io.Reader, unlock func(*seal.Root) (*seal.Keys, error)) (*Reader, error) {
	head, err := read(src, len(magic)+4)
	if err != nil {
		return nil, err
	}
	if string(head[:len(magic)]) != magic {
		return nil, errors.New("this is not a Kagimori backup, or one of a newer version")
	}
	n := binary.BigEndian.Uint32(head[len(magic):])
	if n > maxRoot {
		return nil, errors.New("the backup is damaged")
	}
	doc, err := read(src, int(n))
	if err != nil {
		return nil, err
	}
	root, err := seal.Parse(doc)
	if err != nil {
		return nil, err
	}
	keys, err := unlock(root)
	if err != nil {
		return nil, err
	}
	return &Reader{Root: root, Keys: keys, src: src, head: append(head, doc...)}, nil
}

func read(src io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(src, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, errors.New("the backup is cut short")
	}
	return b, err
}

// Extract writes what the backup holds into the empty folder dir, laid out as a
// data folder, and verifies all of it: every record is opened, every audit record
// is read. What it returns without an error is on stable storage, but for the name
// of dir.
//
// Nothing that was not authenticated is unpacked, so only a holder of the root key
// could make an archive that fills the disk. That is not guarded against; strange
// names are refused for the sake of later versions.
func (r *Reader) Extract(ctx context.Context, dir string) (*Summary, error) {
	key := r.Keys.Derive(purpose)
	sealed, err := stream.NewReader(r.src, [32]byte(key), r.head)
	secmem.Zero(key)
	if err != nil {
		return nil, err
	}
	zip, err := gzip.NewReader(sealed)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(datadir.JournalDir(dir), 0o700); err != nil {
		return nil, err
	}
	folders := map[string]bool{dir: true, datadir.JournalDir(dir): true}
	var sum Summary
	archive := tar.NewReader(zip)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		in := &counter{archive, ctx, func(int) {}}
		base, isJournal := strings.CutPrefix(h.Name, journalName)
		path, isTransparency := strings.CutPrefix(h.Name, transparencyName)
		switch {
		case h.Typeflag != tar.TypeReg:
			err = unknown(h.Name)
		case h.Name == manifestName:
			err = json.NewDecoder(in).Decode(&sum.Manifest)
		case h.Name == storeName:
			err = extract(datadir.StoreFile(dir), in)
		case isJournal && filepath.IsLocal(base) && filepath.Base(base) == base:
			err = extract(filepath.Join(datadir.JournalDir(dir), base), in)
		case isTransparency && translog.Kept(path):
			path = filepath.Join(datadir.TransparencyDir(dir), path)
			if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
				err = extract(path, in)
			}
			for folder := filepath.Dir(path); folder != dir; folder = filepath.Dir(folder) {
				folders[folder] = true
			}
		default:
			err = unknown(h.Name)
		}
		if err != nil {
			return nil, err
		}
	}
	// The last chunk proves that nothing is missing, and gzip that nothing follows.
	if _, err := io.Copy(io.Discard, zip); err != nil {
		return nil, err
	}
	for folder := range folders {
		if err := durable.SyncFolder(folder); err != nil {
			return nil, err
		}
	}
	if err := r.verify(ctx, dir, &sum); err != nil {
		return nil, err
	}
	return &sum, nil
}

func unknown(name string) error {
	return fmt.Errorf("the backup holds %q, which this version of Kagimori does not know: use a newer one", name)
}

func extract(path string, in io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, in)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// verify opens every record and reads every audit record of an extracted backup.
func (r *Reader) verify(ctx context.Context, dir string, sum *Summary) error {
	db, err := sqlite.Open(datadir.StoreFile(dir))
	if err != nil {
		return err
	}
	defer db.Close()
	root, err := datadir.ReadRoot(ctx, db)
	if err != nil {
		return err
	}
	if root.Fingerprint() != r.Root.Fingerprint() {
		return fmt.Errorf("the store in the backup is under the root key %s, and the backup itself under %s: the root key was rotated while it was made", root.Fingerprint(), r.Root.Fingerprint())
	}
	st := db.Store(r.Keys.StoreKey())
	if sum.Records, err = st.Verify(ctx); err != nil {
		return err
	}
	if sum.Account, err = iam.Account(ctx, st); err != nil {
		return err
	}
	for entry, err := range journal.Read(datadir.JournalDir(dir), 0) {
		if err != nil {
			return err
		}
		sum.Journal++
		sum.LastSeq = entry.Seq
	}
	return nil
}
