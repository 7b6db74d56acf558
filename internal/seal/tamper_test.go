package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/seal"
)

// edits are all documents that differ from v in one place: a value changed, a
// member or element removed, repeated, or two swapped. v is what encoding/json
// decodes to, and must not be changed.
func edits(path string, v any, yield func(name string, v any)) {
	replace := func(name string, v any) { yield(path+": "+name, v) }
	replace("null", nil)
	switch v := v.(type) {
	case string:
		replace("empty", "")
		for i := 0; i < len(v); i += 1 + len(v)/32 {
			b := []byte(v)
			b[i] ^= 1
			replace(fmt.Sprintf("character %d", i), string(b))
		}
		replace("longer", v+"0")
		if n, err := strconv.Atoi(v); err == nil {
			for _, other := range []int{n + 1, 0, -1, 1000, 1 << 40} {
				replace("number", strconv.Itoa(other))
			}
		}
		if b, err := base64.StdEncoding.DecodeString(v); err == nil && len(b) > 0 {
			for i := 0; i < len(b); i += 5 {
				b[i] ^= 1
				replace(fmt.Sprintf("byte %d", i), base64.StdEncoding.EncodeToString(b))
				b[i] ^= 1
			}
			replace("shorter", base64.StdEncoding.EncodeToString(b[1:]))
		}
		for other := range kindNames {
			replace("kind", other)
		}
	case float64:
		for _, other := range []float64{v + 1, v - 1, -v, 0, 1.5, 1e100} {
			replace("number", other)
		}
	case []any:
		replace("emptied", []any{})
		for i := range v {
			replace("removed", slices.Delete(slices.Clone(v), i, i+1))
			replace("repeated", slices.Insert(slices.Clone(v), i, v[i]))
			edits(fmt.Sprintf("%s[%d]", path, i), v[i], func(name string, e any) {
				c := slices.Clone(v)
				c[i] = e
				yield(name, c)
			})
		}
		c := slices.Clone(v)
		slices.Reverse(c)
		replace("reversed", c)
	case map[string]any:
		for k := range v {
			c := maps.Clone(v)
			delete(c, k)
			replace("without "+k, c)
			edits(path+"."+k, v[k], func(name string, e any) {
				c := maps.Clone(v)
				c[k] = e
				yield(name, c)
			})
		}
		c := maps.Clone(v)
		c["unknown"] = "x"
		replace("unknown member", c)
	}
}

var kindNames = map[string]bool{"file": true, "passphrase": true, "hsm": true}

// harmless edits leave a document that opens, with all its keys.
func harmless(name string) bool {
	for _, ok := range []string{".slots: removed", ".slots: reversed"} {
		if name == ok {
			return true
		}
	}
	return false
}

// TestTampering edits the document everywhere, as one who can write the database
// can. The slot that was edited does not open, nor does any if the edit concerns
// all; and what opens is the true root key with the true store keys.
func TestTampering(t *testing.T) {
	h := newHouse(t)
	root, keys, err := h.root.AddStoreKey(now, h.keys)
	must(t, err)
	var doc any
	must(t, json.Unmarshal(root.Marshal(), &doc))
	slots := map[string]seal.Provider{".slots[0]": h.file(), ".slots[1]": h.passphrase()}

	var count, parsed, opened int
	edits("", doc, func(name string, v any) {
		count++
		b, err := json.Marshal(v)
		must(t, err)
		if same, _ := json.Marshal(doc); bytes.Equal(b, same) {
			return
		}
		root, err := seal.Parse(b)
		if err != nil {
			if !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrNewer) {
				t.Errorf("%s: %v", name, err)
			}
			return
		}
		parsed++
		for slot, p := range slots {
			got, err := root.Unlock(ctx, p)
			if err != nil {
				continue
			}
			opened++
			if !harmless(name) && (strings.HasPrefix(name, slot) || !strings.HasPrefix(name, ".slots[")) {
				t.Errorf("%s: still opens with %v", name, p)
			}
			wantSame(t, got, keys)
			got.Close()
		}
	})
	t.Logf("%d edits, %d still a document, %d times a slot opened", count, parsed, opened)
	if parsed < 100 || opened < 100 {
		t.Error("the edits do not reach far")
	}
}

func TestParseErrors(t *testing.T) {
	good := string(newHouse(t).root.Marshal())
	for name, v := range map[string]struct {
		doc    string
		reason error
		word   string
	}{
		"nothing":          {"", seal.ErrDamaged, "restore the store from a backup"},
		"truncated":        {good[:len(good)-1], seal.ErrDamaged, ""},
		"trailing":         {good + "{}", seal.ErrDamaged, ""},
		"large":            {good[:len(good)-1] + strings.Repeat(" ", 64<<10) + "}", seal.ErrDamaged, "more than 65536"},
		"newer":            {`{"version":2,"anything":true}`, seal.ErrNewer, "version 2 and this program understands version 1: use a newer version of Kagimori"},
		"newer kind":       {strings.Replace(good, `"kind":"file"`, `"kind":"tpm"`, 1), seal.ErrNewer, `kind "tpm"`},
		"repeated member":  {strings.Replace(good, `"version":1`, `"version":1,"version":1`, 1), seal.ErrDamaged, "duplicate"},
		"other case":       {strings.Replace(good, `"fingerprint"`, `"Fingerprint"`, 1), seal.ErrDamaged, ""},
		"spins forever":    {strings.Replace(good, `"iterations":"1000"`, `"iterations":"2000000000"`, 1), seal.ErrDamaged, "iterations"},
		"too few rounds":   {strings.Replace(good, `"iterations":"1000"`, `"iterations":"999"`, 1), seal.ErrDamaged, "iterations"},
		"terminal control": {strings.Replace(good, `"path":"root.key"`, `"path":"\u001b[2Jroot.key"`, 1), seal.ErrDamaged, "printable"},
		"label control":    {strings.Replace(good, `"label":"first"`, `"label":"\u001b[2J"`, 1), seal.ErrDamaged, ""},
	} {
		if v.doc == good {
			t.Errorf("%s: nothing changed", name)
		}
		_, err := seal.Parse([]byte(v.doc))
		if !errors.Is(err, v.reason) || !strings.Contains(err.Error(), v.word) {
			t.Errorf("%s: got %v, want %v with %q", name, err, v.reason, v.word)
		}
	}
}

// The golden files are a store of version 1, which has to open forever. They were
// made by testdata/golden.py from what the comments of this package say.
func TestGolden(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		must(t, err)
		return b
	}
	// Version control does not keep the mode.
	path := filepath.Join(t.TempDir(), "root.key")
	must(t, os.WriteFile(path, read("golden.key"), 0o600))
	root, err := seal.Parse(read("golden.json"))
	must(t, err)
	if again := root.Marshal(); !bytes.Equal(again, bytes.TrimSpace(read("golden.json"))) {
		t.Errorf("got  %s\nwant %s", again, read("golden.json"))
	}
	var want struct{ Passphrase, Fingerprint, Derived, Sealed string }
	must(t, json.Unmarshal(read("golden.values.json"), &want))
	for _, p := range []seal.Provider{seal.KeyFile("", path), seal.Passphrase(want.Passphrase)} {
		keys, err := root.Unlock(ctx, p)
		must(t, err)
		if keys.Fingerprint() != want.Fingerprint || fmt.Sprintf("%x", keys.Derive("test")) != want.Derived {
			t.Errorf("got %s and %x", keys.Fingerprint(), keys.Derive("test"))
		}
		sealed, err := base64.StdEncoding.DecodeString(want.Sealed)
		must(t, err)
		if got, err := keys.StoreKey().Open(nil, sealed, []byte("place")); err != nil || string(got) != "record" {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	h := newHouse(f)
	good := h.root.Marshal()
	f.Add(good)
	var doc any
	must(f, json.Unmarshal(good, &doc))
	n := 0
	edits("", doc, func(_ string, v any) {
		if n++; n%97 == 0 {
			b, _ := json.Marshal(v)
			f.Add(b)
		}
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		root, err := seal.Parse(b)
		if err != nil {
			return
		}
		again, err := seal.Parse(root.Marshal())
		if err != nil || !bytes.Equal(again.Marshal(), root.Marshal()) {
			t.Fatalf("%s\nbecame another document: %v", root.Marshal(), err)
		}
		root.Slots()
		root.KeyFiles(h.dir)
		if keys, err := root.Unlock(ctx, h.file()); err == nil {
			wantSame(t, keys, h.keys)
		}
	})
}

func FuzzOpen(f *testing.F) {
	k := newHouse(f).keys.StoreKey()
	sealed := k.Seal(nil, []byte("record"), []byte("place"))
	f.Add(sealed, []byte("place"))
	f.Add(sealed[:44], []byte("place"))
	f.Add([]byte{1, 0, 0, 0, 2}, []byte{})
	f.Fuzz(func(t *testing.T, b, binding []byte) {
		got, err := k.Open(nil, b, binding)
		same := bytes.Equal(b, sealed) && string(binding) == "place"
		if (err == nil) != same || (same && string(got) != "record") || (!same && got != nil) {
			t.Fatalf("got %q, %v", got, err)
		}
		if got, err := k.Open(nil, k.Seal(nil, b, binding), binding); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("got %q, %v", got, err)
		}
	})
}

func FuzzKeyFile(f *testing.F) {
	h := newHouse(f)
	text, err := os.ReadFile(h.keyFile)
	must(f, err)
	f.Add(text)
	f.Add(text[:len(text)-10])
	f.Add([]byte("-----BEGIN KAGIMORI KEY FILE-----\n\n-----END KAGIMORI KEY FILE-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "root.key")
		must(t, os.WriteFile(path, b, 0o600))
		keys, err := h.root.Unlock(ctx, seal.KeyFile(h.dir, path))
		if err == nil {
			wantSame(t, keys, h.keys)
		}
		seal.ReadPassphraseFile(path)
	})
}

// FuzzPassphrase types anything where a recovery passphrase is asked for.
func FuzzPassphrase(f *testing.F) {
	h := newHouse(f)
	f.Add(h.recovery)
	f.Add(strings.ToLower(h.recovery))
	f.Add("ＡＢ－\u3000-\xff")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := h.root.Unlock(ctx, seal.FastPassphrase(text))
		switch {
		case err == nil:
			wantSame(t, keys, h.keys)
		case !errors.Is(err, seal.ErrTypo) && !errors.Is(err, seal.ErrWrongSecret):
			t.Fatal(err)
		}
	})
}

// BenchmarkCreate is what a first start does.
func BenchmarkCreate(b *testing.B) {
	dir := b.TempDir()
	for i := 0; b.Loop(); i++ {
		path := filepath.Join(dir, strconv.Itoa(i))
		must(b, seal.NewKeyFile(path))
		_, keys, err := seal.Create(ctx, now,
			seal.NewSlot{Provider: seal.KeyFile(dir, path)},
			seal.NewSlot{Provider: seal.Passphrase(seal.NewPassphrase())})
		must(b, err)
		keys.Close()
	}
}

// BenchmarkUnlockFile is what every other start does.
func BenchmarkUnlockFile(b *testing.B) {
	h := newHouse(b)
	for b.Loop() {
		keys, err := h.root.Unlock(ctx, h.root.KeyFiles(h.dir)...)
		must(b, err)
		keys.Close()
	}
}

func BenchmarkSeal(b *testing.B) {
	k := newHouse(b).keys.StoreKey()
	plaintext, binding, dst := make([]byte, 1024), make([]byte, 64), make([]byte, 0, 2048)
	b.SetBytes(int64(len(plaintext)))
	b.ReportAllocs()
	for b.Loop() {
		k.Seal(dst, plaintext, binding)
	}
}
