package iam_test

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/seal"
	"github.com/kagimori/kagimori/internal/sigv4"
	"github.com/kagimori/kagimori/internal/store"
	"github.com/kagimori/kagimori/internal/store/sqlite"
)

var (
	ctx   = context.Background()
	now   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	owner = iam.RootCredentials{Account: "111122223333", AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
)

// newStore is a real store without an account.
func newStore(t *testing.T) store.Store {
	t.Helper()
	dir := t.TempDir()
	keyFile, file := filepath.Join(dir, "root.key"), filepath.Join(dir, "kagimori.db")
	must(t, seal.NewKeyFile(keyFile))
	_, keys, err := seal.Create(ctx, now, seal.NewSlot{Provider: seal.KeyFile(dir, keyFile)})
	must(t, err)
	t.Cleanup(keys.Close)
	must(t, sqlite.Create(file))
	db, err := sqlite.Open(file)
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return db.Store(keys.StoreKey())
}

// newAccount is a store with the account of owner.
func newAccount(t *testing.T) store.Store {
	t.Helper()
	st := newStore(t)
	must(t, iam.CreateAccount(ctx, st, owner, now))
	return st
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNoAccountYet(t *testing.T) {
	st := newStore(t)
	_, errAccount := iam.Account(ctx, st)
	_, errRoot := iam.Root(ctx, st, "")
	for name, err := range map[string]error{"Account": errAccount, "Root": errRoot, "CheckRoot": iam.CheckRoot(ctx, st, owner)} {
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
	}
}

func TestAccount(t *testing.T) {
	st := newAccount(t)
	if id, err := iam.Account(ctx, st); id != owner.Account || err != nil {
		t.Errorf("the account is %q, %v", id, err)
	}
	if got, err := iam.Root(ctx, st, ""); got != owner || err != nil {
		t.Errorf("the root is %+v, %v", got, err)
	}
	if err := iam.CreateAccount(ctx, st, owner, now); !errors.Is(err, store.ErrConflict) {
		t.Errorf("made a second time: %v, want ErrConflict", err)
	}
}

func TestLookup(t *testing.T) {
	s := iam.NewDirectory(newAccount(t))
	want := sigv4.Credential{SecretKey: owner.SecretKey, Principal: api.Principal{
		Type: api.Root, ID: owner.Account, Account: owner.Account, AccessKeyID: owner.AccessKeyID,
		ARN: "arn:aws:iam::111122223333:root",
	}}
	for range 2 { // from the store, from memory
		if got, err := s.Lookup(owner.AccessKeyID); got != want || err != nil {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	for name, id := range map[string]string{
		"unknown":    "AKIAIOSFODNN7UNKNOWN",
		"other case": strings.ToLower(owner.AccessKeyID),
		"cut short":  owner.AccessKeyID[:19],
		"empty":      "",
		"long":       strings.Repeat("A", 1<<20),
		"not UTF-8":  "AKIA\xff\xfe0123456789",
		"NUL":        owner.AccessKeyID + "\x00",
	} {
		if got, err := s.Lookup(id); !errors.Is(err, sigv4.ErrUnknownKey) || got != (sigv4.Credential{}) {
			t.Errorf("%s: got %+v, %v; want ErrUnknownKey", name, got, err)
		}
	}
}

// accessKey is the place of the owner's access key.
var accessKey = store.Place{Kind: "access-key", ID: owner.AccessKeyID}

// What is deleted in the store is unknown at once, also while others ask for it,
// and what is made is known at once.
func TestLookupFollowsTheStore(t *testing.T) {
	st := newAccount(t)
	s := iam.NewDirectory(st)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := s.Lookup(owner.AccessKeyID); err != nil && !errors.Is(err, sigv4.ErrUnknownKey) {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 20 {
		if _, err := s.Lookup(owner.AccessKeyID); err != nil {
			t.Fatalf("round %d: the key is there, but: %v", i, err)
		}
		var rec store.Record
		must(t, st.Update(ctx, func(tx store.Tx) (err error) {
			if rec, err = tx.Get(accessKey); err != nil {
				return err
			}
			return tx.Delete(accessKey, rec.Revision)
		}))
		if _, err := s.Lookup(owner.AccessKeyID); !errors.Is(err, sigv4.ErrUnknownKey) {
			t.Fatalf("round %d: the key is deleted, but: %v", i, err)
		}
		must(t, st.Update(ctx, func(tx store.Tx) error {
			_, err := tx.Put(accessKey, rec.Value, 0)
			return err
		}))
	}
}

func TestCheckRoot(t *testing.T) {
	st := newAccount(t)
	type given = iam.RootCredentials
	const otherSecret = "OtherSecretOtherSecretOtherSecretOther12"
	for name, c := range map[string]struct {
		given given
		want  string // of the error; none if empty
	}{
		"nothing":                   {given{}, ""},
		"all":                       {owner, ""},
		"account":                   {given{Account: owner.Account}, ""},
		"key id":                    {given{AccessKeyID: owner.AccessKeyID}, ""},
		"secret":                    {given{SecretKey: owner.SecretKey}, ""},
		"key":                       {given{"", owner.AccessKeyID, owner.SecretKey}, ""},
		"other account":             {given{Account: "999988887777"}, "the account is 111122223333, not 999988887777"},
		"other account, right key":  {given{"999988887777", owner.AccessKeyID, owner.SecretKey}, "the account is 111122223333, not 999988887777"},
		"other key id":              {given{AccessKeyID: "AKIAOTHER"}, "there is no access key AKIAOTHER"},
		"other secret":              {given{SecretKey: otherSecret}, "no access key has that secret access key"},
		"other secret for key id":   {given{"", owner.AccessKeyID, otherSecret}, "there is no access key AKIAIOSFODNN7EXAMPLE with that secret access key"},
		"other key id, same secret": {given{"", "AKIAOTHER", owner.SecretKey}, "there is no access key AKIAOTHER with that secret access key"},
	} {
		err := iam.CheckRoot(ctx, st, c.given)
		if c.want == "" && err == nil {
			continue
		}
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
			continue
		}
		for _, secret := range []string{owner.SecretKey, otherSecret} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error shows a secret: %v", name, err)
			}
		}
	}
}

// A record that is not as it was written gives an error without what is in it.
func TestDamagedRecord(t *testing.T) {
	st := newAccount(t)
	must(t, st.Update(ctx, func(tx store.Tx) error {
		rec, err := tx.Get(accessKey)
		if err != nil {
			return err
		}
		_, err = tx.Put(accessKey, []byte(strings.Replace(string(rec.Value), `"created":"`, `"created":"`+owner.SecretKey, 1)), rec.Revision)
		return err
	}))
	_, errLookup := iam.NewDirectory(st).Lookup(owner.AccessKeyID)
	_, errRoot := iam.Root(ctx, st, "")
	for name, err := range map[string]error{"Lookup": errLookup, "Root": errRoot, "CheckRoot": iam.CheckRoot(ctx, st, owner)} {
		if err == nil || errors.Is(err, sigv4.ErrUnknownKey) {
			t.Errorf("%s: got %v, want an error that tells of the damage", name, err)
		} else if strings.Contains(err.Error(), owner.SecretKey) {
			t.Errorf("%s: the error shows a secret: %v", name, err)
		}
	}
}

// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
func TestCompleteHasTheFormOfAWS(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		c := iam.RootCredentials{}.Complete()
		for what, f := range map[string]struct{ value, form string }{
			"account":           {c.Account, `^[1-9][0-9]{11}$`},
			"access key id":     {c.AccessKeyID, `^AKIA[A-Z2-7]{16}$`},
			"secret access key": {c.SecretKey, `^[A-Za-z0-9+/]{40}$`},
		} {
			if !regexp.MustCompile(f.form).MatchString(f.value) {
				t.Errorf("the %s %q is not %s", what, f.value, f.form)
			}
			if seen[f.value] {
				t.Errorf("the %s %q came twice", what, f.value)
			}
			seen[f.value] = true
		}
	}
	if got := owner.Complete(); got != owner {
		t.Errorf("what was given was changed into %+v", got)
	}
	if got := (iam.RootCredentials{Account: owner.Account}).Complete(); got.Account != owner.Account || got.AccessKeyID == "" || got.SecretKey == "" {
		t.Errorf("with an account given: %+v", got)
	}
}
