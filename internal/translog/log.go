// Package translog is a transparency log over the audit journal: a Merkle tree whose
// leaves are the journal's records, in their order, and checkpoints that the server signs.
// Who has a checkpoint can have it proved that a record is in the log, and that the log
// still says what it said then.
//
// The journal comes first, the tree follows it: it is made of what is durable there, and
// can be made again of it at any time. What is in the folder (see docs/formats.md):
//
//	keys        the public keys
//	checkpoint  the size and the root of the tree, signed
//	tile/       the hashes of the tree, in the layout of https://c2sp.org/tlog-tiles
package translog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/durable"
	"github.com/kagimori/kagimori/internal/journal"
)

// Interval is how often there is a checkpoint, if there are new records.
const Interval = 500 * time.Millisecond

// retryInterval is how long it rests when the disk is full or fails.
const retryInterval = 5 * time.Second

// Names in the folder.
func KeysFile(dir string) string       { return filepath.Join(dir, "keys") }
func CheckpointFile(dir string) string { return filepath.Join(dir, "checkpoint") }

// ErrDisagree is what errors.Is finds when the journal is not what was signed.
var ErrDisagree = errors.New("the audit journal does not agree with its signed checkpoint")

// Config is what a Log is made of.
type Config struct {
	Dir        string // the log's folder
	JournalDir string
	// LastSeq is the number of the last record that is durable in the journal.
	LastSeq func() uint64
	Signer  *Signer
	Clock   clock.Clock // nil: the system's
	Log     *slog.Logger
}

// Log extends the tree behind the journal, in the background.
type Log struct {
	cfg     Config
	tree    *Tree
	signed  int64 // size of the tree of the last checkpoint
	at      time.Time
	size    atomic.Int64 // of signed, for others
	err     atomic.Pointer[error]
	stop    chan struct{}
	stopped chan struct{}
}

// Start begins to extend the tree from where its last checkpoint left it. Where the
// journal does not agree with that, no checkpoint is signed any more.
func Start(cfg Config) *Log {
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	l := &Log{cfg: cfg, stop: make(chan struct{}), stopped: make(chan struct{})}
	go l.run()
	return l
}

// Size is how many records the last checkpoint is about.
func (l *Log) Size() int64 { return l.size.Load() }

// Err is why the log does not go on; nil while it does.
func (l *Log) Err() error {
	if err := l.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Close brings the log up to the journal's last record and stops it.
func (l *Log) Close() {
	close(l.stop)
	<-l.stopped
}

// run follows the journal. A disk that is full or fails makes it begin again after a while.
func (l *Log) run() {
	defer close(l.stopped)
	for {
		err := l.follow()
		if err == nil {
			return
		}
		l.err.Store(&err)
		var disk syscall.Errno
		if errors.Is(err, ErrDisagree) || !errors.As(err, &disk) {
			l.cfg.Log.Error("the transparency log does not go on", "error", err, "fix", "kagimori audit verify tells more")
			return
		}
		l.cfg.Log.Error("the transparency log cannot be written; it will be tried again", "error", err)
		select {
		case <-l.stop:
			return
		case <-l.cfg.Clock.After(retryInterval):
		}
	}
}

// follow adds the journal's records to the tree until the log is to stop.
func (l *Log) follow() error {
	if err := os.MkdirAll(l.cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := durable.Replace(KeysFile(l.cfg.Dir), []byte(l.cfg.Signer.Keys()), 0o600); err != nil {
		return err
	}
	before, err := l.last()
	if err != nil {
		return err
	}
	l.signed = before.N
	l.size.Store(before.N)
	if l.cfg.LastSeq() < uint64(before.N) {
		return fmt.Errorf("%w: that is about %d records, the journal has %d", ErrDisagree, before.N, l.cfg.LastSeq())
	}
	oldest, err := journal.First(l.cfg.JournalDir)
	if err != nil {
		return err
	}
	// Segments that were moved away are known by their tiles.
	gone := int64(max(oldest, 1)) - 1
	l.tree, err = open(l.cfg.Dir, max(before.N&^(settled-1), gone), writeFull)
	if errors.Is(err, fs.ErrNotExist) { // tiles were lost; the journal has what is in them
		l.tree, err = open(l.cfg.Dir, gone, writeFull)
	}
	if err != nil {
		return err
	}
	for e, err := range journal.ReadDurable(l.cfg.JournalDir, uint64(l.tree.size)+1, l.cfg.LastSeq, l.rest) {
		if err != nil {
			return err
		}
		if err := l.tree.add(e.Record); err != nil {
			return err
		}
		if l.tree.size == before.N && l.tree.head() != before {
			return fmt.Errorf("%w of %d records", ErrDisagree, before.N)
		}
		if l.tree.size%width == 0 && l.cfg.Clock.Now().Sub(l.at) >= Interval {
			if err := l.sign(); err != nil {
				return err
			}
		}
	}
	return l.sign()
}

// last is the tree of the last checkpoint.
func (l *Log) last() (tlog.Tree, error) {
	signed, err := os.ReadFile(CheckpointFile(l.cfg.Dir))
	if errors.Is(err, fs.ErrNotExist) {
		return tlog.Tree{}, nil
	}
	if err != nil {
		return tlog.Tree{}, err
	}
	keys, err := ParseKeys(l.cfg.Signer.Keys())
	if err != nil {
		return tlog.Tree{}, err
	}
	c, err := keys.Open(signed)
	return c.Tree, err
}

// rest signs a checkpoint and waits; it is called when the tree has come up to the journal.
func (l *Log) rest() bool {
	if err := l.sign(); err != nil { // it is tried again
		l.err.Store(&err)
		l.cfg.Log.Error("the checkpoint of the transparency log cannot be written", "error", err)
	}
	select {
	case <-l.stop:
		// What was recorded last is taken along.
		return l.cfg.LastSeq() > uint64(l.tree.size)
	case <-l.cfg.Clock.After(Interval):
		return true
	}
}

// sign writes the checkpoint of the tree as it is, if it has grown. The tiles that it
// needs are there before it, those that the former one needed alone go after it.
func (l *Log) sign() error {
	if l.tree.size <= l.signed {
		return nil
	}
	now := partial(l.tree.size)
	for _, tile := range now {
		if err := l.tree.write(tile, encode(l.tree.edge[tile.L])); err != nil {
			return err
		}
	}
	signed, err := l.cfg.Signer.sign(l.tree.head())
	if err != nil {
		return err
	}
	if err := durable.Replace(CheckpointFile(l.cfg.Dir), signed, 0o600); err != nil {
		return err
	}
	for _, tile := range partial(l.signed) {
		if !slices.Contains(now, tile) {
			path := l.tree.path(tile)
			os.Remove(path)
			os.Remove(filepath.Dir(path)) // if nothing is left in it
		}
	}
	l.signed, l.at = l.tree.size, l.cfg.Clock.Now()
	l.size.Store(l.signed)
	l.err.Store(nil)
	return nil
}
