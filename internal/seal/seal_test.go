package seal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/seal"
)

var (
	ctx = context.Background()
	now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// house is a data folder with a root key in two slots, as a first start makes it.
type house struct {
	dir, keyFile string
	recovery     string
	root         *seal.Root
	keys         *seal.Keys
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{dir: t.TempDir(), recovery: seal.NewPassphrase()}
	h.keyFile = filepath.Join(h.dir, "root.key")
	must(t, seal.NewKeyFile(h.keyFile))
	var err error
	h.root, h.keys, err = seal.Create(ctx, now,
		seal.NewSlot{Label: "first", Provider: seal.KeyFile(h.dir, h.keyFile)},
		seal.NewSlot{Label: "復旧", Provider: seal.FastPassphrase(h.recovery)})
	must(t, err)
	t.Cleanup(h.keys.Close)
	return h
}

// file and passphrase are the two secrets of the house.
func (h *house) file() seal.Provider       { return seal.KeyFile(h.dir, h.keyFile) }
func (h *house) passphrase() seal.Provider { return seal.FastPassphrase(h.recovery) }

// try is why p does not open the slot of that id.
func (h *house) try(id string, p seal.Provider) error {
	keys, err := h.root.UnlockSlot(ctx, id, p)
	if err == nil {
		defer keys.Close()
		if keys.Slot() != id || keys.Fingerprint() != h.root.Fingerprint() {
			err = fmt.Errorf("slot %s with root key %s was opened", keys.Slot(), keys.Fingerprint())
		}
	}
	return err
}

// slot is the id of the slot of a kind.
func (h *house) slot(kind string) string {
	for _, s := range h.root.Slots() {
		if s.Kind == kind {
			return s.ID
		}
	}
	return "none"
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError checks reason and wording of an error.
func wantError(t *testing.T, err, reason error, words ...string) {
	t.Helper()
	if !errors.Is(err, reason) {
		t.Errorf("got %v, want %v", err, reason)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in: %v", w, err)
		}
	}
}

// wantOpens checks that providers open a document, after a trip through the
// database, and that what they get is the same as keys.
func wantOpens(t *testing.T, root *seal.Root, keys *seal.Keys, providers ...seal.Provider) {
	t.Helper()
	stored, err := seal.Parse(root.Marshal())
	must(t, err)
	got, err := stored.Unlock(ctx, providers...)
	must(t, err)
	defer got.Close()
	wantSame(t, got, keys)
}

func wantSame(t *testing.T, got, want *seal.Keys) {
	t.Helper()
	if got.Fingerprint() != want.Fingerprint() || !bytes.Equal(got.Derive("x"), want.Derive("x")) {
		t.Error("got another root key")
	}
	wantSameStore(t, got, want)
}

// wantSameStore checks that each opens what the other one sealed.
func wantSameStore(t *testing.T, a, b *seal.Keys) {
	t.Helper()
	for _, k := range [][2]*seal.Keys{{a, b}, {b, a}} {
		sealed := k[0].StoreKey().Seal(nil, []byte("record"), []byte("place"))
		if got, err := k[1].StoreKey().Open(nil, sealed, []byte("place")); err != nil || string(got) != "record" {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestEachSlotOpensAlone(t *testing.T) {
	h := newHouse(t)
	wantOpens(t, h.root, h.keys, h.file())
	wantOpens(t, h.root, h.keys, h.passphrase())
	wantOpens(t, h.root, h.keys, h.root.KeyFiles(h.dir)...)

	got, err := h.root.Unlock(ctx, h.passphrase())
	must(t, err)
	if got.Slot() != h.slot("passphrase") {
		t.Errorf("slot %s opened, want %s", got.Slot(), h.slot("passphrase"))
	}
	if !reflect.DeepEqual(h.root.Slots()[1], seal.SlotInfo{ID: got.Slot(), Kind: "passphrase", Label: "復旧", Created: now, Secret: "the recovery passphrase"}) {
		t.Errorf("got %+v", h.root.Slots()[1])
	}

	// Losing one slot, or a wrong secret before the right one, loses nothing.
	must(t, os.Remove(h.keyFile))
	wantOpens(t, h.root, h.keys, h.file(), seal.FastPassphrase(seal.NewPassphrase()), h.passphrase())
}

func TestCreate(t *testing.T) {
	_, _, err := seal.Create(ctx, now)
	wantError(t, err, seal.ErrSlot, "at least one")
	a, b := newHouse(t), newHouse(t)
	if a.root.Fingerprint() == b.root.Fingerprint() || bytes.Equal(a.keys.Derive("x"), b.keys.Derive("x")) {
		t.Error("two root keys are the same")
	}
	if bytes.Equal(a.keys.Derive("x"), a.keys.Derive("y")) {
		t.Error("two purposes have the same key")
	}
	if n := len(a.keys.Derive("x")); n != 32 {
		t.Errorf("a derived key has %d bytes", n)
	}
	if !a.root.Created().Equal(now) {
		t.Errorf("created %v", a.root.Created())
	}
	for _, label := range []string{strings.Repeat("長", 65), "line\nbreak", "\x1b[2J", "\xff"} {
		_, _, err := seal.Create(ctx, now, seal.NewSlot{Label: label, Provider: a.file()})
		wantError(t, err, seal.ErrSlot, "label")
	}
}

// A data folder may be moved: its key file is found where the folder is now.
func TestMovedFolder(t *testing.T) {
	h := newHouse(t)
	moved := filepath.Join(t.TempDir(), "moved")
	must(t, os.Rename(h.dir, moved))
	wantOpens(t, h.root, h.keys, h.root.KeyFiles(moved)...)

	// One outside of it stays where it is.
	h = newHouse(t)
	outside := filepath.Join(t.TempDir(), "usb", "key")
	must(t, os.Mkdir(filepath.Dir(outside), 0o700))
	must(t, seal.NewKeyFile(outside))
	root, err := h.root.AddSlot(ctx, now, h.keys, seal.NewSlot{Provider: seal.KeyFile(h.dir, outside)})
	must(t, err)
	must(t, os.Remove(h.keyFile))
	wantOpens(t, root, h.keys, root.KeyFiles(t.TempDir())...)
}

func TestUnlockErrors(t *testing.T) {
	h, other := newHouse(t), newHouse(t)
	write := func(name, text string, mode fs.FileMode) string {
		path := filepath.Join(h.dir, name)
		must(t, os.WriteFile(path, []byte(text), mode))
		must(t, os.Chmod(path, mode))
		return path
	}
	b, err := os.ReadFile(h.keyFile)
	must(t, err)
	text := string(b)
	key := text[strings.Index(text, "\n\n")+2:]
	file := func(name, text string) seal.Provider { return seal.KeyFile(h.dir, write(name, text, 0o600)) }
	orRecovery := "or give the recovery passphrase with --passphrase-file FILE"

	for name, v := range map[string]struct {
		provider seal.Provider
		reason   error
		words    []string
	}{
		"missing file":     {seal.KeyFile(h.dir, filepath.Join(h.dir, "gone")), fs.ErrNotExist, []string{"gone does not exist: put it back", "--root-key-file FILE", orRecovery}},
		"other store":      {other.file(), seal.ErrWrongSecret, []string{other.keyFile + " (id ", "is not the one of this slot, which was made for the key file root.key (id ", orRecovery}},
		"group may read":   {seal.KeyFile(h.dir, write("it's open", text, 0o640)), seal.ErrPermissions, []string{"mode 0640", `run: chmod 600 '` + h.dir + `/it'\''s open'`, orRecovery}},
		"others may write": {seal.KeyFile(h.dir, write("open", text, 0o602)), seal.ErrPermissions, []string{"run: chmod 600 " + h.dir + "/open"}},
		"empty":            {file("empty", ""), seal.ErrDamaged, []string{"is empty"}},
		"truncated":        {file("cut", text[:len(text)-40]), seal.ErrDamaged, []string{"is truncated or damaged: put it back from your copy"}},
		"cut in the key":   {file("cut2", text[:len(text)-60]), seal.ErrDamaged, []string{"is truncated or damaged"}},
		"other file":       {file("pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), seal.ErrDamaged, []string{"is not a Kagimori key file"}},
		"no such file":     {file("junk", "hello"), seal.ErrDamaged, []string{"is not a Kagimori key file"}},
		"two keys":         {file("two", text+text), seal.ErrDamaged, []string{"something behind the key"}},
		"long":             {file("long", strings.Repeat("long ", 10_000)), nil, []string{"is longer than"}},
		"directory":        {seal.KeyFile(h.dir, h.dir), nil, []string{"is not a file"}},
		"device":           {seal.KeyFile(h.dir, "/dev/zero"), nil, []string{"is not a file"}},
		"bit flipped":      {file("flip", text[:len(text)-45]+string(text[len(text)-45]^1)+text[len(text)-44:]), seal.ErrDamaged, []string{"damaged"}},
		"no id":            {file("noid", text[:strings.Index(text, "Id: ")]+text[strings.Index(text, "Id: ")+21:]), seal.ErrDamaged, []string{"not the one that its id names"}},
		"wrong passphrase": {seal.FastPassphrase(other.recovery), seal.ErrWrongSecret, []string{"typed without a mistake, but it is of another store", "or give the key file root.key (id ", "with --root-key-file FILE"}},
		"typo":             {seal.FastPassphrase(swap(h.recovery)), seal.ErrTypo, []string{"mistyped", "two are swapped"}},
		"too short":        {seal.FastPassphrase(h.recovery[:38]), seal.ErrTypo, []string{"it has 31 characters instead of 32"}},
		"no such letter":   {seal.FastPassphrase(h.recovery[:11] + "u" + h.recovery[12:]), seal.ErrTypo, []string{"the character in place 2 of group 3"}},
		"own passphrase":   {seal.FastPassphrase("correct horse battery"), seal.ErrTypo, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.root.Unlock(ctx, v.provider)
			if err == nil || (v.reason != nil && !errors.Is(err, v.reason)) {
				t.Fatalf("got %v, want %v", err, v.reason)
			}
			wantError(t, err, err, append(v.words, "the root key cannot be unlocked: ")...)
			for _, secret := range append(strings.Split(key, "\n")[:4], h.recovery, swap(h.recovery), other.recovery, "horse") {
				if len(secret) > 4 && !strings.HasPrefix(secret, "--") && !strings.HasPrefix(secret, "Id") && strings.Contains(err.Error(), secret) {
					t.Errorf("a secret is in: %v", err)
				}
			}
		})
	}

	_, err = h.root.Unlock(ctx)
	wantError(t, err, err, "no secret was given", "or give the key file root.key", orRecovery)

	// Each reason once, and no advice to give what was given.
	_, err = h.root.Unlock(ctx, other.file(), other.file(), seal.FastPassphrase(swap(h.recovery)))
	wantError(t, err, seal.ErrWrongSecret)
	wantError(t, err, seal.ErrTypo)
	if strings.Count(err.Error(), other.keyFile) != 1 || strings.Contains(err.Error(), "or give") {
		t.Error(err)
	}

	root, err := h.root.RemoveSlot(h.slot("passphrase"))
	must(t, err)
	_, err = root.Unlock(ctx, h.passphrase())
	wantError(t, err, seal.ErrWrongSecret, "this store has no passphrase slot")

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = h.root.Unlock(cancelled, h.passphrase())
	wantError(t, err, context.Canceled)
}

// swap exchanges two neighbours that differ.
func swap(recovery string) string {
	b := []byte(recovery)
	for i := range b[1:] {
		if b[i] != b[i+1] && b[i] != '-' && b[i+1] != '-' {
			b[i], b[i+1] = b[i+1], b[i]
			return string(b)
		}
	}
	panic("all the same")
}

func TestSlots(t *testing.T) {
	h := newHouse(t)
	own := "my own long passphrase"
	root, err := h.root.AddSlot(ctx, now.Add(time.Hour), h.keys, seal.NewSlot{Label: "own", Provider: seal.FastPassphrase(own)})
	must(t, err)
	if len(root.Slots()) != 3 || len(h.root.Slots()) != 2 {
		t.Errorf("%d and %d slots", len(root.Slots()), len(h.root.Slots()))
	}
	for _, p := range []seal.Provider{h.file(), h.passphrase(), seal.FastPassphrase(own), seal.Passphrase(" " + own + "\n")} {
		wantOpens(t, root, h.keys, p)
	}
	if got := root.Slots()[2]; got.Secret != "the passphrase" || !got.Created.Equal(now.Add(time.Hour)) {
		t.Errorf("got %+v", got)
	}
	_, err = root.Unlock(ctx, seal.FastPassphrase("not my long passphrase"))
	wantError(t, err, seal.ErrWrongSecret, "this passphrase is wrong", "the recovery passphrase is mistyped")

	// Refused: the same key file again, keys of another root, too many, weak ones.
	_, err = root.AddSlot(ctx, now, h.keys, seal.NewSlot{Provider: h.file()})
	wantError(t, err, seal.ErrSlot, "opens slot "+h.slot("file")+" already")
	other := newHouse(t)
	_, err = root.AddSlot(ctx, now, other.keys, seal.NewSlot{Provider: other.file()})
	wantError(t, err, seal.ErrOtherRoot, root.Fingerprint(), other.root.Fingerprint())
	for text, reason := range map[string]error{
		"fourteen chars":              seal.ErrWeak,
		"":                            seal.ErrWeak,
		strings.Repeat("long ", 300):  seal.ErrWeak,
		"a passphrase\nin two lines":  seal.ErrWeak,
		"not in UTF-8, but long \xff": seal.ErrWeak,
		swap(h.recovery):              seal.ErrTypo,
		strings.ToLower(swap(seal.NewPassphrase())): seal.ErrTypo,
	} {
		_, err = root.AddSlot(ctx, now, h.keys, seal.NewSlot{Provider: seal.FastPassphrase(text)})
		wantError(t, err, reason)
	}
	full := root
	for len(full.Slots()) < 16 {
		full, err = full.AddSlot(ctx, now, h.keys, seal.NewSlot{Provider: seal.FastPassphrase(seal.NewPassphrase())})
		must(t, err)
	}
	wantOpens(t, full, h.keys, h.passphrase())
	_, err = full.AddSlot(ctx, now, h.keys, seal.NewSlot{Provider: seal.FastPassphrase(seal.NewPassphrase())})
	wantError(t, err, seal.ErrSlot, "16 slots")

	// Removed is removed, and the last one stays.
	_, err = root.RemoveSlot("01234567")
	wantError(t, err, seal.ErrSlot, `no slot "01234567"`, h.slot("file"))
	root, err = root.RemoveSlot(h.slot("file"))
	must(t, err)
	_, err = root.Unlock(ctx, h.file())
	wantError(t, err, seal.ErrWrongSecret, "no file slot")
	wantOpens(t, root, h.keys, seal.FastPassphrase(own))
	root, err = root.RemoveSlot(h.slot("passphrase"))
	must(t, err)
	_, err = root.RemoveSlot(root.Slots()[0].ID)
	wantError(t, err, seal.ErrSlot, "is the last one", "add another slot first")
	wantOpens(t, root, h.keys, seal.FastPassphrase(own))
}

func TestUnlockSlot(t *testing.T) {
	h, other := newHouse(t), newHouse(t)
	must(t, h.try(h.slot("file"), h.file()))
	must(t, h.try(h.slot("passphrase"), h.passphrase()))
	wantError(t, h.try(h.slot("file"), h.passphrase()), seal.ErrWrongSecret, "opens with the key file root.key", "--root-key-file")
	wantError(t, h.try(h.slot("file"), other.file()), seal.ErrWrongSecret, "slot "+h.slot("file")+" does not open")
	wantError(t, h.try(h.slot("passphrase"), other.passphrase()), seal.ErrWrongSecret)
	wantError(t, h.try("nope", h.file()), seal.ErrSlot)
}

// After a restore two slots can be of key files at the same place, of which only
// one is there: it is tried, and complained of, once.
func TestKeyFilesAtTheSamePlace(t *testing.T) {
	h := newHouse(t)
	must(t, os.Remove(h.keyFile))
	must(t, seal.NewKeyFile(h.keyFile))
	root, err := h.root.AddSlot(ctx, now, h.keys, seal.NewSlot{Provider: h.file()})
	must(t, err)
	if files := root.KeyFiles(h.dir); len(files) != 1 {
		t.Errorf("%d key files, want 1", len(files))
	}
	wantOpens(t, root, h.keys, root.KeyFiles(h.dir)...)
}

func TestRotate(t *testing.T) {
	h, other := newHouse(t), newHouse(t)
	later := now.Add(24 * time.Hour)

	// Nothing is rotated that would lose a slot.
	_, _, err := h.root.Rotate(ctx, later, h.keys, h.file())
	wantError(t, err, seal.ErrWrongSecret, "slot "+h.slot("passphrase")+" would be lost", "not given", "--passphrase-file", "or remove the slot")
	_, _, err = h.root.Rotate(ctx, later, h.keys, h.file(), seal.FastPassphrase(swap(h.recovery)))
	wantError(t, err, seal.ErrWrongSecret, "mistyped")
	_, _, err = h.root.Rotate(ctx, later, h.keys, h.passphrase(), other.file())
	wantError(t, err, seal.ErrWrongSecret, "slot "+h.slot("file"))
	_, _, err = h.root.Rotate(ctx, later, other.keys, h.file(), h.passphrase())
	wantError(t, err, seal.ErrOtherRoot)

	root, keys, err := h.root.Rotate(ctx, later, h.keys, other.file(), h.passphrase(), h.file())
	must(t, err)
	if root.Fingerprint() == h.root.Fingerprint() || bytes.Equal(keys.Derive("x"), h.keys.Derive("x")) {
		t.Error("the root key is the same")
	}
	if !root.Created().Equal(later) || !reflect.DeepEqual(root.Slots(), h.root.Slots()) {
		t.Errorf("got %v %+v, want %+v", root.Created(), root.Slots(), h.root.Slots())
	}
	// Records need not be sealed anew.
	wantSameStore(t, keys, h.keys)

	// Whichever document a crash leaves in the store, each secret opens it.
	for _, p := range []seal.Provider{h.file(), h.passphrase()} {
		wantOpens(t, root, keys, p)
		wantOpens(t, h.root, h.keys, p)
	}

	// The old keys are of no use for the new document, the new ones are.
	_, err = root.AddSlot(ctx, later, h.keys, seal.NewSlot{Provider: other.file()})
	wantError(t, err, seal.ErrOtherRoot)
	h.keys.Close()
	root, keys, err = root.Rotate(ctx, later, keys, h.file(), h.passphrase())
	must(t, err)
	wantOpens(t, root, keys, h.file())
}

// liar is a device that hands out another key than it was given.
type liar struct {
	seal.Provider
	key []byte
}

func (l liar) Unwrap(context.Context, map[string]string, []byte, []byte) ([]byte, error) {
	return bytes.Clone(l.key), nil
}

// Whatever comes out of a slot, it is not used before it was found to be the root
// key of this store.
func TestOtherRoot(t *testing.T) {
	h := newHouse(t)
	_, err := h.root.Unlock(ctx, liar{h.file(), make([]byte, 32)})
	wantError(t, err, seal.ErrOtherRoot, "slot "+h.slot("file"), "the store belongs to the one with "+h.root.Fingerprint())
	wantError(t, h.try(h.slot("file"), liar{h.file(), make([]byte, 32)}), seal.ErrOtherRoot)
	_, err = h.root.Unlock(ctx, liar{h.file(), nil})
	wantError(t, err, seal.ErrDamaged, "0 bytes")
}

// A slot of one document is worth nothing in another one.
func TestTransplantedSlot(t *testing.T) {
	h := newHouse(t)
	rotated, keys, err := h.root.Rotate(ctx, now, h.keys, h.file(), h.passphrase())
	must(t, err)
	defer keys.Close()
	var old, new map[string]any
	must(t, json.Unmarshal(h.root.Marshal(), &old))
	must(t, json.Unmarshal(rotated.Marshal(), &new))
	for _, member := range []string{"slots", "wrapped", "fingerprint"} {
		mixed := make(map[string]any)
		for k, v := range new {
			mixed[k] = v
		}
		mixed[member] = old[member]
		b, _ := json.Marshal(mixed)
		root, err := seal.Parse(b)
		must(t, err)
		_, err = root.Unlock(ctx, h.file(), h.passphrase())
		wantError(t, err, seal.ErrDamaged)
	}
}

func TestStoreKeys(t *testing.T) {
	h := newHouse(t)
	old := h.keys.StoreKey().Seal(nil, []byte("old"), nil)
	root, keys, err := h.root.AddStoreKey(now, h.keys)
	must(t, err)
	wantOpens(t, root, keys, h.file())
	newer := keys.StoreKey().Seal(nil, []byte("new"), nil)
	if bytes.Equal(old[:5], newer[:5]) {
		t.Error("the new store key is not in use")
	}
	for _, sealed := range [][]byte{old, newer} {
		if _, err := keys.StoreKey().Open(nil, sealed, nil); err != nil {
			t.Error(err)
		}
	}
	_, err = h.keys.StoreKey().Open(nil, newer, nil)
	wantError(t, err, seal.ErrDamaged, "store key 2")

	// Both survive a rotation.
	root, keys, err = root.Rotate(ctx, now, keys, h.file(), h.passphrase())
	must(t, err)
	for _, sealed := range [][]byte{old, newer} {
		if _, err := keys.StoreKey().Open(nil, sealed, nil); err != nil {
			t.Error(err)
		}
	}
	for range 62 {
		root, keys, err = root.AddStoreKey(now, keys)
		must(t, err)
	}
	if _, _, err := root.AddStoreKey(now, keys); err == nil {
		t.Error("a 65th store key was made")
	}
	wantOpens(t, root, keys, h.file())
}

func TestSealOpen(t *testing.T) {
	k := newHouse(t).keys.StoreKey()
	plaintext, place := []byte("record"), []byte("place")
	sealed := k.Seal([]byte("> "), plaintext, place)
	if !bytes.HasPrefix(sealed, []byte("> ")) || len(sealed) != 2+len(plaintext)+seal.SealedOverhead {
		t.Errorf("%d bytes", len(sealed))
	}
	sealed = sealed[2:]
	if got, err := k.Open([]byte("< "), sealed, place); err != nil || string(got) != "< record" {
		t.Errorf("got %q, %v", got, err)
	}
	if bytes.Contains(sealed, plaintext) || bytes.Equal(sealed, k.Seal(nil, plaintext, place)) {
		t.Error("not encrypted, or not with a new nonce")
	}
	if got, err := k.Open(nil, k.Seal(nil, nil, nil), nil); err != nil || len(got) != 0 {
		t.Errorf("empty: %q, %v", got, err)
	}
	_, err := k.Open(nil, sealed, []byte("Place"))
	wantError(t, err, seal.ErrDamaged, "moved from another place")
	_, err = newHouse(t).keys.StoreKey().Open(nil, sealed, place)
	wantError(t, err, seal.ErrDamaged, "or store")
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 0x80
		if _, err := k.Open(nil, changed, place); err == nil {
			t.Errorf("byte %d changed: no error", i)
		}
		if _, err := k.Open(nil, sealed[:i], place); err == nil {
			t.Errorf("cut at %d: no error", i)
		}
	}
	sealed[0] = 2
	_, err = k.Open(nil, sealed, place)
	wantError(t, err, seal.ErrNewer, "format 2")
}

func TestClose(t *testing.T) {
	h := newHouse(t)
	k := h.keys.StoreKey()
	sealed := k.Seal(nil, nil, nil)
	h.keys.Close()
	h.keys.Close()
	for name, use := range map[string]func(){
		"Derive":  func() { h.keys.Derive("x") },
		"Seal":    func() { k.Seal(nil, nil, nil) },
		"AddSlot": func() { h.root.AddSlot(ctx, now, h.keys, seal.NewSlot{Provider: h.file()}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s after Close does not panic", name)
				}
			}()
			use()
		}()
	}
	if _, err := k.Open(nil, sealed, nil); err == nil {
		t.Error("Open after Close: no error")
	}
}

// Nothing that holds a secret prints it, however it is printed and wherever it
// hides.
func TestNothingLeaks(t *testing.T) {
	h := newHouse(t)
	b, err := os.ReadFile(h.keyFile)
	must(t, err)
	type hidden struct {
		keys  *seal.Keys
		value seal.Keys
		store *seal.StoreKey
		p     seal.Provider
		spec  seal.NewSlot
	}
	things := []any{
		h.keys, *h.keys, h.keys.StoreKey(), *h.keys.StoreKey(), h.passphrase(), h.file(), h.root, *h.root, h.root.Slots(),
		seal.NewSlot{Provider: h.passphrase()}, []seal.Provider{h.passphrase()},
		hidden{h.keys, *h.keys, h.keys.StoreKey(), h.passphrase(), seal.NewSlot{Provider: h.passphrase()}},
		struct{ Keys seal.Keys }{*h.keys},
		map[string]any{"keys": h.keys, "p": h.passphrase()},
	}
	pem := strings.Split(string(b), "\n")
	secrets := []string{h.recovery, strings.ReplaceAll(h.recovery, "-", ""), pem[len(pem)-3]}
	rootKey := seal.RootKey(h.keys)
	secrets = append(secrets, fmt.Sprintf("%d", rootKey)[1:20], fmt.Sprintf("%x", rootKey), fmt.Sprintf("%#v", rootKey)[20:40])
	if len(pem[len(pem)-3]) != 44 {
		t.Fatalf("%q is not the key", pem[len(pem)-3])
	}
	for _, thing := range things {
		var out []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			out = append(out, fmt.Sprintf(verb, thing))
		}
		text, _ := json.Marshal(thing)
		for _, o := range append(out, string(text)) {
			for _, s := range secrets {
				if strings.Contains(o, s) {
					t.Errorf("%T prints %q", thing, o)
				}
			}
		}
	}
	if got := fmt.Sprintf("%+v %#v %v", h.keys, *h.keys, h.passphrase()); got != fmt.Sprintf("seal.Keys(%s) seal.Keys(%[1]s) seal.Passphrase(redacted)", h.keys.Fingerprint()) {
		t.Error(got)
	}
}

func TestRecoveryPassphrase(t *testing.T) {
	h := newHouse(t)
	p := h.recovery
	if len(p) != 39 || strings.Count(p, "-") != 7 || strings.ContainsAny(p, "ILOU") || p == seal.NewPassphrase() {
		t.Errorf("got %s", p)
	}
	wide := strings.Map(func(r rune) rune { return r - '!' + '！' }, p)
	for _, typed := range []string{
		strings.ToLower(p),
		strings.ReplaceAll(p, "-", ""),
		strings.ReplaceAll(p, "-", " "),
		"  " + strings.ReplaceAll(p, "-", " – ") + "\n",
		strings.NewReplacer("0", "o", "1", "l").Replace(p),
		strings.NewReplacer("0", "O", "1", "I").Replace(p),
		wide,
		strings.ReplaceAll(p, "-", "\u3000"),
	} {
		wantOpens(t, h.root, h.keys, seal.FastPassphrase(typed))
	}
	// Every mistake of one character is found.
	for i := range p {
		if p[i] == '-' {
			continue
		}
		wrong := "0"
		if p[i] == '0' {
			wrong = "Z"
		}
		for _, typed := range []string{p[:i] + wrong + p[i+1:], p[:i] + p[i+1:], p[:i] + wrong + p[i:]} {
			_, err := h.root.Unlock(ctx, seal.FastPassphrase(typed))
			wantError(t, err, seal.ErrTypo)
		}
	}
}

func TestReadPassphraseFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recovery.txt")
	write := func(text string) {
		t.Helper()
		must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	for _, text := range []string{"correct horse", "correct horse\n", "# Move this elsewhere.\r\n\r\n  correct horse \r\n"} {
		write(text)
		if got, err := seal.ReadPassphraseFile(path); err != nil || got != "correct horse" {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "# only\n", "correct\nhorse\n"} {
		write(text)
		_, err := seal.ReadPassphraseFile(path)
		wantError(t, err, err, "must have one line")
	}
	must(t, os.Chmod(path, 0o644))
	_, err := seal.ReadPassphraseFile(path)
	wantError(t, err, seal.ErrPermissions, "chmod 600 "+path)
	_, err = seal.ReadPassphraseFile(path + "x")
	wantError(t, err, fs.ErrNotExist, "passphrase file "+path+"x")

	// A shell's <(command).
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	fmt.Fprintln(w, "from a pipe")
	w.Close()
	if got, err := seal.ReadPassphraseFile(fmt.Sprintf("/dev/fd/%d", r.Fd())); err != nil || got != "from a pipe" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestNewKeyFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "root.key")
	must(t, seal.NewKeyFile(path))
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	before, _ := os.ReadFile(path)
	if !bytes.HasPrefix(before, []byte("This is a Kagimori key file.")) {
		t.Errorf("nobody will recognise %q", before)
	}
	wantError(t, seal.NewKeyFile(path), fs.ErrExist, path+" exists already")
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the key file was replaced")
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
	wantError(t, seal.NewKeyFile(filepath.Join(dir, "no", "root.key")), fs.ErrNotExist, "cannot be made")
	a, b := newHouse(t), newHouse(t)
	one, _ := os.ReadFile(a.keyFile)
	two, _ := os.ReadFile(b.keyFile)
	if bytes.Equal(one, two) {
		t.Error("two key files are the same")
	}
}
