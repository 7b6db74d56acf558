package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/journal"
	"github.com/kagimori/kagimori/internal/seal"
	"github.com/kagimori/kagimori/internal/seal/stream"
	"github.com/kagimori/kagimori/internal/store"
	"github.com/kagimori/kagimori/internal/store/sqlite"
	"github.com/kagimori/kagimori/internal/translog"
)

var (
	ctx   = context.Background()
	now   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	owner = iam.RootCredentials{Account: "111122223333", AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
)

// A child process, told by these variables, takes backups as the backup command
// does: from outside the process that has the folder open.
const (
	childFolder = "KAGIMORI_TEST_FOLDER"
	childFile   = "KAGIMORI_TEST_FILE"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		if err := backupOf(ctx, dir, os.Getenv(childFile), func(int64, int64) {}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// backupOf writes a backup of dir into file.
func backupOf(ctx context.Context, dir, file string, progress Progress) error {
	db, err := sqlite.Open(datadir.StoreFile(dir))
	if err != nil {
		return err
	}
	defer db.Close()
	root, err := datadir.ReadRoot(ctx, db)
	if err != nil {
		return err
	}
	keys, err := root.Unlock(ctx, datadir.Providers(root, dir, "", "")...)
	if err != nil {
		return err
	}
	defer keys.Close()
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(Write(ctx, f, dir, filepath.Dir(file), db, root, keys, now, progress), f.Close())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openFolder(t testing.TB, dir string) *datadir.Dir {
	t.Helper()
	d, err := datadir.Open(ctx, dir, datadir.Options{
		Clock: clock.NewManual(now), Log: slog.New(slog.DiscardHandler),
		JournalSegmentSize: 2 << 20, NoRecovery: true, Root: owner,
	})
	must(t, err)
	return d
}

// newBackup is a data folder with a record that is large enough for a backup of
// several chunks, and its backup.
func newBackup(t testing.TB) (dir string, file []byte) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	d := openFolder(t, dir)
	must(t, d.Store.Update(ctx, func(tx store.Tx) error {
		value := make([]byte, 2*chunk)
		rand.Read(value)
		_, err := tx.Put(store.Place{Kind: "test", ID: "large"}, value, 0)
		return err
	}))
	must(t, d.Close("test"))
	path := filepath.Join(t.TempDir(), "backup")
	must(t, backupOf(ctx, dir, path, func(int64, int64) {}))
	file, err := os.ReadFile(path)
	must(t, err)
	return dir, file
}

// chunk is the size of a stream's chunks.
const chunk = 64 << 10

// extractInto unpacks a backup of dir into the empty folder into.
func extractInto(ctx context.Context, dir, into string, src io.Reader) (*Summary, error) {
	r, err := Open(src, func(root *seal.Root) (*seal.Keys, error) {
		return root.Unlock(ctx, seal.KeyFile(dir, datadir.RootKeyFile(dir)))
	})
	if err != nil {
		return nil, err
	}
	defer r.Keys.Close()
	return r.Extract(ctx, into)
}

// check unpacks a backup of dir and throws it away.
func check(t testing.TB, dir string, file []byte) (*Summary, error) {
	t.Helper()
	into, err := os.MkdirTemp(t.TempDir(), "*")
	must(t, err)
	defer os.RemoveAll(into)
	return extractInto(ctx, dir, into, bytes.NewReader(file))
}

func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	d := openFolder(t, dir)
	for i := range 5 {
		must(t, d.Store.Update(ctx, func(tx store.Tx) error {
			_, err := tx.Put(store.Place{Kind: "test", ID: fmt.Sprint(i)}, fmt.Appendf(nil, "value %d", i), 0)
			return err
		}))
		must(t, d.Trail.Journal(ctx, fmt.Appendf(nil, `{"n":%d}`, i)))
	}
	must(t, d.Close("test"))

	file := filepath.Join(t.TempDir(), "backup")
	var done, total []int64
	must(t, backupOf(ctx, dir, file, func(d, of int64) { done, total = append(done, d), append(total, of) }))
	if n := len(done); n == 0 || done[n-1] != total[n-1] {
		t.Errorf("the progress ended at %v of %v", done[n-1], total[n-1])
	}
	for i := range done[1:] {
		if done[i] > done[i+1] || total[i] != total[i+1] {
			t.Fatalf("the progress went from %d of %d to %d of %d", done[i], total[i], done[i+1], total[i+1])
		}
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}

	src, err := os.Open(file)
	must(t, err)
	defer src.Close()
	into := t.TempDir()
	sum, err := extractInto(ctx, dir, into, src)
	must(t, err)
	if sum.Account != owner.Account || sum.Records != 8 || sum.Journal != 7 || sum.LastSeq != 7 || !sum.Created.Equal(now) || len(sum.RootFingerprint) != 32 {
		t.Errorf("the summary is %+v", sum)
	}

	// What was restored serves.
	must(t, os.Rename(datadir.RootKeyFile(dir), datadir.RootKeyFile(into)))
	d = openFolder(t, into)
	must(t, d.Store.View(ctx, func(r store.Reader) error {
		for i := range 5 {
			rec, err := r.Get(store.Place{Kind: "test", ID: fmt.Sprint(i)})
			if err != nil {
				return err
			}
			if want := fmt.Sprintf("value %d", i); string(rec.Value) != want {
				t.Errorf("record %d is %q, want %q", i, rec.Value, want)
			}
		}
		return nil
	}))
	if last := d.Journal.LastSeq(); last != 8 { // with the start
		t.Errorf("the journal goes on with record %d, want 8", last)
	}
	must(t, d.Close("test"))
}

// A restored folder goes on with its transparency log, though old segments of its journal
// had been moved away.
func TestTransparencyGoesOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	d := openFolder(t, dir)
	const records = 70_000
	var group errgroup.Group
	for w := range 50 {
		group.Go(func() error {
			for i := range records / 50 {
				if _, err := d.Journal.Append(ctx, fmt.Appendf(nil, `{"n":"%d-%d","pad":"%0200d"}`, w, i, 0)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	must(t, group.Wait())
	must(t, d.Close("test"))
	segments, err := journal.Segments(datadir.JournalDir(dir))
	must(t, err)
	keep := 0
	for _, s := range segments {
		if s.First <= 65536 {
			keep++
		}
	}
	if keep < 2 {
		t.Fatalf("%d segments", len(segments))
	}
	for _, s := range segments[:keep-1] {
		must(t, os.Remove(s.Path))
	}
	verify := func(dir string, older ...[]byte) *translog.Report {
		t.Helper()
		text, err := os.ReadFile(translog.KeysFile(datadir.TransparencyDir(dir)))
		must(t, err)
		keys, err := translog.ParseKeys(string(text))
		must(t, err)
		report, err := translog.Verify(ctx, datadir.TransparencyDir(dir), datadir.JournalDir(dir), keys, older, func(int64, int64) {})
		must(t, err)
		return report
	}
	before := verify(dir)
	if before.First == 1 || before.Size < records {
		t.Fatalf("before: %+v", before)
	}
	kept, err := os.ReadFile(translog.CheckpointFile(datadir.TransparencyDir(dir)))
	must(t, err)

	file := filepath.Join(t.TempDir(), "backup")
	must(t, backupOf(ctx, dir, file, func(int64, int64) {}))
	src, err := os.Open(file)
	must(t, err)
	defer src.Close()
	into := t.TempDir()
	_, err = extractInto(ctx, dir, into, src)
	must(t, err)
	must(t, os.Rename(datadir.RootKeyFile(dir), datadir.RootKeyFile(into)))
	d = openFolder(t, into)
	must(t, d.Close("test"))
	if after := verify(into, kept); after.Origin != before.Origin || after.First != before.First || after.Size <= before.Size {
		t.Errorf("before: %+v; after: %+v", before, after)
	}
}

// change is what a writer of TestWhileWriting does: it moves an amount between
// two accounts, whose sum stays, counts it, and records it.
func change(d *datadir.Dir, writer, n int) error {
	recs, err := d.Trail.Commit(ctx, func(tx store.Tx) error {
		for id, delta := range map[string]int{"a": -n, "b": n, fmt.Sprintf("writer-%d", writer): 1} {
			p := store.Place{Kind: "test", ID: id}
			rec, err := tx.Get(p)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if _, err := tx.Put(p, fmt.Append(nil, number(rec.Value)+delta), rec.Revision); err != nil {
				return err
			}
		}
		return nil
	}, func() []api.Record {
		id := fmt.Sprintf("%d-%d", writer, n)
		return []api.Record{{EventID: id, JSON: fmt.Appendf(nil, `{"eventID":%q,"pad":"%020000d"}`, id, 0)}}
	})
	if err != nil {
		return err
	}
	return d.Trail.JournalCommitted(ctx, recs)
}

func number(b []byte) (n int) {
	fmt.Sscan(string(b), &n)
	return n
}

// A backup of a running server is the store of one moment, with the record of
// every change in it, also when journal segments are changed meanwhile.
func TestWhileWriting(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	d := openFolder(t, dir)
	const writers, backups = 4, 2
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := change(d, w, n); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	files := t.TempDir()
	for i := range backups {
		for seq := uint64(100 * (i + 1)); d.Journal.LastSeq() < seq && !t.Failed(); { // a segment holds about 100
			runtime.Gosched()
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childFolder+"="+dir, childFile+"="+filepath.Join(files, fmt.Sprint(i)))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
	close(stop)
	wg.Wait()
	if segments, err := journal.Segments(datadir.JournalDir(dir)); err != nil || len(segments) < 2 {
		t.Errorf("the journal has %d segments, %v: the test is to write more", len(segments), err)
	}
	must(t, d.Close("test"))

	before := 0
	for i := range backups {
		changes := oneMoment(t, dir, filepath.Join(files, fmt.Sprint(i)), writers)
		if changes <= before {
			t.Errorf("backup %d has %d changes, the one before it %d", i, changes, before)
		}
		before = changes
	}
}

// oneMoment restores a backup of dir and checks that what it holds fits together.
// It returns how many changes are in it.
func oneMoment(t *testing.T, dir, file string, writers int) (changes int) {
	t.Helper()
	src, err := os.Open(file)
	must(t, err)
	defer src.Close()
	into := t.TempDir()
	_, err = extractInto(ctx, dir, into, src)
	must(t, err)
	key, err := os.ReadFile(datadir.RootKeyFile(dir))
	must(t, err)
	must(t, os.WriteFile(datadir.RootKeyFile(into), key, 0o600))
	d := openFolder(t, into) // which writes the records that waited in the outbox
	recorded := map[string]bool{}
	for entry, err := range journal.Read(datadir.JournalDir(into), 1) {
		must(t, err)
		var rec struct {
			ID string `json:"eventID"`
		}
		must(t, json.Unmarshal(entry.Record, &rec))
		recorded[rec.ID] = true
	}
	must(t, d.Store.View(ctx, func(r store.Reader) error {
		value := func(id string) int {
			rec, err := r.Get(store.Place{Kind: "test", ID: id})
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
			return number(rec.Value)
		}
		if a, b := value("a"), value("b"); a+b != 0 {
			t.Errorf("half of a change: %d and %d", a, b)
		}
		for w := range writers {
			count := value(fmt.Sprintf("writer-%d", w))
			for n := 1; n <= count; n++ {
				if id := fmt.Sprintf("%d-%d", w, n); !recorded[id] {
					t.Fatalf("change %s of %d is there, but not its record", id, count)
				}
			}
			changes += count
		}
		return nil
	}))
	must(t, d.Close("test"))
	return changes
}

// busy is a context in which something happens whenever somebody looks at it.
type busy struct {
	context.Context
	work func()
}

func (b busy) Err() error {
	b.work()
	return b.Context.Err()
}

// Changes that are made and recorded between the steps of a backup are in it with
// their records, or not at all.
func TestChangesBetweenTheSteps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	d := openFolder(t, dir)
	n := 0
	work := func() {
		for range 3 { // of which the last one's record is still in the outbox
			n++
			must(t, change(d, 0, n))
		}
	}
	work()
	file := filepath.Join(t.TempDir(), "backup")
	must(t, backupOf(busy{ctx, func() {
		if n < 30 {
			work()
		}
	}}, dir, file, func(int64, int64) {}))
	must(t, d.Close("test"))
	if changes := oneMoment(t, dir, file, 1); changes < 3 {
		t.Errorf("the backup has %d changes of %d", changes, n)
	}
}

// Any change to a backup is found: a byte, the end, what is behind it.
func TestChangesAreFound(t *testing.T) {
	dir, file := newBackup(t)
	if len(file) < 2*chunk {
		t.Fatalf("the backup is only %d bytes", len(file))
	}
	if sum, err := check(t, dir, file); err != nil || sum.Records != 4 {
		t.Fatalf("unchanged: %+v, %v", sum, err)
	}
	// Much of the head is tried, and of the stream some of each chunk.
	head := len(magic) + 4 + int(file[len(magic)+2])<<8 + int(file[len(magic)+3])
	var places []int
	for i := range file {
		if i < head+32 && (i < 32 || i%7 == 0) || i%(chunk/4+7) == 0 || i >= len(file)-3 {
			places = append(places, i)
		}
	}
	for n, i := range places {
		changed := bytes.Clone(file)
		changed[i] ^= 1 << (n % 8)
		if _, err := check(t, dir, changed); err == nil {
			t.Errorf("byte %d was changed, and nobody noticed", i)
		}
		if _, err := check(t, dir, file[:i]); err == nil {
			t.Errorf("cut at byte %d, and nobody noticed", i)
		}
	}
	for name, more := range map[string][]byte{
		"a byte": {0}, "zeros": make([]byte, 1000), "a chunk": file[head+32 : head+32+chunk+16], "the last bytes again": file[len(file)-100:], "a backup": file,
	} {
		if _, err := check(t, dir, append(bytes.Clone(file), more...)); err == nil {
			t.Errorf("%s was appended, and nobody noticed", name)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	_, file := newBackup(t)
	never := func(*seal.Root) (*seal.Keys, error) {
		t.Error("the root key was asked for")
		return nil, errors.New("no")
	}
	huge := append([]byte(magic), 0xff, 0xff, 0xff, 0xff)
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":         {nil, "cut short"},
		"text":          {bytes.Repeat([]byte("something else\n"), 100), "not a Kagimori backup"},
		"newer version": {bytes.Replace(file, []byte("backup 1"), []byte("backup 2"), 1), "newer version"},
		"no document":   {file[:len(magic)+4], "cut short"},
		"huge document": {huge, "damaged"},
	} {
		if _, err := Open(bytes.NewReader(c.file), never); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	failing := errors.New("the disk fails")
	if _, err := Open(io.MultiReader(bytes.NewReader(file[:5]), badReader{failing}), never); !errors.Is(err, failing) {
		t.Errorf("got %v, want %v", err, failing)
	}
	other, _ := newBackup(t)
	if _, err := check(t, other, file); !errors.Is(err, seal.ErrWrongSecret) {
		t.Errorf("with the key file of another store: %v", err)
	}
}

type badReader struct{ err error }

func (r badReader) Read([]byte) (int, error) { return 0, r.err }

// archiveOf is a backup that only a holder of the root key could make.
func archiveOf(t *testing.T, dir string, members []tar.Header, content map[int][]byte) []byte {
	t.Helper()
	db, err := sqlite.Open(datadir.StoreFile(dir))
	must(t, err)
	defer db.Close()
	root, err := datadir.ReadRoot(ctx, db)
	must(t, err)
	keys, err := root.Unlock(ctx, datadir.Providers(root, dir, "", "")...)
	must(t, err)
	defer keys.Close()
	var file bytes.Buffer
	head := header(root)
	file.Write(head)
	sealed, err := newWriter(&file, keys, head)
	must(t, err)
	zip := gzip.NewWriter(sealed)
	archive := tar.NewWriter(zip)
	for i, h := range members {
		h.Mode, h.Size = 0o600, int64(len(content[i]))
		must(t, archive.WriteHeader(&h))
		_, err := archive.Write(content[i])
		must(t, err)
	}
	must(t, errors.Join(archive.Close(), zip.Close(), sealed.Close()))
	return file.Bytes()
}

// Whatever is in an archive, nothing is written outside the folder, and no link
// is made in it.
func TestStrangeMembers(t *testing.T) {
	dir, _ := newBackup(t)
	outside := filepath.Join(t.TempDir(), "outside")
	for _, c := range []struct {
		name    string
		members []tar.Header
	}{
		{"unknown", []tar.Header{{Name: "notes.txt"}}},
		{"parent", []tar.Header{{Name: "../outside"}}},
		{"parent in journal", []tar.Header{{Name: "journal/../../outside"}}},
		{"parent of journal", []tar.Header{{Name: "journal/.."}}},
		{"absolute", []tar.Header{{Name: outside}}},
		{"absolute in journal", []tar.Header{{Name: "journal/" + outside}}},
		{"journal itself", []tar.Header{{Name: "journal/"}}},
		{"journal dot", []tar.Header{{Name: "journal/."}}},
		{"folder in journal", []tar.Header{{Name: "journal/a/b"}}},
		{"folder", []tar.Header{{Name: "journal/a", Typeflag: tar.TypeDir}}},
		{"symbolic link", []tar.Header{{Name: "kagimori.db", Typeflag: tar.TypeSymlink, Linkname: outside}}},
		{"link to write through", []tar.Header{{Name: "journal/a", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "journal/a"}}},
		{"hard link", []tar.Header{{Name: "kagimori.db", Typeflag: tar.TypeLink, Linkname: datadir.StoreFile(dir)}}},
		{"device", []tar.Header{{Name: "kagimori.db", Typeflag: tar.TypeChar}}},
		{"store twice", []tar.Header{{Name: "kagimori.db"}, {Name: "kagimori.db"}}},
		{"segment twice", []tar.Header{{Name: "journal/a"}, {Name: "journal/a"}}},
		{"transparency itself", []tar.Header{{Name: "transparency/."}}},
		{"parent in transparency", []tar.Header{{Name: "transparency/tile/../../../outside"}}},
		{"tile twice", []tar.Header{{Name: "transparency/tile/0/000"}, {Name: "transparency/tile/0/000"}}},
		{"root key", []tar.Header{{Name: "root.key"}}},
		{"nothing", nil},
		{"empty store", []tar.Header{{Name: "manifest.json"}, {Name: "kagimori.db"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			parent := t.TempDir()
			into := filepath.Join(parent, "data")
			must(t, os.Mkdir(into, 0o700))
			if _, err := extractInto(ctx, dir, into, bytes.NewReader(archiveOf(t, dir, c.members, nil))); err == nil {
				t.Error("it was taken")
			}
			names, err := os.ReadDir(parent)
			must(t, err)
			if len(names) != 1 {
				t.Errorf("beside the folder there is %v", names)
			}
			if _, err := os.Lstat(outside); err == nil {
				t.Error("a file was made outside the folder")
			}
			must(t, filepath.WalkDir(into, func(path string, e os.DirEntry, err error) error {
				if err == nil && !e.IsDir() && !e.Type().IsRegular() {
					t.Errorf("%s is not a file", path)
				}
				return err
			}))
		})
	}
}

// What makes a backup unknown is the one strange member in it.
func TestStrangeMemberInAWholeArchive(t *testing.T) {
	dir, _ := newBackup(t)
	segments, err := filepath.Glob(filepath.Join(datadir.JournalDir(dir), "*.journal"))
	must(t, err)
	members, content := []tar.Header{{Name: "manifest.json"}, {Name: "kagimori.db"}}, map[int][]byte{0: []byte("{}")}
	content[1], err = os.ReadFile(datadir.StoreFile(dir))
	must(t, err)
	for _, s := range segments {
		content[len(members)], err = os.ReadFile(s)
		must(t, err)
		members = append(members, tar.Header{Name: "journal/" + filepath.Base(s)})
	}
	if _, err := check(t, dir, archiveOf(t, dir, members, content)); err != nil {
		t.Fatalf("without: %v", err)
	}
	for name, strange := range map[string]tar.Header{
		"symbolic link": {Name: "journal/a", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		"hard link":     {Name: "journal/a", Typeflag: tar.TypeLink, Linkname: "kagimori.db"},
		"pipe":          {Name: "journal/a", Typeflag: tar.TypeFifo},
		"folder":        {Name: "journal/a", Typeflag: tar.TypeDir},
		"unknown":       {Name: "notes.txt"},
	} {
		if _, err := check(t, dir, archiveOf(t, dir, append(members[:len(members):len(members)], strange), content)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", strange.Name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Without the root key nothing is ever unpacked: a bomb cannot be made by whoever
// writes backups, only by who could read them.
func TestUnsealedArchiveIsNotUnpacked(t *testing.T) {
	dir, file := newBackup(t)
	head := len(magic) + 4 + int(file[len(magic)+2])<<8 + int(file[len(magic)+3])
	var bomb bytes.Buffer
	bomb.Write(file[:head])
	w, err := stream.NewWriter(&bomb, [32]byte{1}, file[:head])
	must(t, err)
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	must(t, archive.WriteHeader(&tar.Header{Name: storeName, Size: 4 << 20, Mode: 0o600}))
	_, err = io.CopyN(archive, zeros{}, 4<<20)
	must(t, errors.Join(err, archive.Close(), zip.Close(), w.Close()))
	into := t.TempDir()
	if _, err := extractInto(ctx, dir, into, &bomb); !errors.Is(err, stream.ErrAuthentication) {
		t.Errorf("got %v, want %v", err, stream.ErrAuthentication)
	}
	if names, err := os.ReadDir(into); err != nil || len(names) > 0 {
		t.Errorf("unpacked: %v, %v", names, err)
	}
}

// A backup whose store is under another root key than the backup itself could
// not be opened with the secrets that the backup opens with.
func TestRotatedMeanwhile(t *testing.T) {
	dir, _ := newBackup(t)
	db, err := sqlite.Open(datadir.StoreFile(dir))
	must(t, err)
	defer db.Close()
	old, err := datadir.ReadRoot(ctx, db)
	must(t, err)
	providers := datadir.Providers(old, dir, "", "")
	keys, err := old.Unlock(ctx, providers...)
	must(t, err)
	defer keys.Close()
	must(t, datadir.ChangeRoot(ctx, db, func(r *seal.Root) (*seal.Root, error) {
		r, fresh, err := r.Rotate(ctx, now, keys, providers...)
		if err == nil {
			fresh.Close()
		}
		return r, err
	}))
	err = Write(ctx, io.Discard, dir, t.TempDir(), db, old, keys, now, func(int64, int64) {})
	if err == nil || !strings.Contains(err.Error(), "rotated") {
		t.Errorf("got %v", err)
	}
}

// Whoever stops a backup or a restore gets the error soon, and no file is left in
// the folder for temporary ones.
func TestCancelled(t *testing.T) {
	dir, file := newBackup(t)
	for _, at := range []int64{1, 1000, 300_000} {
		ctx, cancel := context.WithCancel(ctx)
		path := filepath.Join(t.TempDir(), "backup")
		err := backupOf(ctx, dir, path, func(done, _ int64) {
			if done >= at {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("stopped at %d bytes: %v", at, err)
		}
		names, err := os.ReadDir(filepath.Dir(path))
		must(t, err)
		if len(names) > 1 {
			t.Errorf("left behind: %v", names)
		}
	}
	stopped, cancel := context.WithCancel(ctx)
	src := &watched{Reader: bytes.NewReader(file), at: func(left int) {
		if left < len(file)/2 {
			cancel()
		}
	}}
	if _, err := extractInto(stopped, dir, t.TempDir(), src); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped while unpacking: %v", err)
	}
}

type watched struct {
	*bytes.Reader
	at func(left int)
}

func (w *watched) Read(p []byte) (int, error) {
	w.at(w.Len())
	return w.Reader.Read(p[:min(len(p), 10_000)])
}

// The head of a file is all that is read of it before a secret is needed.
func FuzzOpen(f *testing.F) {
	_, file := newBackup(f)
	head := len(magic) + 4 + int(file[len(magic)+2])<<8 + int(file[len(magic)+3])
	f.Add(file[:head+100])
	f.Add([]byte(magic))
	f.Add(append([]byte(magic), 0xff, 0xff, 0xff, 0xff))
	f.Add(append([]byte(magic), 0, 0, 0, 2, '{', '}'))
	locked := errors.New("locked")
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := Open(bytes.NewReader(b), func(root *seal.Root) (*seal.Keys, error) {
			if root.Fingerprint() == "" || len(root.Slots()) == 0 {
				t.Error("a root document without a fingerprint or slots")
			}
			return nil, locked
		})
		if err == nil {
			t.Error("opened without a key")
		}
	})
}
