// Package datadir owns the data folder: which file is where, who may open it,
// the order in which things are opened and closed, and the first start.
//
//	kagimori.db   the store; the wrapped root key is in it too
//	root.key      the key file that opens the root key; may lie elsewhere
//	recovery.txt  the recovery passphrase, until it is moved to a safe place
//	credentials   the root's access key, in AWS's shared-credentials format
//	journal/      the audit journal
//	index/        the index of its records, for LookupEvents; can be made again of it
//	transparency/ the transparency log over it; can be made again of it
//	lock          held by the one process that serves the folder
//
// A first start that was interrupted at any point goes on where it stopped.
package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/gofrs/flock"
	"github.com/google/uuid"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/durable"
	"github.com/kagimori/kagimori/internal/eventindex"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/journal"
	"github.com/kagimori/kagimori/internal/seal"
	"github.com/kagimori/kagimori/internal/secmem"
	"github.com/kagimori/kagimori/internal/store"
	"github.com/kagimori/kagimori/internal/store/sqlite"
	"github.com/kagimori/kagimori/internal/translog"
)

// Paths in a data folder.
func StoreFile(dir string) string       { return filepath.Join(dir, "kagimori.db") }
func RootKeyFile(dir string) string     { return filepath.Join(dir, "root.key") }
func RecoveryFile(dir string) string    { return filepath.Join(dir, "recovery.txt") }
func CredentialsFile(dir string) string { return filepath.Join(dir, "credentials") }
func JournalDir(dir string) string      { return filepath.Join(dir, "journal") }
func IndexDir(dir string) string        { return filepath.Join(dir, "index") }
func WebhookKeyFile(dir string) string  { return filepath.Join(dir, "webhook.pub") }
func TransparencyDir(dir string) string { return filepath.Join(dir, "transparency") }

// Options say how a folder is opened. The zero value of a field is its default.
type Options struct {
	Clock clock.Clock  // needed
	Log   *slog.Logger // needed
	// JournalSegmentSize is in bytes, see package journal.
	JournalSegmentSize int64
	// Root are the account and root credentials that were asked for; empty
	// members are made at random on the first start.
	Root iam.RootCredentials
	// RootKeyFile is where the key file is, if not where its slot says; on the
	// first start, where it is made.
	RootKeyFile string
	// Passphrase opens the root key instead of a key file.
	Passphrase string
	// ShowRecovery is given the recovery passphrase of a first start to show it
	// once. If nil, it is written to RecoveryFile.
	ShowRecovery func(passphrase string) error
	// NoRecovery leaves the recovery passphrase out, for folders that need not
	// outlive a test.
	NoRecovery bool
}

// Dir is an open data folder.
type Dir struct {
	Path    string
	Account string // the first account
	Created bool   // this was the first start
	Opened  string // what opened the root key, in words: "the key file root.key (id …)"
	Store   store.Store
	Journal *journal.Journal
	Trail   *audit.Trail
	// Index finds records of the journal.
	Index *eventindex.Index
	// Transparency is the transparency log over the journal.
	Transparency *translog.Log

	clock clock.Clock
	lock  *flock.Flock
	db    *sqlite.DB
	keys  *seal.Keys
}

// JournalDir is the folder of the journal.
func (d *Dir) JournalDir() string { return JournalDir(d.Path) }

// Sealer seals what leaves the server to come back, such as session tokens, each
// kind under a binding of its own. What it sealed opens for as long as the store
// does, whichever root key is in use.
func (d *Dir) Sealer() store.Sealer { return d.keys.StoreKey() }

// Open opens the data folder, making it on the first start. Its errors tell the
// operator what to do. Close must be called even if the process is to end.
func Open(ctx context.Context, path string, opts Options) (_ *Dir, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{Path: path, clock: opts.Clock}
	if err := d.takeFolder(opts.Log); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.release()
		}
	}()
	if err := d.openStore(); err != nil {
		return nil, err
	}
	if err := d.openRoot(ctx, &opts); err != nil {
		return nil, err
	}
	d.Store = d.db.Store(d.keys.StoreKey())
	if err := d.openAccount(ctx, opts.Root); err != nil {
		return nil, err
	}
	if err := d.openJournal(ctx, &opts); err != nil {
		return nil, err
	}
	if err := d.startTransparency(ctx, opts.Log); err != nil {
		return nil, err
	}
	d.Index = eventindex.Start(eventindex.Config{Dir: IndexDir(d.Path), JournalDir: d.JournalDir(), LastSeq: d.Journal.LastSeq, Log: opts.Log})
	return d, nil
}

// takeFolder makes the folder and locks it.
func (d *Dir) takeFolder(log *slog.Logger) error {
	if err := makeFolder(d.Path); err != nil {
		return fmt.Errorf("the data folder cannot be made: %w; name one that can with --data", err)
	}
	if info, err := os.Stat(d.Path); err == nil && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		log.Warn("others can read the data folder", "fix", "chmod 700 '"+d.Path+"'")
	}
	d.lock = flock.New(filepath.Join(d.Path, "lock"), flock.SetPermissions(0o600))
	locked, err := d.lock.TryLock()
	if err != nil {
		return fmt.Errorf("the data folder cannot be locked: %w; it must be a folder that the user who runs kagimori can write, name another one with --data", err)
	}
	if !locked {
		return fmt.Errorf("the data folder %s is in use by another kagimori process; stop that one, or give this one another folder with --data", d.Path)
	}
	return nil
}

// makeFolder is os.MkdirAll that survives a power cut.
func makeFolder(path string) error {
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeFolder(filepath.Dir(path)); err != nil {
			return err
		}
		err = os.Mkdir(path, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	made := err == nil
	// Also for a folder that is there: an earlier start may have ended right here.
	if err := durable.SyncFolder(filepath.Dir(path)); made || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil // in a folder that we may not read, somebody else has made it
}

// openStore opens the store, making it on the first start.
func (d *Dir) openStore() (err error) {
	file := StoreFile(d.Path)
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		if err := d.checkUnused(); err != nil {
			return err
		}
		if err := sqlite.Create(file); err != nil {
			return err
		}
	}
	d.db, err = sqlite.Open(file)
	return err
}

// checkUnused refuses to start anew in a folder that has been used: there is no
// journal before the account is durable, so what is missing was lost.
func (d *Dir) checkUnused() error {
	segments, err := journal.Segments(d.JournalDir())
	if err == nil && len(segments) == 0 || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("the data folder %s has an audit journal, but its store %s is missing or empty; put the store back, "+
		"or make a new folder from a backup with kagimori restore, or name another folder with --data", d.Path, filepath.Base(StoreFile(d.Path)))
}

// openRoot opens the root key, making it on the first start.
func (d *Dir) openRoot(ctx context.Context, opts *Options) error {
	root, err := ReadRoot(ctx, d.db)
	switch {
	case errors.Is(err, store.ErrNotFound):
		d.Created = true
		if err = d.checkUnused(); err == nil {
			root, err = d.createRoot(ctx, opts)
		}
	case err == nil:
		d.keys, err = root.Unlock(ctx, Providers(root, d.Path, opts.RootKeyFile, opts.Passphrase)...)
	}
	if err != nil {
		return err
	}
	slots := root.Slots()
	i := slices.IndexFunc(slots, func(s seal.SlotInfo) bool { return s.ID == d.keys.Slot() })
	d.Opened = slots[max(i, 0)].Secret // a root key just made is opened by the key file, the first slot
	return nil
}

// createRoot makes the root key with a key file and a recovery passphrase. The
// secrets are durable before the root key is, so none is ever missing.
func (d *Dir) createRoot(ctx context.Context, opts *Options) (*seal.Root, error) {
	keyFile := opts.RootKeyFile
	if keyFile == "" {
		keyFile = RootKeyFile(d.Path)
	}
	// One that an interrupted first start left is as good as a new one.
	if err := seal.NewKeyFile(keyFile); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	// A passphrase that it left opens nothing.
	if err := os.Remove(RecoveryFile(d.Path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	slots := []seal.NewSlot{{Label: "key file of the first start", Provider: seal.KeyFile(d.Path, keyFile)}}
	if !opts.NoRecovery {
		passphrase := seal.NewPassphrase()
		show := opts.ShowRecovery
		if show == nil {
			show = func(p string) error { return writeRecovery(d.Path, p) }
		}
		if err := show(passphrase); err != nil {
			return nil, err
		}
		slots = append(slots, seal.NewSlot{Label: "recovery passphrase of the first start", Provider: seal.Passphrase(passphrase)})
	}
	root, keys, err := seal.Create(ctx, d.clock.Now(), slots...)
	if err != nil {
		return nil, err
	}
	d.keys = keys
	return root, d.db.UpdateMeta(ctx, func(tx store.MetaTx) error { return tx.Put(rootMeta, root.Marshal()) })
}

func writeRecovery(dir, passphrase string) error {
	return durable.Replace(RecoveryFile(dir), []byte("# The recovery passphrase of the Kagimori data in this folder.\n"+
		"# It opens the root key when root.key is lost. MOVE THIS FILE TO A SAFE PLACE, away from\n"+
		"# this machine, for example on paper in a safe. Kagimori does not need it to run.\n"+passphrase+"\n"), 0o600)
}

// openAccount makes the first account, or checks that it is the one asked for.
func (d *Dir) openAccount(ctx context.Context, given iam.RootCredentials) error {
	account, err := iam.Account(ctx, d.Store)
	if err == nil {
		d.Account = account
		if err := iam.CheckRoot(ctx, d.Store, given); err != nil {
			return fmt.Errorf("the environment (KAGIMORI_ACCOUNT_ID, KAGIMORI_ROOT_ACCESS_KEY_ID, KAGIMORI_ROOT_SECRET_ACCESS_KEY) does not fit the data folder %s, where %w; "+
				"unset the variables, or give another folder with --data", d.Path, err)
		}
		return nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err := d.checkUnused(); err != nil {
		return err
	}
	if given.SecretKey != "" && strings.ContainsAny(given.SecretKey[:1], "#;\"'") {
		return errors.New("KAGIMORI_ROOT_SECRET_ACCESS_KEY must not begin with #, ; or a quote: it is written to the credentials file, where programs would take it for something else")
	}
	c := given.Complete()
	d.Account = c.Account
	// The file comes first: credentials that nobody can read would be of no use.
	if err := WriteCredentials(d.Path, c); err != nil {
		return err
	}
	return iam.CreateAccount(ctx, d.Store, c, d.clock.Now())
}

// WriteCredentials writes the credentials file of a data folder.
// https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
func WriteCredentials(dir string, c iam.RootCredentials) error {
	return durable.Replace(CredentialsFile(dir), fmt.Appendf(nil, "# Root of account %s.\n[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n",
		c.Account, c.AccessKeyID, c.SecretKey), 0o600)
}

// accessKeyLine is the line of the credentials file with the access key id.
var accessKeyLine = regexp.MustCompile(`(?m)^aws_access_key_id = (\S+)$`)

// CredentialsID is the access key id in the credentials file of a data folder, empty
// if there is none to be read.
func CredentialsID(dir string) string {
	text, err := os.ReadFile(CredentialsFile(dir))
	if err != nil {
		return ""
	}
	m := accessKeyLine.FindSubmatch(text)
	if m == nil {
		return ""
	}
	return string(m[1])
}

func (d *Dir) openJournal(ctx context.Context, opts *Options) (err error) {
	d.Journal, _, err = journal.Open(d.JournalDir(), journal.Options{SegmentSize: opts.JournalSegmentSize, Clock: opts.Clock, Log: opts.Log})
	if err != nil {
		return err
	}
	var late int
	d.Trail, late, err = audit.Open(ctx, d.Store, d.Journal, d.JournalDir())
	if err != nil {
		return err
	}
	if late > 0 {
		opts.Log.Warn("audit records of changes were written late, after an interruption", "records", late)
	}
	if err := d.Trail.Journal(ctx, d.event("StartServer", nil)); err != nil {
		opts.Log.Error("audit records cannot be written; calls will fail until they can", "error", err)
	}
	return nil
}

// signerPlace has the keys of the transparency log.
var signerPlace = store.Place{Kind: "transparency-keys", ID: "current"}

// startTransparency starts the transparency log, making its keys on the first start.
func (d *Dir) startTransparency(ctx context.Context, log *slog.Logger) error {
	var secret []byte
	err := d.Store.Update(ctx, func(tx store.Tx) error {
		rec, err := tx.Get(signerPlace)
		if err == nil {
			secret = rec.Value
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if secret, err = translog.NewSigner(); err == nil {
			_, err = tx.Put(signerPlace, secret, 0)
		}
		return err
	})
	if err != nil {
		return err
	}
	signer, err := translog.LoadSigner(secret)
	if err != nil {
		return err
	}
	secmem.Zero(secret)
	d.Transparency = translog.Start(translog.Config{Dir: TransparencyDir(d.Path), JournalDir: d.JournalDir(), LastSeq: d.Journal.LastSeq, Signer: signer, Log: log})
	return nil
}

// event is the record of something that the server itself did.
func (d *Dir) event(name string, details []api.Pair) []byte {
	return audit.AppendServiceEvent(nil, &audit.ServiceEvent{
		Source: "kagimori", Name: name, ID: uuid.NewString(), Time: d.clock.Now(), Account: d.Account, Region: api.GlobalRegion,
		Details: append(details, api.Pair{Name: "rootKeyFingerprint", Value: d.keys.Fingerprint()}),
	})
}

// Close records the stop with its reason and closes everything.
func (d *Dir) Close(reason string) error {
	_, err := d.Journal.AppendFinal(d.event("StopServer", []api.Pair{{Name: "reason", Value: reason}}))
	d.Index.Close()
	d.Transparency.Close()
	d.Trail.Empty(context.Background()) // what a full disk leaves in the outbox, the next start removes
	return errors.Join(err, d.release())
}

// release closes what is open, in the reverse order.
func (d *Dir) release() error {
	var errs []error
	if d.Journal != nil {
		errs = append(errs, d.Journal.Close())
	}
	if d.db != nil {
		errs = append(errs, d.db.Close())
	}
	if d.keys != nil {
		d.keys.Close()
	}
	return errors.Join(append(errs, d.lock.Unlock())...)
}
