package datadir

import (
	"context"
	"fmt"

	"github.com/kagimori/kagimori/internal/seal"
	"github.com/kagimori/kagimori/internal/store"
)

// rootMeta is the name of the store's meta blob that holds the seal.Root.
const rootMeta = "root"

// ReadRoot reads the root document of a store, or store.ErrNotFound.
func ReadRoot(ctx context.Context, m store.Meta) (*seal.Root, error) {
	b, err := m.Meta(ctx, rootMeta)
	if err != nil {
		return nil, err
	}
	return seal.Parse(b)
}

// ChangeRoot replaces the root document in one transaction by what fn makes of
// it. It can be used while a server runs, which needs the document only at its
// start.
func ChangeRoot(ctx context.Context, m store.Meta, fn func(*seal.Root) (*seal.Root, error)) error {
	before, err := ReadRoot(ctx, m)
	if err != nil {
		return err
	}
	after, err := fn(before)
	if err != nil {
		return err
	}
	return m.UpdateMeta(ctx, func(tx store.MetaTx) error {
		now, err := tx.Get(rootMeta)
		if err != nil {
			return err
		}
		if string(now) != string(before.Marshal()) {
			return fmt.Errorf("the root key slots were changed by another process at the same time; run the command again")
		}
		return tx.Put(rootMeta, after.Marshal())
	})
}

// Providers are the secrets to try on the root key: the passphrase if there is
// one, the key file that was named, or else those that the slots name.
func Providers(root *seal.Root, dir, keyFile, passphrase string) []seal.Provider {
	var out []seal.Provider
	if keyFile != "" {
		out = append(out, seal.KeyFile(dir, keyFile))
	}
	if passphrase != "" {
		out = append(out, seal.Passphrase(passphrase))
	}
	if len(out) == 0 {
		out = root.KeyFiles(dir)
	}
	return out
}
