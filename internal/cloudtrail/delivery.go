package cloudtrail

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/buckets"
	"github.com/kagimori/kagimori/internal/eventindex"
	"github.com/kagimori/kagimori/internal/journal"
	"github.com/kagimori/kagimori/internal/store"
)

const (
	// interval is how often log files are delivered, if there are events.
	interval = 5 * time.Minute
	// batch is how many bytes of records are delivered at once, in one file for each
	// account and Region.
	batch = 8 << 20
	// putTimeout is how long a bucket may take for one object.
	putTimeout = time.Minute
	// maxRetry is the longest time until a failed delivery is tried again, minRetry the first.
	minRetry, maxRetry = time.Second, time.Minute
)

// fileKind is of store records of log files that were delivered and are in no digest yet.
// Their id is the trail's name, account, Region and the number of the first record.
const fileKind = "trail-file"

// stateRecord is how far a trail has come.
type stateRecord struct {
	// Active trails have something to deliver: they log, or were stopped and are not at
	// their end yet.
	Active bool `json:"active,omitempty"`
	// Next is the number of the first record that was not looked at.
	Next uint64 `json:"next"`
	// Last is the number of the last record for a trail that was stopped.
	Last uint64 `json:"last,omitempty"`
	// Gaps are the first and last numbers of records of times when the trail was stopped,
	// if it was started again before it had come to its end.
	Gaps [][2]uint64 `json:"gaps,omitempty"`
	// Digests are by account and Region what the next digest file goes on from.
	Digests   map[source]digested `json:"digests,omitempty"`
	Delivered time.Time           `json:"delivered,omitzero"`
	Digested  time.Time           `json:"digested,omitzero"`
}

// source is an account and a Region, as ACCOUNT/REGION: one log file has the events of one.
type source string

// file is a log file that was delivered.
type file struct {
	Bucket    string    `json:"bucket"`
	Key       string    `json:"key"`
	Hash      string    `json:"hash"` // SHA-256 in hexadecimal, of the content before it was compressed
	Oldest    time.Time `json:"oldest"`
	Newest    time.Time `json:"newest"`
	Delivered time.Time `json:"delivered"`
}

func statePlace(p store.Place) store.Place { p.Kind = stateKind; return p }

// getState is how far a trail has come; nil if it never logged.
func getState(r store.Reader, p store.Place) (*stateRecord, uint64, error) {
	rec, err := r.Get(statePlace(p))
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	st := new(stateRecord)
	return st, rec.Revision, json.Unmarshal(rec.Value, st)
}

// begin has a trail deliver what is recorded from now on.
func (s *Service) begin(tx store.Tx, t *trail) error {
	st, revision, err := getState(tx, t.place)
	if err != nil {
		return err
	}
	if st == nil {
		st = new(stateRecord)
	}
	now := s.Trail.LastSeq()
	if st.Active {
		st.Gaps = append(st.Gaps, [2]uint64{st.Last + 1, now})
	} else {
		st.Next, st.Digests, st.Gaps = now+1, nil, nil
	}
	st.Active, st.Last = true, 0
	return put(tx, statePlace(t.place), st, revision)
}

// end has a trail deliver no more than what was recorded until now.
func (s *Service) end(tx store.Tx, t *trail) error {
	st, revision, err := getState(tx, t.place)
	if err != nil || st == nil {
		return err
	}
	st.Last = s.Trail.LastSeq()
	return put(tx, statePlace(t.place), st, revision)
}

// forget removes what there is besides a trail itself.
func forget(tx store.Tx, p store.Place) error {
	if rec, err := tx.Get(statePlace(p)); err == nil {
		if err := tx.Delete(rec.Place, rec.Revision); err != nil {
			return err
		}
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return eachFile(tx, p, "", func(rec store.Record) error { return tx.Delete(rec.Place, rec.Revision) })
}

// errEnough ends a scan.
var errEnough = errors.New("enough")

// eachFile gives the log files of a trail, or of one of its sources, to fn.
func eachFile(r store.Reader, p store.Place, from source, fn func(store.Record) error) error {
	prefix := p.ID + "/" + string(from)
	err := r.Scan(fileKind, p.Account, p.Region, prefix, 0, func(rec store.Record) error {
		if len(rec.ID) < len(prefix) || rec.ID[:len(prefix)] != prefix {
			return errEnough
		}
		return fn(rec)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// courier delivers for one trail.
type courier struct {
	s     *Service
	place store.Place
	wake  chan struct{}

	status status // under s.mu
	failed string // what was last logged
}

// status is how deliveries go.
type status struct {
	attempted, delivered, digested time.Time
	err, digestErr                 string // codes; empty after a success
}

// status is that of a trail.
func (s *Service) status(ctx context.Context, p store.Place) (status, error) {
	var st *stateRecord
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		st, _, err = getState(r, p)
		return err
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	var out status
	if c := s.couriers[p]; c != nil {
		out = c.status
	}
	if st != nil {
		out.delivered, out.digested = st.Delivered, st.Digested
	}
	return out, err
}

// Start sets the deliveries going.
func (s *Service) Start() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.done.Go(func() {
		for {
			if err := s.dispatch(ctx); err != nil && ctx.Err() == nil {
				s.Log.Error("trails cannot be read", "error", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-s.changed:
			case <-s.Clock.After(interval):
			}
		}
	})
}

// Close stops the deliveries. What was not delivered yet will be after the next start.
func (s *Service) Close() {
	s.stop()
	s.done.Wait()
}

// wake tells that a trail was changed.
func (s *Service) wake() { nudge(s.changed) }

// nudge wakes who waits for a channel that holds one.
func nudge(waiting chan struct{}) {
	select {
	case waiting <- struct{}{}:
	default:
	}
}

// dispatch has a courier for each active trail, and wakes those that there are.
func (s *Service) dispatch(ctx context.Context) error {
	var active []store.Place
	err := s.Store.View(ctx, func(r store.Reader) error {
		all, err := allTrails(r)
		for _, t := range all {
			st, _, err := getState(r, t.place)
			if err != nil {
				return err
			}
			if st != nil && st.Active {
				active = append(active, t.place)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range active {
		if s.couriers[p] == nil {
			c := &courier{s: s, place: p, wake: make(chan struct{}, 1)}
			s.couriers[p] = c
			s.done.Go(func() { c.run(ctx) })
		}
	}
	for _, c := range s.couriers {
		nudge(c.wake)
	}
	return nil
}

// run delivers until the trail is at its end.
func (c *courier) run(ctx context.Context) {
	defer func() {
		c.s.mu.Lock()
		delete(c.s.couriers, c.place)
		c.s.mu.Unlock()
		c.s.wake() // it may have been started again meanwhile
	}()
	retry := minRetry
	for {
		wait, err := c.round(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, errEnded):
			return
		case err != nil:
			if text := err.Error(); text != c.failed {
				c.failed = text
				c.s.Log.Warn("a trail cannot deliver; it will be tried again", "trail", trailARN(c.place.Account, c.place.Region, c.place.ID), "error", err)
			}
			wait, retry = retry, min(2*retry, maxRetry)
		default:
			c.failed, retry = "", minRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-c.s.Clock.After(wait):
		}
	}
}

// errEnded says that there is nothing to do for a trail any more.
var errEnded = errors.New("the trail has ended")

// load is the trail and how far it has come.
func (c *courier) load(ctx context.Context) (t *trail, st *stateRecord, err error) {
	err = c.s.Store.View(ctx, func(r store.Reader) error {
		if t, err = getTrail(r, c.place); awserr.Is(err, awserr.TrailNotFound) {
			return errEnded
		} else if err != nil {
			return err
		}
		st, _, err = getState(r, c.place)
		if err == nil && (st == nil || !st.Active) {
			err = errEnded
		}
		return err
	})
	return t, st, err
}

// update changes how far the trail has come, and stores that if fn changes anything.
func (c *courier) update(ctx context.Context, fn func(store.Tx, *stateRecord) error) error {
	return c.s.Store.Update(ctx, func(tx store.Tx) error {
		st, revision, err := getState(tx, c.place)
		if err != nil {
			return err
		}
		if st == nil || !st.Active {
			return errEnded
		}
		before, err := json.Marshal(st)
		if err != nil {
			return err
		}
		if err := fn(tx, st); err != nil {
			return err
		}
		if after, err := json.Marshal(st); err != nil || bytes.Equal(before, after) {
			return err
		}
		return put(tx, statePlace(c.place), st, revision)
	})
}

// round delivers all that is there, and tells when to look again.
func (c *courier) round(ctx context.Context) (wait time.Duration, err error) {
	t, st, err := c.load(ctx)
	if err != nil {
		return 0, err
	}
	last := c.s.Trail.LastSeq()
	ends := st.Last != 0
	if ends {
		last = min(last, st.Last)
	}
	for st.Next <= last {
		err := c.deliver(ctx, t, st, last)
		c.note(func(n *status) { n.attempted, n.err = c.s.Clock.Now(), code(err) })
		if err != nil {
			return 0, err
		}
	}
	due, err := c.digests(ctx, t, ends)
	c.note(func(n *status) { n.digestErr = code(err) })
	if err != nil {
		return 0, err
	}
	if ends {
		if err := c.update(ctx, func(_ store.Tx, st *stateRecord) error {
			st.Active = st.Last == 0 // it may have been started again
			return nil
		}); err != nil {
			return 0, err
		}
		return 0, nil // and find that it has ended
	}
	return min(interval, due), nil
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return buckets.Code(err)
}

func (c *courier) note(fn func(*status)) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	fn(&c.status)
}

// load is what goes into one log file.
type load struct {
	first          uint64    // number of the first record
	begin          time.Time // when it was made, which is after oldest where the clock was put back
	records        []byte    // with commas between
	oldest, newest time.Time
}

// deliver delivers one batch of the records up to last, and moves st on.
func (c *courier) deliver(ctx context.Context, t *trail, st *stateRecord, last uint64) error {
	loads := map[source]*load{}
	next, size := st.Next, 0
	for e, err := range journal.ReadSince(c.s.JournalDir, st.Next) {
		if err != nil {
			return err
		}
		if next == st.Next && e.Seq > next {
			c.s.Log.Error("records were moved away before a trail delivered them", "trail", t.arn(), "first", next, "last", e.Seq-1)
		}
		if e.Seq > last || size >= batch {
			break
		}
		next = e.Seq + 1
		event, ok := eventindex.Parse(e.Record)
		inGap := func(gap [2]uint64) bool { return gap[0] <= e.Seq && e.Seq <= gap[1] }
		if !ok || slices.ContainsFunc(st.Gaps, inGap) || !t.selects(event, e.Record) {
			continue
		}
		from := source(event.Account + "/" + event.Region)
		l := loads[from]
		if l == nil {
			l = &load{first: e.Seq, begin: event.Time, oldest: event.Time, newest: event.Time}
			loads[from] = l
		} else {
			l.records = append(l.records, ',')
		}
		l.records = append(l.records, e.Record...)
		size += len(e.Record)
		if event.Time.Before(l.oldest) {
			l.oldest = event.Time
		}
		if event.Time.After(l.newest) {
			l.newest = event.Time
		}
	}
	if next == st.Next { // only if the journal has lost its end
		return fmt.Errorf("record %d cannot be read", next)
	}
	files := map[source]*file{}
	for _, from := range slices.Sorted(maps.Keys(loads)) {
		f, err := c.putLog(ctx, t, from, loads[from])
		if err != nil {
			return err
		}
		files[from] = f
	}
	return c.update(ctx, func(tx store.Tx, now *stateRecord) error {
		now.Next = next
		now.Gaps = slices.DeleteFunc(now.Gaps, func(gap [2]uint64) bool { return gap[1] < next })
		for from, f := range files {
			now.Delivered = f.Delivered
			if !t.Validation {
				continue
			}
			p := store.Place{Kind: fileKind, Account: t.place.Account, Region: t.place.Region, ID: fmt.Sprintf("%s/%s/%020d", t.place.ID, from, loads[from].first)}
			rec, err := tx.Get(p)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if err := put(tx, p, f, rec.Revision); err != nil {
				return err
			}
		}
		*st = *now
		return nil
	})
}

// folder is where the files of a kind lie, for the day of a time.
func (c *courier) folder(ctx context.Context, t *trail, from source, kind string, day time.Time) (string, error) {
	account, region := path.Split(string(from))
	organization := ""
	if t.Organization {
		m, err := c.s.Membership(ctx, t.place.Account)
		if err != nil {
			return "", err
		}
		organization = m.OrgID
	}
	return path.Join(t.Prefix, "AWSLogs", organization, account, kind, region, day.UTC().Format("2006/01/02")), nil
}

// putLog delivers a log file. Its name follows from its first record alone, so that another
// try, which may find more records, has the same one.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-find-log-files.html
func (c *courier) putLog(ctx context.Context, t *trail, from source, l *load) (*file, error) {
	folder, err := c.folder(ctx, t, from, "CloudTrail", l.begin)
	if err != nil {
		return nil, err
	}
	account, region := path.Split(string(from))
	unique := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", t.arn(), from, l.first))
	content := slices.Concat([]byte(`{"Records":[`), l.records, []byte(`]}`))
	hash := sha256.Sum256(content)
	f := &file{Bucket: t.Bucket, Hash: hex.EncodeToString(hash[:]), Oldest: l.oldest, Newest: l.newest,
		Key: path.Join(folder, fmt.Sprintf("%s_CloudTrail_%s_%s_%s.json.gz", path.Clean(account), region, l.begin.UTC().Format("20060102T1504Z"), base32.StdEncoding.EncodeToString(unique[:10])))}
	if err := c.put(ctx, f.Bucket, f.Key, content, nil); err != nil {
		return nil, err
	}
	f.Delivered = c.s.Clock.Now()
	return f, nil
}

// put puts an object, compressed.
func (c *courier) put(ctx context.Context, bucket, key string, content []byte, metadata map[string]string) error {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(content)
	if err := cmp.Or(err, z.Close()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	if err := c.s.Buckets.Put(ctx, &buckets.Object{Bucket: bucket, Key: key, Content: b.Bytes(), Metadata: metadata}); err != nil {
		return fmt.Errorf("s3://%s/%s: %w", bucket, key, err)
	}
	return nil
}
