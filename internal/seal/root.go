package seal

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/kagimori/kagimori/internal/secmem"
)

// Bounds of a document, in effect before any work is done on it.
const (
	maxDocument  = 64 << 10 // bytes
	maxSlots     = 16
	maxStoreKeys = 64
	maxLabel     = 64   // runes
	maxWrapped   = 4096 // bytes; kinds to come may wrap less tightly
)

// Root is the document that the root key and the store keys are kept in, wrapped.
// It is not changed once made, and is safe for concurrent use.
type Root struct{ doc document }

type document struct {
	Version     int        `json:"version"`
	Fingerprint string     `json:"fingerprint"` // of the root key
	Created     time.Time  `json:"created"`     // the root key
	Slots       []slot     `json:"slots"`
	StoreKeys   []storeKey `json:"store_keys"` // ids ascend; the last one seals
	// All store keys in that order, wrapped under the root key as one, so that none
	// can be taken away: not the newest, so that an older one would seal again.
	Wrapped []byte `json:"wrapped"`
}

const documentVersion = 1

type slot struct {
	ID      string            `json:"id"`
	Kind    string            `json:"kind"`
	Label   string            `json:"label"`
	Created time.Time         `json:"created"`
	Params  map[string]string `json:"params"`
	Wrapped []byte            `json:"wrapped"` // the root key
}

type storeKey struct {
	ID      uint32    `json:"id"`
	Created time.Time `json:"created"`
}

// NewSlot is a slot to be made.
type NewSlot struct {
	Label    string // what the operator calls it; up to 64 printable characters
	Provider Provider
}

// SlotInfo is what an operator is shown of a slot.
type SlotInfo struct {
	ID      string // 8 hex digits
	Kind    string // "file" or "passphrase"
	Label   string
	Created time.Time
	Secret  string // what opens it, in words: "the key file root.key (id …)"
}

// Create makes a new root key with a slot for each of slots, at least one, and a
// store key.
func Create(ctx context.Context, now time.Time, slots ...NewSlot) (*Root, *Keys, error) {
	if len(slots) == 0 {
		return nil, nil, &failure{ErrSlot, "a root key needs at least one slot"}
	}
	root := randomKey()
	defer secmem.Zero(root)
	doc := newDocument(now, root)
	for _, spec := range slots {
		if err := doc.addSlot(ctx, now, root, spec); err != nil {
			return nil, nil, err
		}
	}
	doc.addStoreKey(now, root, nil)
	return doc.open(root, "")
}

// Parse reads a document that Marshal wrote, which may have come into hostile
// hands since. Its errors are ErrNewer and ErrDamaged.
func Parse(b []byte) (*Root, error) {
	if len(b) > maxDocument {
		return nil, damaged("it is %d bytes, more than %d", len(b), maxDocument)
	}
	// The version first: a newer document need not have this form.
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return nil, damaged("%v", err)
	}
	if version.Version > documentVersion {
		return nil, &failure{ErrNewer, fmt.Sprintf("the root key document has version %d and this program understands version %d: use a newer version of Kagimori", version.Version, documentVersion)}
	}
	var doc document
	if err := json.Unmarshal(b, &doc, json.RejectUnknownMembers(true)); err != nil {
		return nil, damaged("%v", err)
	}
	if err := doc.check(); err != nil {
		return nil, err
	}
	return &Root{doc}, nil
}

func damaged(format string, args ...any) error {
	return &failure{ErrDamaged, "the root key document is damaged, restore the store from a backup: " + fmt.Sprintf(format, args...)}
}

// check refuses what Create, AddSlot and the others never make.
func (d *document) check() error {
	switch {
	case d.Version != documentVersion:
		return damaged("version %d", d.Version)
	case !isHex(d.Fingerprint, fingerprintSize) || !isUTC(d.Created):
		return damaged("fingerprint or time")
	case len(d.Slots) == 0 || len(d.Slots) > maxSlots:
		return damaged("%d slots", len(d.Slots))
	case len(d.StoreKeys) == 0 || len(d.StoreKeys) > maxStoreKeys || len(d.Wrapped) != len(d.StoreKeys)*keySize+wrappingOverhead:
		return damaged("%d store keys in %d bytes", len(d.StoreKeys), len(d.Wrapped))
	}
	seen := make(map[string]bool)
	for _, s := range d.Slots {
		if !isHex(s.ID, slotIDSize) || seen[s.ID] {
			return damaged("slot id %q", s.ID)
		}
		seen[s.ID] = true
		k, ok := kinds[s.Kind]
		if !ok {
			return &failure{ErrNewer, fmt.Sprintf("slot %s of the root key is of kind %q, which this program does not understand: use a newer version of Kagimori", s.ID, s.Kind)}
		}
		if checkLabel(s.Label) != nil || !isUTC(s.Created) || len(s.Wrapped) > maxWrapped {
			return damaged("slot %s", s.ID)
		}
		if err := k.check(s.Params); err != nil {
			return damaged("slot %s: %v", s.ID, err)
		}
	}
	var last uint32
	for _, k := range d.StoreKeys {
		if k.ID <= last || !isUTC(k.Created) {
			return damaged("store key %d", k.ID)
		}
		last = k.ID
	}
	return nil
}

func isHex(s string, size int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == size && s == strings.ToLower(s)
}

func isUTC(t time.Time) bool {
	_, offset := t.Zone()
	return offset == 0
}

// checkLabel also keeps what could move a terminal's cursor out of lists.
func checkLabel(label string) error {
	if utf8.RuneCountInString(label) > maxLabel || !isPrintable(label) {
		return &failure{ErrSlot, fmt.Sprintf("a slot's label is up to %d printable characters", maxLabel)}
	}
	return nil
}

func isPrintable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Marshal is the document as JSON, up to 64 KiB.
func (r *Root) Marshal() []byte {
	b, err := json.Marshal(r.doc, json.Deterministic(true))
	if err != nil {
		panic(err) // check has seen every member
	}
	return b
}

// Fingerprint names the root key, in 32 hex digits. It is derived from the key,
// which cannot be had from it.
func (r *Root) Fingerprint() string { return r.doc.Fingerprint }

// Created is when the root key was made.
func (r *Root) Created() time.Time { return r.doc.Created }

// Slots lists the slots in the order in which they were made.
func (r *Root) Slots() []SlotInfo {
	var infos []SlotInfo
	for _, s := range r.doc.Slots {
		infos = append(infos, SlotInfo{s.ID, s.Kind, s.Label, s.Created, s.secret()})
	}
	return infos
}

// Unlock tries every provider on every slot of its kind, in order, until one
// opens. Nothing is returned before the key that came out was found to have the
// document's fingerprint. The error says of each provider why it did not open a
// slot, and which secrets have not been given.
func (r *Root) Unlock(ctx context.Context, providers ...Provider) (*Keys, error) {
	var causes []error
	given := make(map[string]bool)
	for _, p := range providers {
		given[p.Kind()] = true
		var found bool
		for i := range r.doc.Slots {
			s := &r.doc.Slots[i]
			if s.Kind != p.Kind() {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			found = true
			keys, err := r.unlock(ctx, s, p)
			if err == nil {
				return keys, nil
			}
			causes = append(causes, err)
		}
		if !found {
			causes = append(causes, &failure{ErrWrongSecret, "this store has no " + p.Kind() + " slot"})
		}
	}
	return nil, r.locked(causes, given)
}

// unlock opens one slot.
func (r *Root) unlock(ctx context.Context, s *slot, p Provider) (*Keys, error) {
	root, err := p.Unwrap(ctx, s.Params, s.Wrapped, r.doc.slotBinding(s))
	if err != nil {
		return nil, err
	}
	defer secmem.Zero(root)
	if len(root) != keySize {
		return nil, damaged("slot %s holds a root key of %d bytes", s.ID, len(root))
	}
	// AES-GCM does not commit to its key; the fingerprint does.
	if fingerprint := publicID(root, labelFingerprint, fingerprintSize); fingerprint != r.doc.Fingerprint {
		return nil, &failure{ErrOtherRoot, fmt.Sprintf("slot %s holds the root key with the fingerprint %s, the store belongs to the one with %s", s.ID, fingerprint, r.doc.Fingerprint)}
	}
	_, keys, err := r.doc.open(root, s.ID)
	return keys, err
}

// lockedError is why no slot opened.
type lockedError struct {
	message string
	causes  []error
}

func (e *lockedError) Error() string   { return e.message }
func (e *lockedError) Unwrap() []error { return e.causes }

func (r *Root) locked(causes []error, given map[string]bool) error {
	var parts []string
	add := func(s string) {
		if !slices.Contains(parts, s) { // one missing file may be tried on several slots
			parts = append(parts, s)
		}
	}
	if len(causes) == 0 {
		add("no secret was given")
	}
	for _, err := range causes {
		add(err.Error())
	}
	for i := range r.doc.Slots {
		if s := &r.doc.Slots[i]; !given[s.Kind] {
			add("or give " + s.secret() + " with " + kinds[s.Kind].flag)
		}
	}
	return &lockedError{"the root key cannot be unlocked: " + strings.Join(parts, "; "), causes}
}

// UnlockSlot opens the slot of that id, and no other, with p.
func (r *Root) UnlockSlot(ctx context.Context, id string, p Provider) (*Keys, error) {
	i, err := r.doc.find(id)
	if err != nil {
		return nil, err
	}
	s := &r.doc.Slots[i]
	if s.Kind != p.Kind() {
		return nil, &failure{ErrWrongSecret, fmt.Sprintf("slot %s opens with %s: give it with %s", id, s.secret(), kinds[s.Kind].flag)}
	}
	keys, err := r.unlock(ctx, s, p)
	if err != nil {
		return nil, fmt.Errorf("slot %s does not open: %w", id, err)
	}
	return keys, nil
}

// AddSlot is the document with one slot more. A key file that opens the store
// already is refused: a second slot for it would be no more safety.
func (r *Root) AddSlot(ctx context.Context, now time.Time, keys *Keys, spec NewSlot) (*Root, error) {
	root, err := r.rootOf(keys)
	if err != nil {
		return nil, err
	}
	doc := r.doc.clone()
	if err := doc.addSlot(ctx, now, root, spec); err != nil {
		return nil, err
	}
	return &Root{doc}, nil
}

// RemoveSlot is the document without that slot. Removing the last slot is
// refused. Older copies of the document, such as those in backups, still open
// with the secret of the slot; where that got into wrong hands, Rotate and
// AddStoreKey keep what is written from then on from it.
func (r *Root) RemoveSlot(id string) (*Root, error) {
	i, err := r.doc.find(id)
	if err != nil {
		return nil, err
	}
	if len(r.doc.Slots) == 1 {
		return nil, &failure{ErrSlot, fmt.Sprintf("slot %s is the last one: without it nobody can open the store; add another slot first", id)}
	}
	doc := r.doc.clone()
	doc.Slots = slices.Delete(doc.Slots, i, i+1)
	return &Root{doc}, nil
}

// Rotate is the document with a new root key. The store keys stay, wrapped anew;
// every slot stays too, and is opened by the same secret, so providers must hold
// the secret of every one. A slot whose secret is lost has to be removed first,
// and a secret that is to be replaced is added and removed as a slot.
//
// keys stay open and valid for the old document, and their StoreKey for the
// store. The new ones are for the new document, once that has been stored.
func (r *Root) Rotate(ctx context.Context, now time.Time, keys *Keys, providers ...Provider) (*Root, *Keys, error) {
	old, err := r.rootOf(keys)
	if err != nil {
		return nil, nil, err
	}
	root := randomKey()
	defer secmem.Zero(root)
	doc := newDocument(now, root)
	for i := range r.doc.Slots {
		s := r.doc.Slots[i]
		p, err := r.holder(ctx, &s, providers)
		if err != nil {
			return nil, nil, err
		}
		if err := doc.wrapSlot(ctx, root, &s, p); err != nil {
			return nil, nil, err
		}
		doc.Slots = append(doc.Slots, s)
	}
	storeKeys, err := r.doc.unwrapStoreKeys(old)
	if err != nil {
		return nil, nil, err
	}
	defer secmem.Zero(storeKeys)
	doc.StoreKeys = slices.Clone(r.doc.StoreKeys)
	doc.wrapStoreKeys(root, storeKeys)
	return doc.open(root, keys.slot)
}

// holder is the provider that opens s.
func (r *Root) holder(ctx context.Context, s *slot, providers []Provider) (Provider, error) {
	var why []string
	for _, p := range providers {
		if p.Kind() != s.Kind {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		keys, err := r.unlock(ctx, s, p)
		if err == nil {
			keys.Close()
			return p, nil
		}
		why = append(why, err.Error())
	}
	if why == nil {
		why = []string{"its secret was not given"}
	}
	return nil, &failure{ErrWrongSecret, fmt.Sprintf("the root key is not rotated, because slot %s would be lost: %s; give %s with %s, or remove the slot first",
		s.ID, strings.Join(why, "; "), s.secret(), kinds[s.Kind].flag)}
}

// AddStoreKey is the document with a new store key, which seals from then on,
// besides the ones that open what they have sealed. Keys for it are returned with
// it; those given stay as they are.
func (r *Root) AddStoreKey(now time.Time, keys *Keys) (*Root, *Keys, error) {
	root, err := r.rootOf(keys)
	if err != nil {
		return nil, nil, err
	}
	if len(r.doc.StoreKeys) == maxStoreKeys {
		return nil, nil, fmt.Errorf("there are %d store keys, no more are allowed", maxStoreKeys)
	}
	storeKeys, err := r.doc.unwrapStoreKeys(root)
	if err != nil {
		return nil, nil, err
	}
	defer secmem.Zero(storeKeys)
	doc := r.doc.clone()
	doc.addStoreKey(now, root, storeKeys)
	return doc.open(root, keys.slot)
}

// rootOf is the root key, provided it is this document's.
func (r *Root) rootOf(keys *Keys) ([]byte, error) {
	if keys.fingerprint != r.doc.Fingerprint {
		return nil, &failure{ErrOtherRoot, fmt.Sprintf("the unlocked root key has the fingerprint %s, the document is of the one with %s", keys.fingerprint, r.doc.Fingerprint)}
	}
	return keys.rootKey(), nil
}

const (
	fingerprintSize = 16 // bytes
	slotIDSize      = 4  // bytes
)

func newDocument(now time.Time, root []byte) document {
	return document{
		Version:     documentVersion,
		Fingerprint: publicID(root, labelFingerprint, fingerprintSize),
		Created:     seconds(now),
	}
}

// seconds is t as documents keep it.
func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// clone copies all that a change of the copy could reach.
func (d *document) clone() document {
	c := *d
	c.Slots = slices.Clone(d.Slots)
	c.StoreKeys = slices.Clone(d.StoreKeys)
	return c
}

// open is the last step of all that makes or unlocks a document: the store keys
// are unwrapped with the root key, of which a copy is kept. slot is the one that
// gave the root key, if one did.
func (d document) open(root []byte, slot string) (*Root, *Keys, error) {
	storeKeys, err := d.unwrapStoreKeys(root)
	if err != nil {
		return nil, nil, err
	}
	defer secmem.Zero(storeKeys)
	keys := &Keys{root: &hidden{(*[keySize]byte)(bytes.Clone(root))}, fingerprint: d.Fingerprint, slot: slot, store: new(StoreKey)}
	for i, k := range d.StoreKeys {
		keys.store.add(k.ID, storeKeys[i*keySize:(i+1)*keySize])
	}
	return &Root{d}, keys, nil
}

func (d *document) find(id string) (int, error) {
	i := slices.IndexFunc(d.Slots, func(s slot) bool { return s.ID == id })
	if i < 0 {
		var ids []string
		for _, s := range d.Slots {
			ids = append(ids, s.ID)
		}
		return 0, &failure{ErrSlot, fmt.Sprintf("there is no slot %q; the slots are %s", id, strings.Join(ids, ", "))}
	}
	return i, nil
}

func (d *document) addSlot(ctx context.Context, now time.Time, root []byte, spec NewSlot) error {
	if err := checkLabel(spec.Label); err != nil {
		return err
	}
	if len(d.Slots) == maxSlots {
		return &failure{ErrSlot, fmt.Sprintf("there are %d slots, no more are allowed; remove one first", maxSlots)}
	}
	s := slot{ID: d.newSlotID(), Kind: spec.Provider.Kind(), Label: spec.Label, Created: seconds(now)}
	if err := d.wrapSlot(ctx, root, &s, spec.Provider); err != nil {
		return err
	}
	if identity := kinds[s.Kind].identity; identity != "" {
		for _, other := range d.Slots {
			if other.Kind == s.Kind && other.Params[identity] == s.Params[identity] {
				return &failure{ErrSlot, fmt.Sprintf("%s opens slot %s already", other.secret(), other.ID)}
			}
		}
	}
	d.Slots = append(d.Slots, s)
	return nil
}

func (d *document) newSlotID() string {
	for {
		var b [slotIDSize]byte
		rand.Read(b[:]) // never fails
		id := hex.EncodeToString(b[:])
		if !slices.ContainsFunc(d.Slots, func(s slot) bool { return s.ID == id }) {
			return id
		}
	}
}

// wrapSlot gives s new parameters and the root key.
func (d *document) wrapSlot(ctx context.Context, root []byte, s *slot, p Provider) (err error) {
	if s.Params, err = p.NewParams(ctx); err != nil {
		return err
	}
	s.Wrapped, err = p.Wrap(ctx, s.Params, root, d.slotBinding(s))
	return err
}

// slotBinding is all that the document says of a slot and of the root key in it.
func (d *document) slotBinding(s *slot) []byte {
	fields := []string{labelSlot, d.Fingerprint, timestamp(d.Created), s.ID, s.Kind, s.Label, timestamp(s.Created)}
	for _, name := range slices.Sorted(maps.Keys(s.Params)) {
		fields = append(fields, name, s.Params[name])
	}
	return bind(fields...)
}

// secret names what opens the slot.
func (s *slot) secret() string { return kinds[s.Kind].describe(s.Params) }

// addStoreKey adds a new store key to those that are there.
func (d *document) addStoreKey(now time.Time, root, storeKeys []byte) {
	id := uint32(1)
	if n := len(d.StoreKeys); n > 0 {
		id = d.StoreKeys[n-1].ID + 1
	}
	d.StoreKeys = append(d.StoreKeys, storeKey{id, seconds(now)})
	key := randomKey()
	defer secmem.Zero(key)
	all := slices.Concat(storeKeys, key)
	defer secmem.Zero(all)
	d.wrapStoreKeys(root, all)
}

func (d *document) wrapStoreKeys(root, storeKeys []byte) {
	d.Wrapped = wrapKey(root, labelStoreKeys, storeKeys, d.storeKeysBinding())
}

// unwrapStoreKeys is all store keys, one behind the other. The caller zeroes them.
func (d *document) unwrapStoreKeys(root []byte) ([]byte, error) {
	storeKeys, err := unwrapKey(root, labelStoreKeys, d.Wrapped, d.storeKeysBinding())
	if err != nil {
		return nil, damaged("the store keys do not open under the root key")
	}
	return storeKeys, nil
}

func (d *document) storeKeysBinding() []byte {
	fields := []string{labelStoreKeys, d.Fingerprint, timestamp(d.Created)}
	for _, k := range d.StoreKeys {
		fields = append(fields, strconv.FormatUint(uint64(k.ID), 10), timestamp(k.Created))
	}
	return bind(fields...)
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
