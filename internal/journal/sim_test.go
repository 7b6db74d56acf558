package journal

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// machine is a computer whose disk and memory fail on command. It keeps what was
// written apart from what is on disk, by sectors, and the changes of names apart
// from those that were flushed.
type machine struct {
	mu   sync.Mutex
	rng  *rand.Rand
	life int // of the process; handles of an earlier one are dead

	names   map[string]*inode // as a process sees them
	onDisk  map[string]*inode // as a power cut leaves them
	renames []func(map[string]*inode)

	steps int // changes until the process is killed in the midst of one; 0 is never
	full  bool
	// fault is asked before each change; an error makes it fail half done.
	fault func(op, name string) error
}

type inode struct {
	data   []byte // as a process sees it
	onDisk []byte
	dirty  map[int64]bool // sectors that differ, or may
}

var errDead = errors.New("the process is dead")

func newMachine(seed uint64) *machine {
	return &machine{
		rng:    rand.New(rand.NewPCG(seed, 1)),
		names:  map[string]*inode{},
		onDisk: map[string]*inode{},
	}
}

// boot is the journal's folder as the next process sees it.
func (m *machine) boot() folder {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life++
	return &simFolder{m, m.life}
}

// kill ends the process now.
func (m *machine) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life++
}

// cut cuts the power: of what was not flushed any part survives.
func (m *machine) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life++
	odds := []float64{0, 0.1, 0.5, 0.9, 1}
	p := odds[m.rng.IntN(len(odds))]
	for _, change := range m.renames {
		if m.rng.Float64() < p {
			change(m.onDisk)
		}
	}
	m.renames = nil
	for _, n := range m.onDisk {
		m.persist(n, p)
		n.data = slices.Clone(n.onDisk)
		n.dirty = nil
	}
	m.names = maps.Clone(m.onDisk)
}

// persist brings each dirty sector, and the size, to disk with probability p.
func (m *machine) persist(n *inode, p float64) {
	if len(n.onDisk) != len(n.data) && m.rng.Float64() < p {
		n.onDisk = resize(n.onDisk, len(n.data))
	}
	for _, at := range slices.Sorted(maps.Keys(n.dirty)) {
		if m.rng.Float64() < p {
			if end := at + sector; end > int64(len(n.onDisk)) && at < int64(len(n.data)) {
				n.onDisk = resize(n.onDisk, len(n.data))
			}
			if at < int64(len(n.onDisk)) && at < int64(len(n.data)) {
				copy(n.onDisk[at:min(at+sector, int64(len(n.onDisk)))], n.data[at:min(at+sector, int64(len(n.data)))])
			}
		}
	}
}

func resize(b []byte, n int) []byte {
	if n <= len(b) {
		return b[:n]
	}
	return append(b, make([]byte, n-len(b))...)
}

// change is called with the lock held before each change. half tells to do only
// a part of it; err is what it then answers.
func (m *machine) change(life int, op, name string) (half bool, err error) {
	if life != m.life {
		return false, errDead
	}
	if m.steps > 0 {
		if m.steps--; m.steps == 0 {
			m.life++
			return true, errDead
		}
	}
	if m.fault != nil {
		if err := m.fault(op, name); err != nil {
			return true, &os.PathError{Op: op, Path: name, Err: err}
		}
	}
	return false, nil
}

type simFolder struct {
	m    *machine
	life int
}

func (d *simFolder) path(name string) string { return "/sim/" + name }
func (d *simFolder) close() error            { return nil }

func (d *simFolder) list() ([]uint64, error) {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if d.life != d.m.life {
		return nil, errDead
	}
	var all []uint64
	for name := range d.m.names {
		if first, ok := segmentFirst(name); ok {
			all = append(all, first)
		}
	}
	slices.Sort(all)
	return all, nil
}

func (d *simFolder) open(name string, write bool) (file, error) {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if d.life != d.m.life {
		return nil, errDead
	}
	n := d.m.names[name]
	if n == nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	return &simFile{d, name, n}, nil
}

func (d *simFolder) create(name string) (file, error) {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if _, err := d.m.change(d.life, "create", name); err != nil {
		return nil, err
	}
	if d.m.names[name] != nil {
		return nil, &os.PathError{Op: "create", Path: name, Err: os.ErrExist}
	}
	n := &inode{}
	d.names(func(names map[string]*inode) { names[name] = n })
	return &simFile{d, name, n}, nil
}

// names makes a change that is durable with the next sync.
func (d *simFolder) names(f func(map[string]*inode)) {
	f(d.m.names)
	d.m.renames = append(d.m.renames, f)
}

func (d *simFolder) rename(from, to string) error {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	half, err := d.m.change(d.life, "rename", to)
	if err != nil && (!half || d.m.rng.IntN(2) == 0) {
		return err
	}
	n := d.m.names[from]
	d.names(func(names map[string]*inode) {
		if names[from] == n {
			delete(names, from)
		}
		names[to] = n
	})
	return err
}

func (d *simFolder) remove(name string) error {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if _, err := d.m.change(d.life, "remove", name); err != nil {
		return err
	}
	n := d.m.names[name]
	if n == nil {
		return &os.PathError{Op: "remove", Path: name, Err: os.ErrNotExist}
	}
	d.names(func(names map[string]*inode) {
		if names[name] == n {
			delete(names, name)
		}
	})
	return nil
}

func (d *simFolder) sync() error {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	half, err := d.m.change(d.life, "syncdir", "")
	for _, f := range d.m.renames {
		if err == nil || half && d.m.rng.IntN(2) == 0 {
			f(d.m.onDisk)
		}
	}
	if err == nil {
		d.m.renames = nil
	}
	return err
}

type simFile struct {
	d    *simFolder
	name string
	n    *inode
}

func (n *inode) resize(size int) {
	if n.dirty == nil {
		n.dirty = map[int64]bool{}
	}
	for at := int64(min(size, len(n.data))) &^ (sector - 1); at < int64(max(size, len(n.data))); at += sector {
		n.dirty[at] = true
	}
	n.data = resize(n.data, size)
}

func (f *simFile) Close() error { return nil }

func (f *simFile) ReadAt(b []byte, at int64) (int, error) {
	f.d.m.mu.Lock()
	defer f.d.m.mu.Unlock()
	if f.d.life != f.d.m.life {
		return 0, errDead
	}
	if at >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *simFile) WriteAt(b []byte, at int64) (int, error) {
	f.d.m.mu.Lock()
	defer f.d.m.mu.Unlock()
	half, err := f.d.m.change(f.d.life, "write", f.name)
	if err != nil {
		if !half {
			return 0, err
		}
		cut := f.d.m.rng.IntN(len(b) + 1)
		if len(b) <= sector { // one sector is written as one
			cut = len(b) * f.d.m.rng.IntN(2)
		}
		b = b[:cut]
	}
	if end := int(at) + len(b); end > len(f.n.data) {
		f.n.resize(end)
	}
	copy(f.n.data[at:], b)
	if f.n.dirty == nil {
		f.n.dirty = map[int64]bool{}
	}
	for s := at &^ (sector - 1); s < at+int64(len(b)); s += sector {
		f.n.dirty[s] = true
	}
	return len(b), err
}

func (f *simFile) size() (int64, error) {
	f.d.m.mu.Lock()
	defer f.d.m.mu.Unlock()
	return int64(len(f.n.data)), nil
}

// sync that fails leaves any part on disk and forgets that the rest is not
// there, as systems do.
func (f *simFile) sync() error {
	f.d.m.mu.Lock()
	defer f.d.m.mu.Unlock()
	half, err := f.d.m.change(f.d.life, "sync", f.name)
	if err != nil && !half {
		return err
	}
	p := 1.0
	if err != nil {
		p = f.d.m.rng.Float64()
	}
	f.d.m.persist(f.n, p)
	if !errors.Is(err, errDead) {
		f.n.dirty = nil
	}
	return err
}

func (f *simFile) allocate(size int64) error {
	f.d.m.mu.Lock()
	defer f.d.m.mu.Unlock()
	if f.d.m.full {
		return &os.PathError{Op: "fallocate", Path: f.name, Err: syscall.ENOSPC}
	}
	if _, err := f.d.m.change(f.d.life, "allocate", f.name); err != nil {
		return err
	}
	f.n.resize(int(size))
	return nil
}

func (f *simFile) truncate(size int64) error {
	f.d.m.mu.Lock()
	defer f.d.m.mu.Unlock()
	if _, err := f.d.m.change(f.d.life, "truncate", f.name); err != nil {
		return err
	}
	f.n.resize(int(size))
	return nil
}

// hurry is a clock whose waits are over nearly at once.
type hurry struct{}

func (hurry) Now() time.Time { return time.Unix(0, 0) }
func (hurry) After(time.Duration) <-chan time.Time {
	return time.After(20 * time.Microsecond)
}

// readAll is the records as a reader finds them. It fails on gaps.
func readAll(d folder) ([][]byte, error) {
	var all [][]byte
	r := reader{dir: d, yield: func(e Entry, err error) bool {
		all = append(all, e.Record)
		if e.Seq != uint64(len(all)) {
			panic(fmt.Sprintf("record %d where %d was due", e.Seq, len(all)))
		}
		return true
	}}
	defer r.leave()
	return all, r.run()
}
