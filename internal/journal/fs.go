package journal

import (
	"io"
	"os"
	"path/filepath"
	"slices"
)

// folder is all that the journal asks of a file system. Names are relative to
// the folder. Tests put one in its place that fails and loses power.
type folder interface {
	// list is the segments, in order of their first record.
	list() ([]uint64, error)
	// open opens a file that exists, for writing too if write is true.
	open(name string, write bool) (file, error)
	// create makes an empty file; there must be none of that name.
	create(name string) (file, error)
	// rename replaces what has the new name.
	rename(from, to string) error
	remove(name string) error
	// sync returns when creates and renames are on disk.
	sync() error
	close() error
	// path is the name for people.
	path(name string) string
}

// file is an open file. A write that was not synced may be lost in any part.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	size() (int64, error)
	// sync returns when what was written, and the size, are on disk.
	sync() error
	// allocate gives an empty file that size, in zeros whose space is taken.
	allocate(size int64) error
	truncate(size int64) error
}

// osFolder is a folder of the operating system. Through os.Root, files can be
// renamed while they are open on Windows too.
type osFolder struct {
	root *os.Root
	dir  string
}

func openFolder(dir string) (*osFolder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &osFolder{root, dir}, nil
}

func (d *osFolder) list() ([]uint64, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []uint64
	for _, name := range names {
		if first, ok := segmentFirst(name); ok {
			all = append(all, first)
		}
	}
	slices.Sort(all)
	return all, nil
}

func (d *osFolder) open(name string, write bool) (file, error) {
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	return d.openFile(name, flag)
}

func (d *osFolder) create(name string) (file, error) {
	return d.openFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (d *osFolder) openFile(name string, flag int) (file, error) {
	f, err := d.root.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f, fd: f.Fd()}, nil
}

func (d *osFolder) rename(from, to string) error { return d.root.Rename(from, to) }
func (d *osFolder) remove(name string) error     { return d.root.Remove(name) }
func (d *osFolder) close() error                 { return d.root.Close() }
func (d *osFolder) path(name string) string      { return filepath.Join(d.dir, name) }

func (d *osFolder) sync() error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return syncFolder(f)
}

type osFile struct {
	*os.File
	fd uintptr
}

func (f *osFile) truncate(size int64) error { return f.Truncate(size) }

func (f *osFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// allocateZeros takes the space of a file by writing it, for file systems that
// know no other way.
func (f *osFile) allocateZeros(size int64) error {
	block := make([]byte, min(size, 1<<20))
	for at := int64(0); at < size; at += int64(len(block)) {
		if _, err := f.WriteAt(block[:min(int64(len(block)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}
