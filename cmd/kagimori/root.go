package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/internal/config"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/seal"
	"github.com/kagimori/kagimori/internal/store"
	"github.com/kagimori/kagimori/internal/store/sqlite"
)

// unlockFlags are the flags of the commands that open the root key.
type unlockFlags struct{ flags config.Flags }

func (u *unlockFlags) register(fs *flag.FlagSet) {
	u.flags.Register(fs, "data", "root-key-file", "passphrase-file")
}

// folder is a data folder whose store is open, perhaps beside a running server.
type folder struct {
	path string
	cfg  *config.Config
	env  *cli.Env
	db   *sqlite.DB
	root *seal.Root
}

func (u *unlockFlags) open(ctx context.Context, env *cli.Env) (*folder, error) {
	cfg, err := u.flags.Load(env.Getenv)
	if err != nil {
		return nil, err
	}
	path, err := filepath.Abs(cfg.Data)
	if err != nil {
		return nil, err
	}
	db, err := sqlite.Open(datadir.StoreFile(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no Kagimori data in %s; name the data folder with --data", path)
	}
	if err != nil {
		return nil, err
	}
	root, err := datadir.ReadRoot(ctx, db)
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("the first start in %s was not finished; finish it with kagimori serve", path)
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return &folder{path, cfg, env, db, root}, nil
}

func (f *folder) close() { f.db.Close() }

// opened is the Run of a command that works on the open data folder.
func (u *unlockFlags) opened(fn func(ctx context.Context, f *folder, args []string) error) func(context.Context, *cli.Env, []string) error {
	return func(ctx context.Context, env *cli.Env, args []string) error {
		f, err := u.open(ctx, env)
		if err != nil {
			return err
		}
		defer f.close()
		return fn(ctx, f, args)
	}
}

// unlocked is the Run of a command that needs the root key of the data folder.
func (u *unlockFlags) unlocked(fn func(ctx context.Context, f *folder, keys *seal.Keys, args []string) error) func(context.Context, *cli.Env, []string) error {
	return u.opened(func(ctx context.Context, f *folder, args []string) error {
		keys, err := f.unlock(ctx, f.root)
		if err != nil {
			return err
		}
		defer keys.Close()
		return fn(ctx, f, keys, args)
	})
}

// unlock opens the root key of root with what the flags say, and asks for a
// passphrase if no key file opens it.
func (f *folder) unlock(ctx context.Context, root *seal.Root) (*seal.Keys, error) {
	return unlock(ctx, f.env, f.cfg, f.path, root)
}

func unlock(ctx context.Context, env *cli.Env, cfg *config.Config, dir string, root *seal.Root) (*seal.Keys, error) {
	passphrase, err := passphraseOf(cfg)
	if err != nil {
		return nil, err
	}
	keys, err := root.Unlock(ctx, datadir.Providers(root, dir, cfg.RootKeyFile, passphrase)...)
	if err == nil || cfg.RootKeyFile != "" || passphrase != "" || !cli.Terminal(env.Stdin) {
		return keys, err
	}
	fmt.Fprintln(env.Stderr, err)
	text, err := env.Passphrase(ctx, "", "Passphrase", false)
	if err != nil {
		return nil, err
	}
	return root.Unlock(ctx, seal.Passphrase(string(text)))
}

func passphraseOf(cfg *config.Config) (string, error) {
	if cfg.PassphraseFile == "" {
		return "", nil
	}
	return seal.ReadPassphraseFile(cfg.PassphraseFile)
}

func rootCommand() *cli.Command {
	return &cli.Command{
		Name:    "root",
		Summary: "Manage the slots that open the root key",
		Doc: "The root key seals everything that is stored. Each slot opens it on its own: a key file or a\n" +
			"passphrase. The commands can be used while a server runs.",
		Commands: []*cli.Command{rootSlots(), rootAdd(), rootRemove(), rootRotate(), rootVerify()},
	}
}

func rootSlots() *cli.Command {
	var u unlockFlags
	return &cli.Command{
		Name: "slots", Summary: "List the slots",
		Flags: func(fs *flag.FlagSet) { u.flags.Register(fs, "data") },
		Run: u.opened(func(_ context.Context, f *folder, _ []string) error {
			fmt.Fprintf(f.env.Stdout, "root key %s, made %s\n\n", f.root.Fingerprint(), f.root.Created().Format("2006-01-02 15:04 MST"))
			w := tabwriter.NewWriter(f.env.Stdout, 0, 0, 3, ' ', 0)
			fmt.Fprintln(w, "SLOT\tKIND\tMADE\tLABEL\tOPENED BY")
			for _, s := range f.root.Slots() {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.ID, s.Kind, s.Created.Format("2006-01-02"), s.Label, s.Secret)
			}
			return w.Flush()
		}),
	}
}

func rootAdd() *cli.Command {
	var u unlockFlags
	var label, newPassphrase string
	add := u.unlocked(func(ctx context.Context, f *folder, keys *seal.Keys, args []string) error {
		spec := seal.NewSlot{Label: label}
		said := ""
		switch args[0] {
		case "file":
			if err := seal.NewKeyFile(args[1]); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			spec.Provider, said = seal.KeyFile(f.path, args[1]), "The key file "+args[1]+" opens the root key now.\n"
		case "passphrase":
			text, err := newSecret(ctx, f.env, newPassphrase)
			if err != nil {
				return err
			}
			spec.Provider, said = seal.Passphrase(text), "The passphrase opens the root key now.\n"
		case "recovery":
			text := seal.NewPassphrase()
			spec.Provider, said = seal.Passphrase(text), "The new recovery passphrase, shown this once. Write it down and keep it in a safe place:\n\n    "+text+"\n\n"
		}
		err := datadir.ChangeRoot(ctx, f.db, func(r *seal.Root) (*seal.Root, error) { return r.AddSlot(ctx, f.env.Clock.Now(), keys, spec) })
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(f.env.Stdout, said)
		return err
	})
	return &cli.Command{
		Name: "add", Args: "file|passphrase|recovery [FILE]", Summary: "Add a slot",
		Doc: "  root add file FILE     makes a new key file (or takes an existing one that opens no slot yet)\n" +
			"  root add passphrase    takes a passphrase of your own, at least 15 characters\n" +
			"  root add recovery      makes a recovery passphrase and prints it once",
		Flags: func(fs *flag.FlagSet) {
			u.register(fs)
			fs.StringVar(&label, "label", "", "what to call the slot in lists: `TEXT`")
			fs.StringVar(&newPassphrase, "new-passphrase-file", "", "`FILE` with the passphrase to add, instead of asking for it")
		},
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			switch kinds := []string{"file", "passphrase", "recovery"}; {
			case !slices.Contains(kinds, args[0]):
				return cli.Usagef("unknown kind of slot %q; did you mean %q?", args[0], cli.Closest(args[0], kinds))
			case args[0] == "file" && len(args) == 1:
				return cli.Usagef("root add file needs FILE: kagimori root add file FILE")
			case args[0] != "file" && len(args) == 2:
				return cli.Usagef("root add %s: unexpected argument %q", args[0], args[1])
			}
			return add(ctx, env, args)
		},
	}
}

// newSecret is a new passphrase of the operator's own.
func newSecret(ctx context.Context, env *cli.Env, file string) (string, error) {
	if file != "" {
		return seal.ReadPassphraseFile(file) // as it will be read to open the slot
	}
	if !cli.Terminal(env.Stdin) {
		return "", cli.Usagef("there is no terminal to ask for the new passphrase on; give --new-passphrase-file FILE")
	}
	text, err := env.Passphrase(ctx, "", "New passphrase", true)
	return string(text), err
}

func rootRemove() *cli.Command {
	var u unlockFlags
	return &cli.Command{
		Name: "remove", Args: "SLOT", Summary: "Remove a slot; the last one cannot be removed",
		Flags: u.register,
		Run: u.opened(func(ctx context.Context, f *folder, args []string) error {
			// What cannot be done in any case needs no secret.
			if _, err := f.root.RemoveSlot(args[0]); err != nil {
				return err
			}
			// Whoever cannot open the root key must not take away others' access,
			// and must not be left with slots that they cannot open.
			keys, err := f.unlock(ctx, f.root)
			if err != nil {
				return err
			}
			defer keys.Close()
			if keys.Slot() == args[0] {
				return fmt.Errorf("slot %s is the one that was opened just now; open another one with --root-key-file or --passphrase-file to prove that it works, then remove this", args[0])
			}
			if err := datadir.ChangeRoot(ctx, f.db, func(r *seal.Root) (*seal.Root, error) { return r.RemoveSlot(args[0]) }); err != nil {
				return err
			}
			_, err = fmt.Fprintf(f.env.Stdout, "Slot %s is gone. Backups made before still open with its secret.\n", args[0])
			return err
		}),
	}
}

func rootRotate() *cli.Command {
	var u unlockFlags
	return &cli.Command{
		Name: "rotate", Summary: "Replace the root key; every slot stays and is opened by the same secret",
		Doc: "Every passphrase is asked for, since each slot must wrap the new root key. Remove the slots whose\n" +
			"secrets are lost before. The store keys are wrapped anew; no record needs to be written again.",
		Flags: u.register,
		Run: u.unlocked(func(ctx context.Context, f *folder, keys *seal.Keys, _ []string) error {
			providers := f.root.KeyFiles(f.path)
			if f.cfg.RootKeyFile != "" {
				named, err := filepath.Abs(f.cfg.RootKeyFile)
				if err != nil {
					return err
				}
				if p := seal.KeyFile(f.path, named); !slices.Contains(providers, p) {
					providers = append(providers, p)
				}
			}
			given, err := passphraseOf(f.cfg)
			if err != nil {
				return err
			}
			if given != "" {
				providers = append(providers, seal.Passphrase(given))
			}
			for _, s := range f.root.Slots() {
				if s.Kind != "passphrase" || given != "" && f.opens(ctx, s, given) {
					continue
				}
				text, err := f.env.Passphrase(ctx, "", fmt.Sprintf("Passphrase of slot %s (%s)", s.ID, s.Label), false)
				if err != nil {
					return fmt.Errorf("the passphrase of slot %s is needed: %w", s.ID, err)
				}
				providers = append(providers, seal.Passphrase(string(text)))
			}
			var fresh *seal.Keys
			err = datadir.ChangeRoot(ctx, f.db, func(r *seal.Root) (_ *seal.Root, err error) {
				r, fresh, err = r.Rotate(ctx, f.env.Clock.Now(), keys, providers...)
				return r, err
			})
			if err != nil {
				return err
			}
			defer fresh.Close()
			_, err = fmt.Fprintf(f.env.Stdout, "The root key is %s now. Take a new backup: older ones are under the old root key.\n", fresh.Fingerprint())
			return err
		}),
	}
}

func rootVerify() *cli.Command {
	var u unlockFlags
	return &cli.Command{
		Name: "verify", Args: "[SLOT]", Summary: "Prove that a slot opens the store; all slots if none is named",
		Doc:   "Key files are taken from where their slots say, or from --root-key-file; passphrases are asked for.",
		Flags: u.register,
		Run: u.opened(func(ctx context.Context, f *folder, args []string) error {
			given, err := passphraseOf(f.cfg)
			if err != nil {
				return err
			}
			known, failed := false, 0
			for _, s := range f.root.Slots() {
				if len(args) == 1 && args[0] != s.ID {
					continue
				}
				known = true
				if err := f.verify(ctx, s, given); err != nil {
					failed++
					fmt.Fprintf(f.env.Stdout, "slot %s (%s, %s) FAILED: %v\n", s.ID, s.Kind, s.Label, err)
					continue
				}
				fmt.Fprintf(f.env.Stdout, "slot %s (%s, %s) opens the store\n", s.ID, s.Kind, s.Label)
			}
			switch {
			case !known:
				return fmt.Errorf("there is no slot %s; kagimori root slots lists them", strings.Join(args, " "))
			case failed > 0:
				return fmt.Errorf("slots that do not open the store: %d", failed)
			}
			return nil
		}),
	}
}

// verify opens the root key by one slot and with it a record of the store.
func (f *folder) verify(ctx context.Context, s seal.SlotInfo, given string) error {
	var providers []seal.Provider
	switch s.Kind {
	case "file":
		providers = f.root.KeyFiles(f.path)
		if f.cfg.RootKeyFile != "" {
			providers = []seal.Provider{seal.KeyFile(f.path, f.cfg.RootKeyFile)}
		}
	case "passphrase":
		if given == "" {
			text, err := f.env.Passphrase(ctx, "", fmt.Sprintf("Passphrase of slot %s (%s)", s.ID, s.Label), false)
			if err != nil {
				return err
			}
			given = string(text)
		}
		providers = []seal.Provider{seal.Passphrase(given)}
	}
	var why []string
	for _, p := range providers {
		keys, err := f.root.UnlockSlot(ctx, s.ID, p)
		if err != nil {
			why = append(why, err.Error())
			continue
		}
		defer keys.Close()
		_, err = iam.Account(ctx, f.db.Store(keys.StoreKey()))
		return err
	}
	return errors.New(strings.Join(why, "; "))
}

// opens tells whether a passphrase is that of a slot.
func (f *folder) opens(ctx context.Context, s seal.SlotInfo, passphrase string) bool {
	keys, err := f.root.UnlockSlot(ctx, s.ID, seal.Passphrase(passphrase))
	if err != nil {
		return false
	}
	keys.Close()
	return true
}
