package datadir_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/journal"
	"github.com/kagimori/kagimori/internal/seal"
	"github.com/kagimori/kagimori/internal/store"
	"github.com/kagimori/kagimori/internal/store/sqlite"
)

var (
	ctx   = context.Background()
	now   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	owner = iam.RootCredentials{Account: "111122223333", AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
)

// options are quick ones: no recovery passphrase, small journal segments.
func options() datadir.Options {
	return datadir.Options{
		Clock: clock.NewManual(now), Log: slog.New(slog.DiscardHandler),
		JournalSegmentSize: 2 << 20, NoRecovery: true,
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newFolder is a folder that has been started and stopped.
func newFolder(t testing.TB, opts datadir.Options) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	d, err := datadir.Open(ctx, dir, opts)
	must(t, err)
	must(t, d.Close("test"))
	return dir
}

// tree is the bytes and modes of all files below dir.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		var content []byte
		if info.Mode().IsRegular() {
			if content, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		files[path] = info.Mode().String() + " " + string(content)
		return nil
	}))
	return files
}

func sameTree(t testing.TB, before, after map[string]string) {
	t.Helper()
	for path := range after {
		if _, ok := before[path]; !ok {
			t.Errorf("%s was made", path)
		}
	}
	for path, content := range before {
		if got, ok := after[path]; !ok {
			t.Errorf("%s is gone", path)
		} else if got != content {
			t.Errorf("%s was changed", path)
		}
	}
}

// refused opens a folder that must not open, and checks what the error says and
// that nothing was changed.
func refused(t testing.TB, dir string, opts datadir.Options, words ...string) error {
	t.Helper()
	before := tree(t, dir)
	d, err := datadir.Open(ctx, dir, opts)
	if err == nil {
		d.Close("test")
		t.Fatal("the folder was opened")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in: %v", w, err)
		}
	}
	sameTree(t, before, tree(t, dir))
	return err
}

// works proves that the folder opens, that the access key in its credentials
// file is the account's, and that it can store and record.
func works(t testing.TB, dir string, opts datadir.Options) {
	t.Helper()
	d, err := datadir.Open(ctx, dir, opts)
	must(t, err)
	defer func() { must(t, d.Close("test")) }()
	shared := readCredentials(t, dir)
	cred, err := iam.NewDirectory(d.Store).Lookup(shared.AccessKeyID)
	must(t, err)
	if cred.SecretKey != shared.SecretKey || cred.Principal.Account != d.Account {
		t.Errorf("the credentials file is not of the account")
	}
	must(t, d.Store.Update(ctx, func(tx store.Tx) error {
		p := store.Place{Kind: "test", ID: fmt.Sprint(tx.Seq())}
		_, err := tx.Put(p, []byte("value"), 0)
		return err
	}))
	must(t, d.Trail.Journal(ctx, []byte("{}")))
}

// readCredentials reads the credentials file as the AWS SDKs do.
func readCredentials(t testing.TB, dir string) iam.RootCredentials {
	t.Helper()
	shared, err := config.LoadSharedConfigProfile(ctx, "default", func(o *config.LoadSharedConfigOptions) {
		o.CredentialsFiles, o.ConfigFiles = []string{datadir.CredentialsFile(dir)}, []string{}
	})
	must(t, err)
	return iam.RootCredentials{AccessKeyID: shared.Credentials.AccessKeyID, SecretKey: shared.Credentials.SecretAccessKey}
}

// events are the names of the audit records, with their details.
func events(t testing.TB, dir string) (names []string, details []map[string]any) {
	t.Helper()
	for entry, err := range journal.Read(datadir.JournalDir(dir), 1) {
		must(t, err)
		var rec struct {
			Name    string         `json:"eventName"`
			Details map[string]any `json:"serviceEventDetails"`
		}
		must(t, json.Unmarshal(entry.Record, &rec))
		names, details = append(names, rec.Name), append(details, rec.Details)
	}
	return names, details
}

func TestFirstStart(t *testing.T) {
	t.Parallel() // as all that use passphrases, which takes time
	dir := filepath.Join(t.TempDir(), "not", "there", "データ")
	opts := options()
	opts.NoRecovery = false
	d, err := datadir.Open(ctx, dir, opts)
	must(t, err)
	if !d.Created || !regexp.MustCompile(`^[1-9][0-9]{11}$`).MatchString(d.Account) || !strings.Contains(d.Opened, "root.key") {
		t.Errorf("created %v, account %q, opened by %q", d.Created, d.Account, d.Opened)
	}
	must(t, d.Close("test"))

	if runtime.GOOS != "windows" {
		must(t, filepath.WalkDir(filepath.Dir(filepath.Dir(dir)), func(path string, e fs.DirEntry, err error) error {
			must(t, err)
			info, err := e.Info()
			must(t, err)
			if want := fs.FileMode(0o600); info.Mode().IsRegular() && info.Mode().Perm() != want {
				t.Errorf("%s has the mode %v, want %v", path, info.Mode(), want)
			} else if info.IsDir() && info.Mode().Perm() != 0o700 {
				t.Errorf("%s has the mode %v, want 0700", path, info.Mode())
			}
			return nil
		}))
	}
	for _, file := range []string{datadir.StoreFile(dir), datadir.RootKeyFile(dir), datadir.RecoveryFile(dir), datadir.CredentialsFile(dir), datadir.JournalDir(dir)} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
	got := readCredentials(t, dir)
	if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(got.AccessKeyID) || !regexp.MustCompile(`^[A-Za-z0-9+/]{40}$`).MatchString(got.SecretKey) {
		t.Errorf("the credentials file holds %q and a secret of %d characters", got.AccessKeyID, len(got.SecretKey))
	}
	works(t, dir, opts)

	text, err := os.ReadFile(datadir.RecoveryFile(dir))
	must(t, err)
	if !strings.Contains(string(text), "MOVE THIS FILE") {
		t.Errorf("the recovery file does not say what to do with it: %s", text)
	}
	if _, err := seal.ReadPassphraseFile(datadir.RecoveryFile(dir)); err != nil {
		t.Error(err)
	}
}

func TestGivenAccount(t *testing.T) {
	for name, given := range map[string]iam.RootCredentials{
		"all":     owner,
		"account": {Account: owner.Account},
		"key":     {AccessKeyID: owner.AccessKeyID, SecretKey: owner.SecretKey},
		// Whatever the configuration lets through must survive the file.
		"strange secret": {SecretKey: `[a]#b;c='d'"e"$f\g%h,i:j#k=`},
	} {
		t.Run(name, func(t *testing.T) {
			opts := options()
			opts.Root = given
			dir := newFolder(t, opts)
			d, err := datadir.Open(ctx, dir, opts)
			must(t, err)
			defer func() { must(t, d.Close("test")) }()
			if d.Created {
				t.Error("the second start is said to be the first")
			}
			root, err := iam.Root(ctx, d.Store, "")
			must(t, err)
			file := readCredentials(t, dir)
			if file.AccessKeyID != root.AccessKeyID || file.SecretKey != root.SecretKey {
				t.Errorf("the file holds %+v, the account has %+v", file, root)
			}
			if given.Account != "" && root.Account != given.Account || given.AccessKeyID != "" && root.AccessKeyID != given.AccessKeyID || given.SecretKey != "" && root.SecretKey != given.SecretKey {
				t.Errorf("given %+v, made %+v", given, root)
			}
		})
	}
}

// What the SDKs could not read from the credentials file is refused before there
// is an account.
func TestSecretThatFilesCannotHold(t *testing.T) {
	for _, secret := range []string{`#0123456789abcdef`, `"0123456789abcdef"`} {
		dir := filepath.Join(t.TempDir(), "data")
		opts := options()
		opts.Root.SecretKey = secret
		if _, err := datadir.Open(ctx, dir, opts); err == nil || !strings.Contains(err.Error(), "KAGIMORI_ROOT_SECRET_ACCESS_KEY") || strings.Contains(err.Error(), secret) {
			t.Errorf("got %v", err)
		}
		if names, err := filepath.Glob(filepath.Join(dir, "c*")); len(names) > 0 || err != nil {
			t.Errorf("made: %v, %v", names, err)
		}
	}
}

func TestEnvironmentThatDiffers(t *testing.T) {
	opts := options()
	opts.Root = owner
	dir := newFolder(t, opts)
	const other = "OtherSecretOtherSecretOtherSecretOther12"
	for name, given := range map[string]iam.RootCredentials{
		"account": {Account: "999988887777"},
		"key id":  {AccessKeyID: "AKIAOTHEROTHEROTHER0"},
		"secret":  {SecretKey: other},
		"all":     {Account: "999988887777", AccessKeyID: "AKIAOTHEROTHEROTHER0", SecretKey: other},
	} {
		opts.Root = given
		err := refused(t, dir, opts, "KAGIMORI_ACCOUNT_ID", "KAGIMORI_ROOT_ACCESS_KEY_ID", "KAGIMORI_ROOT_SECRET_ACCESS_KEY", dir, "unset")
		if strings.Contains(err.Error(), other) || strings.Contains(err.Error(), owner.SecretKey) {
			t.Errorf("%s: the error shows a secret: %v", name, err)
		}
	}
	opts.Root = owner
	works(t, dir, opts)
}

// A first start that stops anywhere is finished by the next one.
func TestInterruptedFirstStart(t *testing.T) {
	emptyStore := func(t *testing.T, dir string) {
		must(t, os.MkdirAll(dir, 0o700))
		must(t, sqlite.Create(datadir.StoreFile(dir)))
	}
	keyFile := func(t *testing.T, dir string) {
		emptyStore(t, dir)
		must(t, seal.NewKeyFile(datadir.RootKeyFile(dir)))
	}
	root := func(t *testing.T, dir string) {
		keyFile(t, dir)
		doc, keys, err := seal.Create(ctx, now, seal.NewSlot{Provider: seal.KeyFile(dir, datadir.RootKeyFile(dir))})
		must(t, err)
		keys.Close()
		db, err := sqlite.Open(datadir.StoreFile(dir))
		must(t, err)
		must(t, db.UpdateMeta(ctx, func(tx store.MetaTx) error { return tx.Put("root", doc.Marshal()) }))
		must(t, db.Close())
	}
	for _, step := range []struct {
		name string
		left func(t *testing.T, dir string) // what the interrupted start leaves
	}{
		{"nothing", func(*testing.T, string) {}},
		{"folder", func(t *testing.T, dir string) { must(t, os.Mkdir(dir, 0o700)) }},
		{"lock", func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir, 0o700))
			must(t, os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600))
		}},
		{"empty store", emptyStore},
		{"half a key file", func(t *testing.T, dir string) {
			emptyStore(t, dir)
			must(t, os.WriteFile(datadir.RootKeyFile(dir)+".new", []byte("This is a Kagi"), 0o600))
		}},
		{"key file", keyFile},
		{"recovery file", func(t *testing.T, dir string) {
			keyFile(t, dir)
			must(t, os.WriteFile(datadir.RecoveryFile(dir), []byte("opens nothing\n"), 0o600))
		}},
		{"root key", root},
		{"credentials", func(t *testing.T, dir string) {
			root(t, dir)
			must(t, datadir.WriteCredentials(dir, iam.RootCredentials{}.Complete()))
		}},
		{"account", func(t *testing.T, dir string) {
			d, err := datadir.Open(ctx, dir, options())
			must(t, err)
			must(t, d.Close("test"))
			must(t, os.RemoveAll(datadir.JournalDir(dir)))
		}},
		{"journal folder", func(t *testing.T, dir string) {
			root(t, dir)
			must(t, os.Mkdir(datadir.JournalDir(dir), 0o700))
		}},
	} {
		t.Run(step.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			step.left(t, dir)
			works(t, dir, options())
			if _, err := os.Stat(datadir.RecoveryFile(dir)); err == nil {
				t.Error("a recovery passphrase that opens nothing is still there")
			}
		})
	}
}

// The recovery passphrase is shown before the root key is made: if nobody could
// see it, the next start shows another one, and that one opens.
func TestRecoveryCannotBeShown(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	opts := options()
	opts.NoRecovery = false
	gone := errors.New("the terminal is gone")
	opts.ShowRecovery = func(string) error { return gone }
	if _, err := datadir.Open(ctx, dir, opts); !errors.Is(err, gone) {
		t.Fatalf("got %v, want %v", err, gone)
	}
	var shown []string
	opts.ShowRecovery = func(p string) error { shown = append(shown, p); return nil }
	works(t, dir, opts)
	works(t, dir, opts)
	if len(shown) != 1 {
		t.Fatalf("the passphrase was shown %d times, want once", len(shown))
	}
	if _, err := os.Stat(datadir.RecoveryFile(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was shown is in a file too: %v", err)
	}
	must(t, os.Remove(datadir.RootKeyFile(dir)))
	refused(t, dir, opts, "root.key does not exist", "--passphrase-file", "recovery passphrase")
	opts.Passphrase = strings.ToLower(shown[0])
	d, err := datadir.Open(ctx, dir, opts)
	must(t, err)
	if d.Opened != "the recovery passphrase" {
		t.Errorf("opened by %q", d.Opened)
	}
	must(t, d.Close("test"))
}

func TestOneProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	d, err := datadir.Open(ctx, dir, options())
	must(t, err)
	if _, err := datadir.Open(ctx, dir, options()); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second Open: %v", err)
	}
	must(t, d.Close("test"))
	works(t, dir, options())
}

func TestOtherRootKey(t *testing.T) {
	t.Run("key file", func(t *testing.T) {
		dir, other := newFolder(t, options()), newFolder(t, options())
		copyFile(t, datadir.RootKeyFile(other), datadir.RootKeyFile(dir))
		refused(t, dir, options(), "root.key", "is not the one of this slot", "was made for")
	})
	t.Run("store", func(t *testing.T) {
		dir, other := newFolder(t, options()), newFolder(t, options())
		copyFile(t, datadir.StoreFile(other), datadir.StoreFile(dir))
		refused(t, dir, options(), "root.key", "is not the one of this slot", "was made for")
	})
	t.Run("no key file", func(t *testing.T) {
		dir := newFolder(t, options())
		must(t, os.Remove(datadir.RootKeyFile(dir)))
		refused(t, dir, options(), "root.key does not exist", "put it back", "FILE")
	})
	t.Run("readable by others", func(t *testing.T) {
		if runtime.GOOS == "windows" {
			t.Skip("no modes")
		}
		dir := newFolder(t, options())
		must(t, os.Chmod(datadir.RootKeyFile(dir), 0o644))
		refused(t, dir, options(), "can be read by others", "chmod 600")
	})
}

// What was lost is not made anew: it would look like the old data, and overwrite
// the credentials and the recovery passphrase that a backup opens with.
func TestLostStore(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, dir string){
		"missing": func(t *testing.T, dir string) { must(t, os.Remove(datadir.StoreFile(dir))) },
		"empty": func(t *testing.T, dir string) {
			must(t, os.Remove(datadir.StoreFile(dir)))
			must(t, sqlite.Create(datadir.StoreFile(dir)))
			db, err := sqlite.Open(datadir.StoreFile(dir)) // which sets its journal mode
			must(t, err)
			must(t, db.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newFolder(t, options())
			lose(t, dir)
			refused(t, dir, options(), dir, "kagimori.db", "put the store back", "restore", "--data")
		})
	}
}

func TestRootKeyFileElsewhere(t *testing.T) {
	usb := filepath.Join(t.TempDir(), "usb")
	must(t, os.Mkdir(usb, 0o700))
	opts := options()
	opts.RootKeyFile = filepath.Join(usb, "my.key")
	dir := newFolder(t, opts)
	if _, err := os.Stat(datadir.RootKeyFile(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a root.key too: %v", err)
	}
	works(t, dir, opts)
	works(t, dir, options()) // its slot says where it is

	moved := filepath.Join(usb, "moved.key")
	must(t, os.Rename(opts.RootKeyFile, moved))
	refused(t, dir, options(), "my.key does not exist")
	opts.RootKeyFile = moved
	works(t, dir, opts)

	// A key file in the data folder moves with it.
	dir = newFolder(t, options())
	must(t, os.Rename(dir, dir+"-moved"))
	works(t, dir+"-moved", options())
}

func TestNewerVersions(t *testing.T) {
	t.Run("store", func(t *testing.T) {
		dir := newFolder(t, options())
		db, err := sql.Open("sqlite", datadir.StoreFile(dir))
		must(t, err)
		_, err = db.Exec("PRAGMA user_version = 99")
		must(t, err)
		must(t, db.Close())
		if err := refused(t, dir, options(), "99", "backup"); !errors.Is(err, sqlite.ErrNewer) {
			t.Error(err)
		}
	})
	t.Run("root key document", func(t *testing.T) {
		dir := newFolder(t, options())
		db, err := sqlite.Open(datadir.StoreFile(dir))
		must(t, err)
		must(t, db.UpdateMeta(ctx, func(tx store.MetaTx) error { return tx.Put("root", []byte(`{"version":2,"new":true}`)) }))
		must(t, db.Close())
		if err := refused(t, dir, options(), "newer version of Kagimori"); !errors.Is(err, seal.ErrNewer) {
			t.Error(err)
		}
	})
	t.Run("journal", func(t *testing.T) {
		dir := newFolder(t, options())
		segments, err := journal.Segments(datadir.JournalDir(dir))
		must(t, err)
		f, err := os.OpenFile(segments[len(segments)-1].Path, os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteAt([]byte{2}, 16) // the version
		must(t, errors.Join(err, f.Close()))
		refused(t, dir, options(), "newer version of Kagimori")
	})
	t.Run("not a store", func(t *testing.T) {
		dir := newFolder(t, options())
		must(t, os.WriteFile(datadir.StoreFile(dir), bytes.Repeat([]byte("text"), 1000), 0o600))
		if err := refused(t, dir, options(), datadir.StoreFile(dir)); !errors.Is(err, sqlite.ErrNotStore) {
			t.Error(err)
		}
	})
	t.Run("damaged journal", func(t *testing.T) {
		dir := newFolder(t, options())
		works(t, dir, options()) // a second segment
		segments, err := journal.Segments(datadir.JournalDir(dir))
		must(t, err)
		must(t, os.Remove(segments[0].Path))
		works(t, dir, options()) // old segments may be moved away
		must(t, os.Truncate(segments[1].Path, 700))
		if err := refused(t, dir, options(), "Restore the file from a copy"); !errors.As(err, new(*journal.CorruptError)) {
			t.Error(err)
		}
	})
}

func TestStartAndStopAreRecorded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for _, reason := range []string{"signal", "error"} {
		d, err := datadir.Open(ctx, dir, options())
		must(t, err)
		must(t, d.Close(reason))
	}
	names, details := events(t, dir)
	if fmt.Sprint(names) != "[StartServer StopServer StartServer StopServer]" {
		t.Fatalf("recorded: %v", names)
	}
	if details[1]["reason"] != "signal" || details[3]["reason"] != "error" {
		t.Errorf("the reasons are %v and %v", details[1]["reason"], details[3]["reason"])
	}
	for i := range details {
		if f, _ := details[i]["rootKeyFingerprint"].(string); len(f) != 32 || f != details[0]["rootKeyFingerprint"] {
			t.Errorf("record %d has the fingerprint %q", i+1, f)
		}
	}
}

// A change whose record did not reach the journal before a crash is recorded by
// the next start, which says so.
func TestLateRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	d, err := datadir.Open(ctx, dir, options())
	must(t, err)
	for i := range 3 {
		recs, err := d.Trail.Commit(ctx, func(tx store.Tx) error {
			_, err := tx.Put(store.Place{Kind: "test", ID: fmt.Sprint(i)}, nil, 0)
			return err
		}, func() []api.Record {
			id := fmt.Sprintf("event-%d", i)
			return []api.Record{{EventID: id, JSON: fmt.Appendf(nil, `{"eventName":"Change%d","eventID":%q}`, i, id)}}
		})
		must(t, err)
		if i == 1 { // only this one gets there
			must(t, d.Trail.JournalCommitted(ctx, recs))
		}
	}
	must(t, d.Close("test"))

	var log bytes.Buffer
	opts := options()
	opts.Log = slog.New(slog.NewTextHandler(&log, nil))
	works(t, dir, opts)
	if !strings.Contains(log.String(), "written late") || !strings.Contains(log.String(), "records=2") {
		t.Errorf("the log says %s", &log)
	}
	names, _ := events(t, dir)
	for i := range 3 {
		if n := strings.Count(fmt.Sprint(names), fmt.Sprintf("Change%d", i)); n != 1 {
			t.Errorf("change %d is recorded %d times: %v", i, n, names)
		}
	}
	log.Reset()
	works(t, dir, opts)
	if log.Len() != 0 {
		t.Errorf("the next start says %s", &log)
	}
}

func TestOthersCanReadTheFolder(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	dir := newFolder(t, options())
	must(t, os.Chmod(dir, 0o755))
	var log bytes.Buffer
	opts := options()
	opts.Log = slog.New(slog.NewTextHandler(&log, nil))
	works(t, dir, opts)
	if !strings.Contains(log.String(), "chmod 700") || !strings.Contains(log.String(), dir) {
		t.Errorf("the log says %s", &log)
	}
}

func TestFolderThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if _, err := datadir.Open(ctx, dir, options()); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "--data") {
			t.Errorf("%s: got %v", dir, err)
		}
	}
}

// Slots that are changed while somebody else changes them are not lost.
func TestChangeRootAtTheSameTime(t *testing.T) {
	dir := newFolder(t, options())
	db, err := sqlite.Open(datadir.StoreFile(dir))
	must(t, err)
	defer db.Close()
	root, err := datadir.ReadRoot(ctx, db)
	must(t, err)
	keys, err := root.Unlock(ctx, datadir.Providers(root, dir, "", "")...)
	must(t, err)
	defer keys.Close()
	add := func(name string) func(*seal.Root) (*seal.Root, error) {
		file := filepath.Join(dir, name)
		must(t, seal.NewKeyFile(file))
		return func(r *seal.Root) (*seal.Root, error) {
			return r.AddSlot(ctx, now, keys, seal.NewSlot{Label: name, Provider: seal.KeyFile(dir, file)})
		}
	}
	one, two := add("one.key"), add("two.key")
	err = datadir.ChangeRoot(ctx, db, func(r *seal.Root) (*seal.Root, error) {
		must(t, datadir.ChangeRoot(ctx, db, one))
		return two(r)
	})
	if err == nil || !strings.Contains(err.Error(), "run the command again") {
		t.Errorf("got %v", err)
	}
	must(t, datadir.ChangeRoot(ctx, db, two))
	root, err = datadir.ReadRoot(ctx, db)
	must(t, err)
	if n := len(root.Slots()); n != 3 {
		t.Errorf("%d slots, want 3", n)
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, b, 0o600))
}
