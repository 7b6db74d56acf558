package eventindex

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/journal"
)

var ctx = context.Background()

// begin is the time of the first event.
var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is a journal with an index over it.
type fixture struct {
	t      testing.TB
	dir    string
	seg    int64
	j      *journal.Journal
	x      *Index
	events []*Event // of all records, by number
	log    bytes.Buffer
}

func newFixture(t testing.TB, segmentSize int64) *fixture {
	f := &fixture{t: t, dir: t.TempDir(), seg: segmentSize, events: []*Event{nil}}
	f.open()
	t.Cleanup(f.close)
	return f
}

func (f *fixture) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) journalDir() string { return filepath.Join(f.dir, "journal") }
func (f *fixture) indexDir() string   { return filepath.Join(f.dir, "index") }

func (f *fixture) open() {
	f.t.Helper()
	var err error
	f.j, _, err = journal.Open(f.journalDir(), journal.Options{SegmentSize: f.seg, MaxRecord: 4 << 10})
	f.check(err)
	f.log.Reset()
	f.x = Start(Config{Dir: f.indexDir(), JournalDir: f.journalDir(), LastSeq: f.j.LastSeq, Log: slog.New(slog.NewTextHandler(&f.log, nil))})
}

func (f *fixture) close() {
	f.t.Helper()
	f.x.Close()
	f.check(f.j.Close())
	if f.log.Len() > 0 {
		f.t.Error(f.log.String())
	}
}

// write records an event, nil for a record that is none.
func (f *fixture) write(e *Event) {
	f.t.Helper()
	_, err := f.j.Append(ctx, encode(e))
	f.check(err)
	f.events = append(f.events, e)
}

// encode is an audit record of an event, with much that is none of its business.
func encode(e *Event) []byte {
	if e == nil {
		return []byte(`{"n":1,"pad":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}`)
	}
	resources := []map[string]string{}
	for _, r := range e.Resources {
		resources = append(resources, map[string]string{"accountId": e.Account, "type": r.Type, "ARN": r.ARN})
	}
	q := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	identity := map[string]any{"type": "IAMUser", "userName": e.Username, "sessionContext": map[string]any{"sessionIssuer": map[string]string{"userName": "other", "type": "Root"}}}
	if e.AccessKeyID != "" {
		identity["accessKeyId"] = e.AccessKeyID
	}
	if e.Username == "root" {
		identity["type"] = "Root"
		delete(identity, "userName")
	}
	if strings.HasPrefix(e.Username, "session") {
		identity["type"], identity["userName"], identity["principalId"] = "AssumedRole", "", "AROA:"+e.Username
	}
	return fmt.Appendf(nil, `{"eventVersion":"1.11","userIdentity":%s,"eventTime":%s,"eventSource":%s,"eventName":%s,"awsRegion":%s,"requestParameters":{"eventName":"no","encryptionContext":{"eventID":"\"eventID\":\"no\"","readOnly":"\\"}},"eventID":%s,"readOnly":%t,"resources":%s,"recipientAccountId":%s,"authorization":[{"eventID":"no"}]}`,
		q(identity), q(e.Time.Format("2006-01-02T15:04:05Z")), q(e.Source), q(e.Name), q(e.Region), q(e.ID), e.ReadOnly, q(resources), q(e.Account))
}

// random makes an event, a little out of order.
func random(r *rand.Rand, n int) *Event {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	e := &Event{
		Account: pick("111122223333", "444455556666"), Region: pick("us-east-1", "eu-central-1"), ID: fmt.Sprintf("id-%d", n),
		Time: begin.Add(time.Duration(n)*time.Second + time.Duration(r.IntN(5))*time.Second),
		Name: pick("Encrypt", "Decrypt", "CreateKey", "quote\"d", "日本"), Source: pick("kms.amazonaws.com", "iam.amazonaws.com"), ReadOnly: r.IntN(2) == 0,
		Username: pick("root", "alice", "session-1", ""), AccessKeyID: pick("AKIA1", "AKIA2", ""),
	}
	for range r.IntN(3) {
		e.Resources = append(e.Resources, Resource{pick("AWS::KMS::Key", "AWS::IAM::Role"), fmt.Sprintf("arn:%d", r.IntN(40))})
	}
	return e
}

// attributes are all that an event can be found by, with their values.
func attributes(e *Event) [][2]string {
	list := [][2]string{{"", ""}, {"EventId", e.ID}, {"EventName", e.Name}, {"ReadOnly", fmt.Sprint(e.ReadOnly)}, {"EventSource", e.Source}}
	if e.Username != "" {
		list = append(list, [2]string{"Username", e.Username})
	}
	if e.AccessKeyID != "" {
		list = append(list, [2]string{"AccessKeyId", e.AccessKeyID})
	}
	for _, r := range e.Resources {
		list = append(list, [2]string{"ResourceType", r.Type}, [2]string{"ResourceName", r.ARN})
	}
	return list
}

// want is what Find must give, by looking at all events.
func (f *fixture) want(q *Query) (ids []string) {
	has := func(e *Event) bool {
		return e.Account == q.Account && e.Region == q.Region && slices.Contains(attributes(e), [2]string{string(q.Attribute), q.Value})
	}
	for seq := len(f.events) - 1; seq > 0; seq-- {
		e := f.events[seq]
		if e != nil && (q.Before == 0 || uint64(seq) < q.Before) && has(e) && !e.Time.Before(q.From) && !e.Time.After(q.To) {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

func (f *fixture) find(q *Query, limit int) (found []Found) {
	f.t.Helper()
	f.check(f.x.Find(ctx, q, func(e Found) bool {
		if !reflect.DeepEqual(e.Event, f.events[e.Seq]) || !bytes.Equal(e.Record, encode(e.Event)) {
			f.t.Fatalf("record %d is found as %+v, want %+v", e.Seq, e.Event, f.events[e.Seq])
		}
		found = append(found, e)
		return len(found) != limit
	}))
	return found
}

// compare asks for everything in many ways, whole and in pages.
func (f *fixture) compare(r *rand.Rand) {
	f.t.Helper()
	always := Query{From: begin.Add(-time.Hour), To: begin.Add(1000 * time.Hour)}
	var queries []Query
	for range 4 {
		e := f.events[1+r.IntN(len(f.events)-1)]
		if e == nil {
			continue
		}
		for _, a := range attributes(e) {
			q := always
			q.Account, q.Region, q.Attribute, q.Value = e.Account, e.Region, Attribute(a[0]), a[1]
			queries = append(queries, q)
			q.From, q.To = e.Time.Add(-time.Duration(r.IntN(200))*time.Second), e.Time.Add(time.Duration(r.IntN(20))*time.Second)
			queries = append(queries, q)
			q.Value += "x"
			queries = append(queries, q)
		}
	}
	some := 0
	for _, q := range queries {
		want := f.want(&q)
		some += len(want)
		for _, limit := range []int{0, 50, 3} {
			var ids []string
			page := q
			for {
				found := f.find(&page, limit)
				for _, e := range found {
					ids = append(ids, e.ID)
				}
				if limit == 0 || len(found) < limit || len(ids) > len(want) || limit == 3 && len(ids) > 30 {
					break
				}
				page.Before = found[len(found)-1].Seq
			}
			if limit == 3 {
				ids, want = ids[:min(len(ids), 30)], want[:min(len(want), 30)]
			}
			if !slices.Equal(ids, want) {
				f.t.Fatalf("%+v in pages of %d: %v, want %v", q, limit, ids, want)
			}
		}
	}
	if some == 0 {
		f.t.Error("nothing was found")
	}
}

// TestFind holds answers to what looking at all records gives, through many segments and
// starts, with files lost and damaged, and with old segments moved away.
func TestFind(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	f := newFixture(t, 128<<10)
	more := func(n int) {
		for range n {
			if r.IntN(50) == 0 {
				f.write(nil)
			} else {
				f.write(random(r, len(f.events)))
			}
		}
	}
	files := func() []string {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(f.indexDir(), "*"))
		f.check(err)
		return all
	}
	again := func(change func()) {
		t.Helper()
		f.close()
		change()
		f.open()
		f.compare(r)
		segments, err := journal.Segments(f.journalDir())
		f.check(err)
		if n := len(files()); n != len(segments)-1 {
			t.Errorf("%d files of the index, %d segments", n, len(segments))
		}
	}
	more(1)
	f.compare(r)
	more(50)
	f.compare(r)
	more(1500)
	f.compare(r)
	if len(files()) < 4 {
		t.Fatalf("only %d files", len(files()))
	}
	again(func() {})
	more(300)
	again(func() { f.check(os.RemoveAll(f.indexDir())) })
	again(func() { f.check(os.Remove(files()[1])) })
	for _, at := range []int64{0, 20, 30, 45, 60, -4} {
		again(func() {
			b, err := os.ReadFile(files()[2])
			f.check(err)
			b[(at+int64(len(b)))%int64(len(b))] ^= 1
			f.check(os.WriteFile(files()[2], b, 0o600))
		})
	}
	again(func() { f.check(os.Truncate(files()[2], 1000)) })
	again(func() { f.check(os.WriteFile(files()[2]+".new", nil, 0o600)) }) // of a crash

	// The oldest segments are moved away, first under a running server.
	segments, err := journal.Segments(f.journalDir())
	f.check(err)
	for _, s := range segments[:2] {
		f.check(os.Remove(s.Path))
	}
	for i := range f.events[:segments[2].First] {
		f.events[i] = nil
	}
	f.compare(r)
	again(func() {})
}

// TestFindWhileWriting finds each event as soon as it is durable.
func TestFindWhileWriting(t *testing.T) {
	f := newFixture(t, 128<<10)
	var group errgroup.Group
	for w := range 4 {
		group.Go(func() error {
			for i := range 200 {
				e := random(rand.New(rand.NewPCG(uint64(w), uint64(i))), i)
				e.ID = fmt.Sprintf("%d-%d", w, i)
				if _, err := f.j.Append(ctx, encode(e)); err != nil {
					return err
				}
				found := 0
				err := f.x.Find(ctx, &Query{Account: e.Account, Region: e.Region, Attribute: EventID, Value: e.ID, From: begin, To: begin.Add(time.Hour)}, func(Found) bool {
					found++
					return true
				})
				if err != nil || found != 1 {
					return fmt.Errorf("%s is found %d times: %w", e.ID, found, err)
				}
			}
			return nil
		})
	}
	f.check(group.Wait())
}

// TestDiskFails has no file written for a while.
func TestDiskFails(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	f := newFixture(t, 128<<10)
	f.x.Close()
	f.check(os.RemoveAll(f.indexDir()))
	f.check(os.WriteFile(f.indexDir(), nil, 0o600))
	clk := clock.NewManual(begin)
	f.x = Start(Config{Dir: f.indexDir(), JournalDir: f.journalDir(), LastSeq: f.j.LastSeq, Clock: clk, Log: slog.New(slog.NewTextHandler(&f.log, nil))})
	f.write(random(r, 1))
	until := func(what string, done func() bool) {
		for range 3000 {
			if done() {
				return
			}
			clk.Advance(interval)
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("not %s after a long time", what)
	}
	until("told", func() bool { return f.x.Err() != nil })
	if err := f.x.Find(ctx, &Query{}, func(Found) bool { return true }); err == nil {
		t.Error("it answers without an index")
	}
	f.check(os.Remove(f.indexDir()))
	until("mended", func() bool { return f.x.Err() == nil })
	f.compare(r)
	f.log.Reset()
}

// FuzzParse holds Parse to encoding/json.
func FuzzParse(f *testing.F) {
	for i := range 10 {
		f.Add(encode(random(rand.New(rand.NewPCG(1, uint64(i))), i)))
	}
	f.Add([]byte(`{"eventID":"x","eventTime":"2026-01-01T00:00:00Z","resources":[],"a":1.5,"b":null,"c":[[],{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := Parse(b)
		if !ok || !json.Valid(b) {
			return
		}
		var compact bytes.Buffer
		if json.Compact(&compact, b) != nil || !bytes.Equal(compact.Bytes(), b) {
			return
		}
		all := map[string]json.RawMessage{}
		d := json.NewDecoder(bytes.NewReader(b))
		if d.Decode(&all) != nil {
			t.Fatalf("%s was taken for a record", b)
		}
		var id string
		for name, value := range all {
			if name == "eventID" && json.Unmarshal(value, &id) == nil && id != e.ID {
				t.Errorf("eventID is %q, want %q", e.ID, id)
			}
		}
	})
}

// BenchmarkAdd is what a record costs.
func BenchmarkAdd(b *testing.B) {
	var records [][]byte
	for i := range 1000 {
		records = append(records, encode(random(rand.New(rand.NewPCG(1, uint64(i))), i)))
	}
	var v view
	var s building
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		v.parse(records[i%len(records)])
		s.add(&v, 512)
		if i%50_000 == 0 {
			s = *s.next(0)
		}
	}
}

// BenchmarkEncode is what a segment costs in the end.
func BenchmarkEncode(b *testing.B) {
	var v view
	var s building
	for i := range 50_000 {
		v.parse(encode(random(rand.New(rand.NewPCG(1, uint64(i))), i)))
		s.add(&v, 512)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.encode()
	}
}
