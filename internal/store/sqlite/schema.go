package sqlite

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Errors of Open, wrapped with the path and what to do. The files have not
// been touched.
var (
	ErrNotStore = errors.New("not a Kagimori store")
	ErrNewer    = errors.New("store was written by a newer Kagimori")
)

// applicationID marks the file as ours ("KGMR"), for us and for file(1);
// https://www.sqlite.org/fileformat.html#application_id.
const applicationID = 0x4b474d52

// migrations lead from one schema version to the next; the schema version,
// kept in user_version, is how many have been applied. They are never edited,
// only appended to.
var migrations = []string{
	`PRAGMA application_id = 0x4b474d52;

	CREATE TABLE meta (
		name  TEXT NOT NULL PRIMARY KEY,
		value BLOB NOT NULL
	) STRICT, WITHOUT ROWID;

	CREATE TABLE record (
		kind     TEXT NOT NULL,
		account  TEXT NOT NULL,
		region   TEXT NOT NULL,
		id       TEXT NOT NULL,
		revision INTEGER NOT NULL,
		value    BLOB NOT NULL, -- sealed, see store.SealRecord
		PRIMARY KEY (kind, account, region, id)
	) STRICT;

	-- Index entries. Those of a record are also sealed in it.
	CREATE TABLE entry (
		kind    TEXT NOT NULL,
		name    TEXT NOT NULL,
		value   TEXT NOT NULL,
		account TEXT NOT NULL,
		region  TEXT NOT NULL,
		id      TEXT NOT NULL,
		PRIMARY KEY (kind, name, value, account, region, id)
	) STRICT, WITHOUT ROWID;

	-- How many records there are.
	CREATE TABLE counter (
		kind    TEXT NOT NULL,
		account TEXT NOT NULL,
		region  TEXT NOT NULL,
		n       INTEGER NOT NULL,
		PRIMARY KEY (kind, account, region)
	) STRICT, WITHOUT ROWID;

	-- The change feed. The revision of a change is its seq.
	CREATE TABLE change (
		seq     INTEGER NOT NULL PRIMARY KEY,
		kind    TEXT NOT NULL,
		account TEXT NOT NULL,
		region  TEXT NOT NULL,
		id      TEXT NOT NULL,
		deleted INTEGER NOT NULL
	) STRICT;`,
}

// migrate brings the schema up to date in one transaction.
func migrate(c *conn, migrations []string) error {
	version, err := c.number("PRAGMA user_version")
	if err != nil || version == uint64(len(migrations)) {
		return err
	}
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	version, err = c.number("PRAGMA user_version") // now nobody else can be at it
	for err == nil && version < uint64(len(migrations)) {
		err = c.script(fmt.Sprintf("%s; PRAGMA user_version = %d", migrations[version], version+1))
		version++
	}
	if err != nil {
		return errors.Join(err, c.exec("ROLLBACK"))
	}
	return c.exec("COMMIT")
}

// inspect returns the opened file at path if it is a store that this program
// understands. It writes nothing: an ordinary connection would already recover
// the write-ahead log.
//
// Whoever closes the file drops the POSIX locks that SQLite holds on it in this
// process, so it must stay open as long as the connections.
func inspect(path string) (_ *os.File, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	var h header
	if _, err := io.ReadFull(f, h[:]); err != nil {
		h = header{} // too short, or a folder: looked at below
	}
	// The write-ahead log may hold a newer page 1, and does if a crash tore the
	// one in the file.
	wal, err := os.Open(path + "-wal")
	if err == nil {
		defer wal.Close()
		if newer, ok := walHeader(bufio.NewReaderSize(wal, 1<<16)); ok {
			h = newer
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store: %w", err)
	}
	if string(h[:16]) != "SQLite format 3\x00" || binary.BigEndian.Uint32(h[68:]) != applicationID {
		return nil, fmt.Errorf("store: %s is %w: name the right file, or move it away", path, ErrNotStore)
	}
	if v := h.version(); v > uint32(len(migrations)) {
		return nil, fmt.Errorf("store: %s: %w (schema version %d, this program knows %d): run that version, or restore a backup made with this one",
			path, ErrNewer, v, len(migrations))
	}
	return f, nil
}

// header is the start of page 1, the database header of
// https://www.sqlite.org/fileformat.html#the_database_header.
type header [100]byte

func (h *header) version() uint32 { return binary.BigEndian.Uint32(h[60:]) }

// walHeader is the header that the committed part of a write-ahead log gives
// the database, if it has one. The format is that of
// https://www.sqlite.org/fileformat.html#the_write_ahead_log.
func walHeader(r io.Reader) (h header, ok bool) {
	var start [32]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return h, false
	}
	be := binary.BigEndian
	var sum walChecksum
	switch be.Uint32(start[0:]) {
	case 0x377f0682:
		sum.order = binary.LittleEndian
	case 0x377f0683:
		sum.order = be
	default:
		return h, false
	}
	version, size := be.Uint32(start[4:]), be.Uint32(start[8:])
	if version != 3007000 || size < 512 || size > 65536 || size&(size-1) != 0 || !sum.add(start[:24]).is(start[24:]) {
		return h, false
	}
	salt := [8]byte(start[16:])

	// Each frame has a page number, the size of the database if it commits, the
	// salt and a checksum, then the page. The first that does not fit ends it.
	frame := make([]byte, 24+size)
	var pending header
	var isPending bool
	for {
		if _, err := io.ReadFull(r, frame); err != nil {
			return h, ok
		}
		page, commit := be.Uint32(frame[0:]), be.Uint32(frame[4:])
		if page == 0 || [8]byte(frame[8:]) != salt || !sum.add(frame[:8]).add(frame[24:]).is(frame[16:]) {
			return h, ok
		}
		if page == 1 {
			pending, isPending = header(frame[24:]), true
		}
		if commit != 0 && isPending {
			h, ok = pending, true
		}
	}
}

// walChecksum is the running checksum of a write-ahead log.
type walChecksum struct {
	order  binary.ByteOrder
	s0, s1 uint32
}

func (c *walChecksum) add(b []byte) *walChecksum {
	for ; len(b) >= 8; b = b[8:] {
		c.s0 += c.order.Uint32(b) + c.s1
		c.s1 += c.order.Uint32(b[4:]) + c.s0
	}
	return c
}

func (c *walChecksum) is(b []byte) bool {
	return binary.BigEndian.Uint32(b) == c.s0 && binary.BigEndian.Uint32(b[4:]) == c.s1
}
