package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kagimori/kagimori/internal/backup"
	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/durable"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/seal"
	"github.com/kagimori/kagimori/internal/store/sqlite"
)

func backupCommand() *cli.Command {
	var u unlockFlags
	return &cli.Command{
		Name: "backup", Args: "FILE", Summary: "Write an encrypted backup of a data folder; a server may be running",
		Doc: "The file opens with any slot of the root key: keep a recovery passphrase or a copy of root.key\n" +
			"in another place than the backup.",
		Flags: u.register,
		Run: u.unlocked(func(ctx context.Context, f *folder, keys *seal.Keys, args []string) error {
			return f.backup(ctx, keys, args[0])
		}),
		Commands: []*cli.Command{backupVerify()},
	}
}

func (f *folder) backup(ctx context.Context, keys *seal.Keys, path string) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is there already; choose another name", path)
	}
	out, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	progress := f.env.Progress("backup", cli.FormatBytes)
	buffered := bufio.NewWriterSize(out, 1<<20)
	err = backup.Write(ctx, buffered, f.path, filepath.Dir(path), f.db, f.root, keys, f.env.Clock.Now(), progress.Set)
	progress.Done()
	if err := errors.Join(err, buffered.Flush(), out.Sync(), out.Close()); err != nil {
		return err
	}
	if err := durable.Rename(out.Name(), path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f.env.Stdout, "%s: %s. Check it with: kagimori backup verify %s\n", path, cli.FormatBytes(info.Size()), quote(path))
	return err
}

func backupVerify() *cli.Command {
	var u unlockFlags
	return &cli.Command{
		Name: "verify", Args: "FILE", Summary: "Read a backup and open every record in it",
		Doc: "The root key is opened with --root-key-file or --passphrase-file, or else with the key file in the\n" +
			"data folder. The backup is unpacked into a temporary folder beside it, which is removed again.",
		Flags: u.register,
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			tmp, err := os.MkdirTemp(filepath.Dir(args[0]), ".kagimori-verify-*")
			if err != nil {
				return err
			}
			defer os.RemoveAll(tmp)
			sum, err := u.extract(ctx, env, args[0], tmp, nil)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "%s is whole.\n%s", args[0], describe(sum))
			return err
		},
	}
}

func describe(s *backup.Summary) string {
	return fmt.Sprintf("  made       %s\n  account    %s\n  records    %d, every one opened\n  audit      %d records, the newest is number %d\n  root key   %s\n",
		s.Created.Format("2006-01-02 15:04:05 MST"), s.Account, s.Records, s.Journal, s.LastSeq, s.RootFingerprint)
}

// extract unpacks a backup into the empty folder dir, and then calls finish if it
// is not nil.
func (u *unlockFlags) extract(ctx context.Context, env *cli.Env, file, dir string, finish func(*backup.Reader) error) (sum *backup.Summary, err error) {
	cfg, err := u.flags.Load(env.Getenv)
	if err != nil {
		return nil, err
	}
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s cannot be restored: %w", file, err)
		}
	}()
	progress := env.Progress("reading "+filepath.Base(file), cli.FormatBytes)
	defer progress.Done()
	src := &watched{bufio.NewReaderSize(in, 1<<20), 0, info.Size(), progress}
	r, err := backup.Open(src, func(root *seal.Root) (*seal.Keys, error) { return unlock(ctx, env, cfg, cfg.Data, root) })
	if err != nil {
		return nil, err
	}
	defer r.Keys.Close()
	if sum, err = r.Extract(ctx, dir); err != nil || finish == nil {
		return sum, err
	}
	return sum, finish(r)
}

// watched tells a Progress how much of a file was read.
type watched struct {
	*bufio.Reader
	done, total int64
	progress    *cli.Progress
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.done += int64(n)
	w.progress.Set(w.done, w.total)
	return n, err
}

// restoreSecrets gives an unpacked data folder a key file of its own and the
// credentials file.
func restoreSecrets(ctx context.Context, env *cli.Env, r *backup.Reader, dir string) error {
	db, err := sqlite.Open(datadir.StoreFile(dir))
	if err != nil {
		return err
	}
	defer db.Close()
	root, err := iam.Root(ctx, db.Store(r.Keys.StoreKey()), "")
	if err != nil {
		return err
	}
	if root.AccessKeyID != "" { // else the root's access keys were deleted
		if err := datadir.WriteCredentials(dir, root); err != nil {
			return err
		}
	}
	keyFile := datadir.RootKeyFile(dir)
	if err := seal.NewKeyFile(keyFile); err != nil {
		return err
	}
	slot := seal.NewSlot{Label: "key file made by restore", Provider: seal.KeyFile(dir, keyFile)}
	return datadir.ChangeRoot(ctx, db, func(doc *seal.Root) (*seal.Root, error) { return doc.AddSlot(ctx, env.Clock.Now(), r.Keys, slot) })
}

func restoreCommand() *cli.Command {
	var u unlockFlags
	return &cli.Command{
		Name: "restore", Args: "FILE", Summary: "Make a data folder from a backup",
		Doc: "The folder named with --data must not exist. The root key is opened with --root-key-file or\n" +
			"--passphrase-file, or the passphrase is asked for; the new folder gets a key file of its own.",
		Flags: u.register,
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			cfg, err := u.flags.Load(env.Getenv)
			if err != nil {
				return err
			}
			target, err := filepath.Abs(cfg.Data)
			if err != nil {
				return err
			}
			if _, err := os.Lstat(target); err == nil {
				return fmt.Errorf("%s is there already; name a new folder with --data, or move that one away", target)
			}
			if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
				return err
			}
			// The folder appears under its name when it is complete.
			tmp, err := os.MkdirTemp(filepath.Dir(target), filepath.Base(target)+".part-*") // mode 0700
			if err != nil {
				return err
			}
			defer os.RemoveAll(tmp)
			sum, err := u.extract(ctx, env, args[0], tmp, func(r *backup.Reader) error { return restoreSecrets(ctx, env, r, tmp) })
			if err != nil {
				return err
			}
			if err := durable.Rename(tmp, target); err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "Restored into %s\n%s\nStart it with: kagimori serve --data %s\n", target, describe(sum), quote(target))
			return err
		},
	}
}
