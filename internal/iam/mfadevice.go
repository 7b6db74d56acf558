package iam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/store"
)

// mfaDevice is a virtual MFA device at one moment.
type mfaDevice struct {
	mfaRecord
	account  string
	revision uint64
}

// mfaRecord is a virtual MFA device as the store keeps it.
type mfaRecord struct {
	Name    string    `json:"name"`
	Path    string    `json:"path"`
	Seed    []byte    `json:"seed"`
	Created time.Time `json:"created"`
	Tags    []api.Tag `json:"tags,omitempty"`
	// Owner is the unique id of the user, or the account id for the root; empty
	// while nobody uses the device.
	Owner   string    `json:"owner,omitempty"`
	Enabled time.Time `json:"enabled,omitzero"`
	// LastStep is the step of the last code that was used: no code of it or of an
	// earlier one is taken again.
	LastStep int64 `json:"lastStep,omitempty"`
	// Drift is by how many steps the device's clock is ahead.
	Drift int64 `json:"drift,omitempty"`
}

// ownerIndex finds the devices of a user or root by owner.
const ownerIndex = "owner"

func (d *mfaDevice) serial() string { return arnOf(d.account, "mfa", d.Path, d.Name) }

func (d *mfaDevice) place() store.Place {
	return store.Place{Kind: mfaKind, Account: d.account, ID: fold(d.Name)}
}

func (d *mfaDevice) write(tx store.Tx) (err error) {
	index := []store.IndexEntry{{Name: nameIndex, Value: nameValue(d.account, d.Name)}}
	if d.Owner != "" {
		index = append(index, store.IndexEntry{Name: ownerIndex, Value: d.Owner})
	}
	d.revision, err = put(tx, d.place(), &d.mfaRecord, d.revision, index...)
	return err
}

func decodeMFA(rec store.Record) (*mfaDevice, error) {
	d := &mfaDevice{account: rec.Account, revision: rec.Revision}
	if json.Unmarshal(rec.Value, &d.mfaRecord) != nil { // whose error could show the seed
		return nil, fmt.Errorf("the record of MFA device %s is not one that this version can read", rec.ID)
	}
	return d, nil
}

// findMFA is the device of that serial number in an account, or store.ErrNotFound.
func findMFA(r store.Reader, account, serial string) (*mfaDevice, error) {
	a, ok := parseARN(serial)
	if !ok || a.resource != "mfa" || a.account != account {
		return nil, store.ErrNotFound
	}
	rec, err := r.Get(store.Place{Kind: mfaKind, Account: account, ID: fold(a.name)})
	if err != nil {
		return nil, err
	}
	d, err := decodeMFA(rec)
	if err == nil && d.serial() != serial {
		err = store.ErrNotFound
	}
	return d, err
}

// mfaOf are the devices of a user or root, by name.
func mfaOf(r store.Reader, owner string) (devices []*mfaDevice, err error) {
	err = r.Lookup(store.Query{Kind: mfaKind, Index: ownerIndex, From: owner, To: owner}, func(rec store.Record) error {
		d, err := decodeMFA(rec)
		devices = append(devices, d)
		return err
	})
	return devices, err
}

// MFADevice is a virtual MFA device in use.
type MFADevice struct {
	Serial   string // arn:aws:iam::ACCOUNT:mfa/NAME
	Account  string
	UserName string // empty for the root's
}

// mfaSkew is by how many steps a code may be early or late.
const mfaSkew = 1

// Messages of CheckMFA, as STS words them.
const (
	mfaUnknownDevice = "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user."
	mfaWrongCode     = "MultiFactorAuthentication failed with invalid MFA one time pass code. "
	mfaIncomplete    = "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code. "
)

// CheckMFA verifies a code of an MFA device that belongs to the calling user or
// root. A code is good once, also over a restart. The error is an
// AccessDeniedException in the words of STS. After a few wrong codes the device
// takes none for a while, so that codes cannot be guessed.
func (d *Directory) CheckMFA(ctx context.Context, p *api.Principal, serial, code string, now time.Time) error {
	if serial == "" || code == "" {
		return awserr.New(awserr.AccessDenied, mfaIncomplete)
	}
	if p.Type != api.Root && p.Type != api.IAMUser {
		return awserr.New(awserr.AccessDenied, mfaUnknownDevice)
	}
	if !isCode(code) {
		return awserr.New(awserr.AccessDenied, mfaWrongCode)
	}
	err := d.store.Update(ctx, func(tx store.Tx) error {
		dev, err := findMFA(tx, p.Account, serial)
		if errors.Is(err, store.ErrNotFound) || err == nil && dev.Owner != p.ID {
			return awserr.New(awserr.AccessDenied, mfaUnknownDevice)
		}
		if err != nil {
			return err
		}
		// It counts as wrong until it is found right, so that guesses made at the
		// same time all count.
		if !d.guesses.try(serial, now) {
			return awserr.New(awserr.AccessDenied, mfaWrongCode)
		}
		middle := totpStep(now) + dev.Drift
		step, ok := findStep(dev.Seed, max(middle-mfaSkew, dev.LastStep+1), middle+mfaSkew, code)
		if !ok {
			return awserr.New(awserr.AccessDenied, mfaWrongCode)
		}
		dev.LastStep = step
		return dev.write(tx)
	})
	if err == nil {
		d.guesses.right(serial)
	}
	return err
}

// guesses slows the guessing of codes down. It is safe for concurrent use.
type guesses struct {
	mu      sync.Mutex
	devices map[string]attempts // by serial number, of devices that exist
}

type attempts struct {
	wrong int // in a row, those of calls in progress included
	until time.Time
}

// After freeGuesses wrong codes in a row there is a pause, which doubles with
// every further one up to longestPause. At one guess in a pause, of which three
// in a million are right, finding a code takes decades.
const (
	freeGuesses  = 5
	firstPause   = 30 * time.Second
	longestPause = time.Hour
)

// try tells whether a code may be tried now, and counts it.
func (g *guesses) try(serial string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.devices[serial]
	if now.Before(a.until) {
		return false
	}
	if g.devices == nil {
		g.devices = map[string]attempts{}
	}
	a.wrong++
	if n := a.wrong - freeGuesses; n >= 0 {
		a.until = now.Add(min(firstPause<<min(n, 10), longestPause))
	}
	g.devices[serial] = a
	return true
}

func (g *guesses) right(serial string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.devices, serial)
}
