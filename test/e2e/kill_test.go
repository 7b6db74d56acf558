package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/journal"
)

const writers = 10

// rounds is how often something is killed: short, or long if KAGIMORI_LONG is set.
func rounds(short, long int) int {
	if os.Getenv("KAGIMORI_LONG") != "" {
		return long
	}
	return short
}

// seeded is the test's source of chance. KAGIMORI_SEED repeats a run, as far as
// the machine's own timing allows.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("KAGIMORI_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		check(t, err)
	}
	t.Logf("repeat with KAGIMORI_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestKill kills the server with SIGKILL at random moments while writers change
// keys, and starts it again on the same folder, over and over. After each start:
//
//   - what was acknowledged is there;
//   - a call whose answer never came was done wholly or not at all, and has an
//     audit record if and only if it was done;
//   - every answer that arrived has its audit record;
//   - the records' numbers have no gap, and no event is recorded twice;
//   - what was encrypted decrypts.
func TestKill(t *testing.T) {
	t.Parallel()
	h := &history{t: t, rnd: seeded(t), dir: filepath.Join(t.TempDir(), "data"), observed: newObserver(), next: 1,
		marks: map[string]record{}, requests: map[string]bool{}, events: map[string]bool{}, rotated: map[string]int{}}
	for i := range writers {
		h.writers = append(h.writers, &writer{h: h, name: fmt.Sprintf("writer%d", i), rnd: rand.New(rand.NewPCG(h.rnd.Uint64(), 0)), aliases: map[string]string{}})
	}
	h.start()
	made, err := h.client.CreateKey(t.Context(), &kms.CreateKeyInput{Description: aws.String("shared by the writers")})
	check(t, err)
	h.shared = *made.KeyMetadata.KeyId
	n := rounds(20, 200)
	for round := range n {
		h.killUnderLoad()
		for h.rnd.IntN(3) == 0 { // a start is killed too
			s := launch(t, h.dir, h.how())
			time.Sleep(h.upTo(600 * time.Millisecond))
			s.kill()
			s.healthy(t)
		}
		h.start()
		h.verify()
		if t.Failed() {
			t.Fatalf("failed in round %d of %d", round+1, n)
		}
	}
	h.decryptAll()
	h.server.stop(t)
	h.readJournal()
	h.checkAnswers()
	keys := 0
	for _, w := range h.writers {
		keys += len(w.keys)
	}
	t.Logf("%d rounds, %d audit records, %d keys; of the calls cut off, %d had been done and %d had not", n, h.next-1, keys, h.done, h.undone)

	// All of it once more from the beginning, with nothing running.
	h.next = 1
	clear(h.events)
	clear(h.rotated)
	all := h.requests
	h.requests = map[string]bool{}
	h.readJournal()
	if !maps.Equal(all, h.requests) {
		t.Errorf("the journal had records of %d requests, now it has them of %d", len(all), len(h.requests))
	}
}

// history is what the test knows of the server's data, over all its lives.
type history struct {
	t       *testing.T
	rnd     *rand.Rand
	dir     string
	writers []*writer
	shared  string // id of the key that every writer tags

	server   *server
	client   *kms.Client
	observed *observer
	killed   atomic.Bool

	// The journal, as far as it has been read.
	next     uint64            // number of the next record
	marks    map[string]record // by User-Agent
	requests map[string]bool   // ids
	events   map[string]bool   // ids
	rotated  map[string]int    // rotations by key ARN

	done, undone int // calls cut off
}

// record is what the test reads of an audit record.
type record struct {
	EventID, EventName, ErrorCode, RequestID, UserAgent string
	ServiceEventDetails                                 struct{ KeyID string }
}

// key is what a key has to be.
type key struct {
	id, arn, description string
	state                types.KeyState
	deletion             time.Time // of a key that is to be deleted; zero if not known
	tags                 map[string]string
	rotations            int
	sealed               []sealed // one for each of its materials that was used
}

type sealed struct {
	plain, blob []byte
	rotations   int
}

func (k *key) clone() *key {
	c := *k
	c.tags, c.sealed = maps.Clone(k.tags), slices.Clone(k.sealed)
	return &c
}

func (k *key) equal(o *key) bool {
	return k.id == o.id && k.description == o.description && k.state == o.state && k.rotations == o.rotations && maps.Equal(k.tags, o.tags) &&
		(k.deletion.Equal(o.deletion) || k.state == types.KeyStatePendingDeletion && (k.deletion.IsZero() || o.deletion.IsZero()))
}

func (k *key) String() string {
	return fmt.Sprintf("{%s %q %s %s tags %v, %d rotations}", k.id, k.description, k.state, k.deletion, k.tags, k.rotations)
}

// writer changes keys and aliases of its own, and its own tag of the shared key,
// one call at a time.
type writer struct {
	h       *history
	name    string
	rnd     *rand.Rand
	calls   int
	keys    []*key
	aliases map[string]string // key id by name
	tag     string            // on the shared key

	cut *change // the change whose answer never came
}

// change is what a call does once it is done.
type change struct {
	mark          string // see exchange
	before, after *key   // before is nil for a new key
	alias, target string // target is empty when the alias is deleted
	tag           string // on the shared key
}

func (c *change) apply(w *writer) {
	switch {
	case c.after != nil && c.before == nil:
		w.keys = append(w.keys, c.after)
	case c.after != nil:
		*c.before = *c.after
	case c.alias != "" && c.target != "":
		w.aliases[c.alias] = c.target
	case c.alias != "":
		delete(w.aliases, c.alias)
	case c.tag != "":
		w.tag = c.tag
	}
}

// send makes the call of a change. The change is applied if it is acknowledged;
// learn, which may be nil, is asked first for what only the answer tells.
func send[In, Out any](w *writer, call func(context.Context, *In, ...func(*kms.Options)) (*Out, error), in *In, c *change, learn func(*Out)) {
	w.calls++
	c.mark = fmt.Sprintf("%s-%d", w.name, w.calls)
	out, answered, err := do(w.h.t.Context(), call, in, c.mark)
	switch {
	case !answered:
		w.cut = c
		if !w.h.killed.Load() {
			w.h.t.Errorf("%T before the server was killed: %v", in, err)
		}
	case err != nil:
		w.h.t.Errorf("%s %T: %v", c.mark, in, err)
	default:
		if learn != nil {
			learn(out)
		}
		c.apply(w)
	}
}

// steps are what writers do. Each changes something that can be seen.
var steps = []struct {
	weight int
	fits   func(*writer, *key) bool
	do     func(*writer, *kms.Client, *key)
}{
	{2, anyKey, func(w *writer, c *kms.Client, _ *key) { w.create(c) }},
	{12, usable, func(w *writer, c *kms.Client, k *key) { w.encrypt(c, k) }},
	{3, unusable, func(w *writer, c *kms.Client, k *key) { w.encryptInVain(c, k) }},
	{8, notPending, func(w *writer, c *kms.Client, k *key) {
		after := k.clone()
		after.description = w.fresh("説明")
		send(w, c.UpdateKeyDescription, &kms.UpdateKeyDescriptionInput{KeyId: &k.id, Description: &after.description}, &change{before: k, after: after}, nil)
	}},
	{8, notPending, func(w *writer, c *kms.Client, k *key) {
		after := k.clone()
		name, value := fmt.Sprintf("タグ%d", w.rnd.IntN(5)), w.fresh("値")
		after.tags[name] = value
		send(w, c.TagResource, &kms.TagResourceInput{KeyId: &k.id, Tags: []types.Tag{{TagKey: &name, TagValue: &value}}}, &change{before: k, after: after}, nil)
	}},
	{4, func(w *writer, k *key) bool { return notPending(w, k) && len(k.tags) > 0 }, func(w *writer, c *kms.Client, k *key) {
		after := k.clone()
		name := slices.Min(slices.Collect(maps.Keys(k.tags)))
		delete(after.tags, name)
		send(w, c.UntagResource, &kms.UntagResourceInput{KeyId: &k.id, TagKeys: []string{name}}, &change{before: k, after: after}, nil)
	}},
	{8, anyKey, func(w *writer, c *kms.Client, _ *key) {
		value := w.fresh("shared")
		send(w, c.TagResource, &kms.TagResourceInput{KeyId: &w.h.shared, Tags: []types.Tag{{TagKey: &w.name, TagValue: &value}}}, &change{tag: value}, nil)
	}},
	{5, usable, func(w *writer, c *kms.Client, k *key) {
		after := k.clone()
		after.state = types.KeyStateDisabled
		send(w, c.DisableKey, &kms.DisableKeyInput{KeyId: &k.id}, &change{before: k, after: after}, nil)
	}},
	{8, disabled, func(w *writer, c *kms.Client, k *key) {
		after := k.clone()
		after.state = types.KeyStateEnabled
		send(w, c.EnableKey, &kms.EnableKeyInput{KeyId: &k.id}, &change{before: k, after: after}, nil)
	}},
	{4, func(w *writer, k *key) bool { return usable(w, k) && k.rotations < 25 }, func(w *writer, c *kms.Client, k *key) {
		after := k.clone()
		after.rotations++
		send(w, c.RotateKeyOnDemand, &kms.RotateKeyOnDemandInput{KeyId: &k.id}, &change{before: k, after: after}, nil)
	}},
	{3, notPending, func(w *writer, c *kms.Client, k *key) {
		after := k.clone()
		after.state = types.KeyStatePendingDeletion
		send(w, c.ScheduleKeyDeletion, &kms.ScheduleKeyDeletionInput{KeyId: &k.id, PendingWindowInDays: aws.Int32(7)}, &change{before: k, after: after},
			func(out *kms.ScheduleKeyDeletionOutput) { after.deletion = *out.DeletionDate })
	}},
	{6, func(w *writer, k *key) bool { return !notPending(w, k) }, func(w *writer, c *kms.Client, k *key) {
		after := k.clone()
		after.state, after.deletion = types.KeyStateDisabled, time.Time{}
		send(w, c.CancelKeyDeletion, &kms.CancelKeyDeletionInput{KeyId: &k.id}, &change{before: k, after: after}, nil)
	}},
	{5, notPending, func(w *writer, c *kms.Client, k *key) {
		name := "alias/" + w.fresh("a")
		send(w, c.CreateAlias, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &k.id}, &change{alias: name, target: k.id}, nil)
	}},
	{4, func(w *writer, k *key) bool { return notPending(w, k) && len(w.aliases) > 0 }, func(w *writer, c *kms.Client, k *key) {
		name := w.anyAlias()
		if w.aliases[name] == k.id || w.pending(w.aliases[name]) {
			return
		}
		send(w, c.UpdateAlias, &kms.UpdateAliasInput{AliasName: &name, TargetKeyId: &k.id}, &change{alias: name, target: k.id}, nil)
	}},
	{4, func(w *writer, _ *key) bool { return len(w.aliases) > 0 }, func(w *writer, c *kms.Client, _ *key) {
		name := w.anyAlias()
		send(w, c.DeleteAlias, &kms.DeleteAliasInput{AliasName: &name}, &change{alias: name}, nil)
	}},
}

func anyKey(*writer, *key) bool         { return true }
func usable(_ *writer, k *key) bool     { return k.state == types.KeyStateEnabled }
func disabled(_ *writer, k *key) bool   { return k.state == types.KeyStateDisabled }
func notPending(_ *writer, k *key) bool { return k.state != types.KeyStatePendingDeletion }
func unusable(w *writer, k *key) bool   { return !usable(w, k) }

// fresh is a value that no other call sends.
func (w *writer) fresh(what string) string { return fmt.Sprintf("%s-%s-%d", what, w.name, w.calls+1) }

func (w *writer) anyAlias() string {
	names := slices.Sorted(maps.Keys(w.aliases))
	return names[w.rnd.IntN(len(names))]
}

func (w *writer) pending(id string) bool {
	return slices.ContainsFunc(w.keys, func(k *key) bool { return k.id == id && k.state == types.KeyStatePendingDeletion })
}

func (w *writer) create(c *kms.Client) {
	after := &key{description: w.fresh("鍵"), state: types.KeyStateEnabled, tags: map[string]string{"部署": w.fresh("経理")}}
	in := &kms.CreateKeyInput{Description: &after.description, Tags: []types.Tag{{TagKey: aws.String("部署"), TagValue: aws.String(after.tags["部署"])}}}
	send(w, c.CreateKey, in, &change{after: after}, func(out *kms.CreateKeyOutput) {
		after.id, after.arn = *out.KeyMetadata.KeyId, *out.KeyMetadata.Arn
	})
}

func (w *writer) encrypt(c *kms.Client, k *key) {
	plain := []byte(w.fresh("平文"))
	send(w, c.Encrypt, &kms.EncryptInput{KeyId: &k.id, Plaintext: plain}, &change{}, func(out *kms.EncryptOutput) {
		s := sealed{plain, out.CiphertextBlob, k.rotations}
		if n := len(k.sealed); n > 0 && k.sealed[n-1].rotations == k.rotations {
			k.sealed[n-1] = s
		} else {
			k.sealed = append(k.sealed, s)
		}
	})
}

// encryptInVain makes a call that fails; it is to be on record as well.
func (w *writer) encryptInVain(c *kms.Client, k *key) {
	w.calls++
	_, answered, err := do(w.h.t.Context(), c.Encrypt, &kms.EncryptInput{KeyId: &k.id, Plaintext: []byte("x")}, fmt.Sprintf("%s-%d", w.name, w.calls))
	var off *types.DisabledException
	var invalid *types.KMSInvalidStateException
	switch {
	case !answered:
		w.cut = &change{}
	case disabled(w, k) && !errors.As(err, &off), !disabled(w, k) && !errors.As(err, &invalid):
		w.h.t.Errorf("Encrypt with a key that is %s: %v", k.state, err)
	}
}

// work makes calls until one is not answered.
func (w *writer) work(c *kms.Client) {
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	for w.cut == nil && !w.h.t.Failed() {
		if len(w.keys) == 0 {
			w.create(c)
			continue
		}
		k := w.keys[w.rnd.IntN(len(w.keys))]
		n := w.rnd.IntN(total)
		for _, s := range steps {
			if n -= s.weight; n < 0 {
				if s.fits(w, k) {
					s.do(w, c, k)
				}
				break
			}
		}
	}
}

func (h *history) upTo(d time.Duration) time.Duration { return time.Duration(h.rnd.Int64N(int64(d))) }

// how the server is started: with small segments, so that the journal changes them.
func (h *history) how() setup {
	return setup{build: checked, args: []string{"--journal-segment-size", "2MiB"}}
}

func (h *history) start() {
	h.t.Helper()
	h.observed.onAnswer = nil
	h.server = serve(h.t, h.dir, h.how())
	h.client = h.server.client(h.observed)
	h.killed.Store(false)
}

// killUnderLoad lets the writers work and kills the server after a random number
// of answers, at a random moment between two of them.
func (h *history) killUnderLoad() {
	h.t.Helper()
	h.checkAnswers()
	target := 1 + h.rnd.IntN(10)
	if h.rnd.IntN(5) > 0 {
		target = 1 + h.rnd.IntN(300)
	}
	pause, victim := h.upTo(5*time.Millisecond), h.server
	h.observed.onAnswer = func(answers int) {
		if answers == target {
			go func() {
				time.Sleep(pause)
				h.killed.Store(true)
				victim.kill()
			}()
		}
	}
	var all sync.WaitGroup
	for _, w := range h.writers {
		all.Go(func() { w.work(h.client) })
	}
	all.Wait()
	victim.kill()
	victim.healthy(h.t)
}

// readJournal reads the records that are new.
func (h *history) readJournal() {
	h.t.Helper()
	for e, err := range journal.Read(datadir.JournalDir(h.dir), h.next) {
		check(h.t, err)
		if e.Seq != h.next {
			h.t.Fatalf("audit record %d comes after %d", e.Seq, h.next-1)
		}
		h.next++
		var r record
		check(h.t, json.Unmarshal(e.Record, &r))
		if h.events[r.EventID] {
			h.t.Errorf("event %s (%s) is recorded twice", r.EventID, r.EventName)
		}
		h.events[r.EventID] = true
		h.marks[r.UserAgent] = r
		if r.RequestID != "" {
			h.requests[r.RequestID] = true
		}
		if r.EventName == "RotateKey" {
			h.rotated[r.ServiceEventDetails.KeyID]++
		}
	}
}

// checkAnswers checks that every answer so far has its record.
func (h *history) checkAnswers() {
	h.t.Helper()
	ids := h.observed.take()
	if slices.ContainsFunc(ids, func(id string) bool { return !h.requests[id] }) {
		h.readJournal()
	}
	for _, id := range ids {
		if !h.requests[id] {
			h.t.Errorf("answer %s has no audit record", id)
		}
	}
}

// verify compares what the server has now with what it has to have.
func (h *history) verify() {
	h.t.Helper()
	h.readJournal()
	h.checkAnswers()
	listed, aliases, tags := h.list(), h.aliases(), h.look(h.shared).tags
	delete(listed, h.shared)

	for _, w := range h.writers {
		for _, k := range w.keys {
			if !listed[k.id] {
				h.t.Errorf("key %s, which was acknowledged, is gone", k)
			}
			delete(listed, k.id)
		}
	}
	unknown := map[string]*key{} // by description
	for id := range listed {
		k := h.look(id)
		unknown[k.description] = k
	}
	for _, w := range h.writers {
		if w.cut != nil {
			h.settle(w, unknown, aliases, tags)
			w.cut = nil
		}
	}
	for _, k := range unknown {
		h.t.Errorf("nobody made the key %s", k)
	}

	want := map[string]string{}
	var all sync.WaitGroup
	for _, w := range h.writers {
		maps.Copy(want, w.aliases)
		if tags[w.name] != w.tag {
			h.t.Errorf("%s acknowledged as a tag of the shared key, it is %q", w.tag, tags[w.name])
		}
		all.Go(func() {
			for _, k := range w.keys {
				is := h.look(k.id)
				if !is.equal(k) {
					h.t.Errorf("key %s has to be %s", is, k)
				}
				k.deletion = is.deletion
				h.decrypt(k)
			}
		})
	}
	all.Wait()
	if !maps.Equal(want, aliases) {
		h.t.Errorf("the aliases are %v and have to be %v", aliases, want)
	}
	for _, w := range h.writers {
		for _, k := range w.keys {
			if h.rotated[k.arn] != k.rotations {
				h.t.Errorf("%d rotations of key %s are on record", h.rotated[k.arn], k)
			}
		}
	}
}

// settle finds out whether the change that was cut off was done.
func (h *history) settle(w *writer, unknown map[string]*key, aliases, tags map[string]string) {
	h.t.Helper()
	c := w.cut
	var done bool
	switch {
	case c.after != nil && c.before == nil:
		var k *key
		if k, done = unknown[c.after.description]; done {
			delete(unknown, k.description)
			c.after.id, c.after.arn = k.id, k.arn
			h.wholeKey(k.id)
			if !k.equal(c.after) {
				h.t.Errorf("of CreateKey, which was cut off, there is %s, not %s", k, c.after)
			}
		}
	case c.after != nil:
		is := h.look(c.before.id)
		if done = is.equal(c.after); !done && !is.equal(c.before) {
			h.t.Errorf("of a change that was cut off there is %s, neither %s nor %s", is, c.before, c.after)
		}
	case c.alias != "":
		if done = aliases[c.alias] == c.target; !done && aliases[c.alias] != w.aliases[c.alias] {
			h.t.Errorf("of a change that was cut off, alias %s is of key %q, neither of %q nor of %q", c.alias, aliases[c.alias], w.aliases[c.alias], c.target)
		}
	case c.tag != "":
		done = tags[w.name] == c.tag
	default:
		return // it changed nothing
	}
	r, recorded := h.marks[c.mark]
	if recorded = recorded && r.ErrorCode == ""; recorded != done {
		h.t.Errorf("a call that was cut off was done: %t, but its record is there: %t %+v", done, recorded, r)
	}
	if !done {
		h.undone++
		return
	}
	h.done++
	c.apply(w)
}

// wholeKey checks that a key has all that belongs to one.
func (h *history) wholeKey(id string) {
	h.t.Helper()
	ctx := h.t.Context()
	policy, err := h.client.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &id})
	if err != nil || !strings.Contains(aws.ToString(policy.Policy), ":root") {
		h.t.Errorf("the policy of key %s: %v", id, err)
	}
	out, err := h.client.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")})
	if err != nil {
		h.t.Errorf("key %s does not encrypt: %v", id, err)
		return
	}
	if _, err := h.client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: out.CiphertextBlob}); err != nil {
		h.t.Errorf("key %s does not decrypt: %v", id, err)
	}
}

// decrypt opens what was encrypted with a key, if the key can be used.
func (h *history) decrypt(k *key) {
	for _, s := range k.sealed {
		if k.state != types.KeyStateEnabled {
			return
		}
		out, err := h.client.Decrypt(h.t.Context(), &kms.DecryptInput{CiphertextBlob: s.blob})
		if err != nil || !bytes.Equal(out.Plaintext, s.plain) {
			h.t.Errorf("what was encrypted after %d rotations of key %s does not decrypt: %v", s.rotations, k, err)
		}
	}
}

// decryptAll makes every key usable and opens what was encrypted with it.
func (h *history) decryptAll() {
	h.t.Helper()
	ctx := h.t.Context()
	for _, w := range h.writers {
		for _, k := range w.keys {
			if !notPending(w, k) {
				_, err := h.client.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: &k.id})
				check(h.t, err)
			}
			if unusable(w, k) {
				_, err := h.client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &k.id})
				check(h.t, err)
				k.state = types.KeyStateEnabled
			}
			h.wholeKey(k.id)
			h.decrypt(k)
		}
	}
}

// look asks the server what a key is.
func (h *history) look(id string) *key {
	h.t.Helper()
	ctx := h.t.Context()
	k := &key{id: id, tags: map[string]string{}}
	about, err := h.client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	if err != nil {
		h.t.Errorf("key %s: %v", id, err)
		return k
	}
	m := about.KeyMetadata
	k.arn, k.description, k.state, k.deletion = *m.Arn, *m.Description, m.KeyState, aws.ToTime(m.DeletionDate)
	tags, err := h.client.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: &id})
	if err != nil {
		h.t.Errorf("tags of key %s: %v", id, err)
		return k
	}
	for _, t := range tags.Tags {
		k.tags[*t.TagKey] = *t.TagValue
	}
	rotations, err := h.client.ListKeyRotations(ctx, &kms.ListKeyRotationsInput{KeyId: &id})
	if err != nil {
		h.t.Errorf("rotations of key %s: %v", id, err)
		return k
	}
	k.rotations = len(rotations.Rotations)
	return k
}

// list is the ids of all keys.
func (h *history) list() map[string]bool {
	h.t.Helper()
	out := map[string]bool{}
	for p := kms.NewListKeysPaginator(h.client, &kms.ListKeysInput{}); p.HasMorePages(); {
		page, err := p.NextPage(h.t.Context())
		check(h.t, err)
		for _, k := range page.Keys {
			out[*k.KeyId] = true
		}
	}
	return out
}

// aliases are the key ids of all aliases.
func (h *history) aliases() map[string]string {
	h.t.Helper()
	out := map[string]string{}
	for p := kms.NewListAliasesPaginator(h.client, &kms.ListAliasesInput{}); p.HasMorePages(); {
		page, err := p.NextPage(h.t.Context())
		check(h.t, err)
		for _, a := range page.Aliases {
			out[*a.AliasName] = aws.ToString(a.TargetKeyId)
		}
	}
	return out
}

// TestKillFirstStart kills first starts at random moments. The next start goes on
// where they stopped, and each of the secrets that it leaves works.
func TestKillFirstStart(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	for range rounds(10, 100) {
		dir := filepath.Join(t.TempDir(), "data")
		for range 1 + rnd.IntN(2) {
			s := launch(t, dir, setup{})
			time.Sleep(time.Duration(rnd.Int64N(int64(400 * time.Millisecond))))
			s.kill()
		}
		s := serve(t, dir, setup{})
		modes(t, dir)
		_, err := s.client(nil).CreateKey(t.Context(), &kms.CreateKeyInput{})
		check(t, err)
		s.stop(t)
		succeed(t, "root", "verify", "--data", dir, "--passphrase-file", filepath.Join(dir, "recovery.txt"))
	}
}
