//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/eventindex"
	"github.com/kagimori/kagimori/internal/journal"
	"github.com/kagimori/kagimori/internal/translog"
)

const (
	recordsAccount = "111122223333"
	recordsRegion  = "eu-central-1"
	recordKeys     = 10_000 // that are used
	recordUsers    = 100
	lookups        = 5000
	page           = 50 // the largest of LookupEvents
)

// recorded is a call number i of n, which are spread evenly over the 90 days up to now.
func recorded(r *rand.Rand, i, n int, now time.Time) *api.Call {
	operation := []string{"Encrypt", "Decrypt", "Decrypt", "Decrypt", "GenerateDataKey", "DescribeKey"}[r.IntN(6)]
	user, key := r.IntN(recordUsers), recordKey(r.IntN(recordKeys))
	return &api.Call{
		Service: "kms", Operation: operation, Region: recordsRegion, ReadOnly: true,
		Caller: api.Principal{Type: api.IAMUser, ID: fmt.Sprintf("AIDA%017d", user), ARN: fmt.Sprintf("arn:aws:iam::%s:user/user-%d", recordsAccount, user),
			Account: recordsAccount, AccessKeyID: fmt.Sprintf("AKIA%016d", user), UserName: fmt.Sprintf("user-%d", user)},
		RequestID: uuid.NewString(), EventID: uuid.NewString(), Time: now.Add(-time.Duration(float64(90*24*time.Hour) * (1 - float64(i)/float64(n)))),
		SourceIP: "192.0.2.1", UserAgent: "aws-sdk-go-v2/1.42.0 ua/2.1 os/linux lang/go#1.26.8 md/GOOS#linux md/GOARCH#amd64 api/kms#1.62.2", Host: "kagimori.example:4599",
		TLS:   &api.TLS{Version: "TLSv1.3", CipherSuite: "TLS_AES_128_GCM_SHA256", KeyExchange: "X25519MLKEM768"},
		Input: &kms.EncryptInput{KeyId: aws.String(key), EncryptionContext: map[string]string{"tenant": fmt.Sprint(user)}},
		Trail: api.Trail{Resources: []api.Resource{{Account: recordsAccount, Type: "AWS::KMS::Key", ARN: key}}},
	}
}

func recordKey(i int) string {
	return fmt.Sprintf("arn:aws:kms:%s:%s:key/00000000-0000-4000-8000-%012d", recordsRegion, recordsAccount, i)
}

// measureRecords fills a journal with audit records, has the transparency log and the index
// made of it, looks events up, and verifies the log on one core.
func measureRecords(ctx context.Context, n int, dir string, out io.Writer) error {
	dir, err := os.MkdirTemp(dir, "data-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	journalDir, now := filepath.Join(dir, "journal"), time.Now()
	j, _, err := journal.Open(journalDir, journal.Options{})
	if err != nil {
		return err
	}
	defer j.Close()
	step := func(what string, did int, fn func() error) error {
		began := time.Now()
		if err := fn(); err != nil {
			return err
		}
		took := time.Since(began)
		fmt.Fprintf(out, "%-44s %8.1f s  %9.0f records/s\n", what, took.Seconds(), float64(did)/took.Seconds())
		return ctx.Err()
	}
	const writers = 256
	ids := make([]string, writers) // an event of each
	if err := step("written to the journal", n, func() error {
		var group errgroup.Group
		for w := range writers {
			group.Go(func() error {
				r := rand.New(rand.NewPCG(1, uint64(w)))
				for i := w; i < n && ctx.Err() == nil; i += writers {
					call := recorded(r, i, n, now)
					ids[w] = call.EventID
					if _, err := j.Append(ctx, audit.AppendCall(nil, call, nil)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		return group.Wait()
	}); err != nil {
		return err
	}

	log := slog.New(slog.DiscardHandler)
	secret, err := translog.NewSigner()
	if err != nil {
		return err
	}
	signer, err := translog.LoadSigner(secret)
	if err != nil {
		return err
	}
	keys, err := translog.ParseKeys(signer.Keys())
	if err != nil {
		return err
	}
	logDir := filepath.Join(dir, "transparency")
	if err := step("transparency log made", n, func() error {
		l := translog.Start(translog.Config{Dir: logDir, JournalDir: journalDir, LastSeq: j.LastSeq, Signer: signer, Log: log})
		l.Close()
		return l.Err()
	}); err != nil {
		return err
	}

	index := eventindex.Start(eventindex.Config{Dir: filepath.Join(dir, "index"), JournalDir: journalDir, LastSeq: j.LastSeq, Log: log})
	defer index.Close()
	query := func(a eventindex.Attribute, value string) *eventindex.Query {
		return &eventindex.Query{Account: recordsAccount, Region: recordsRegion, Attribute: a, Value: value, From: now.AddDate(-1, 0, 0), To: now}
	}
	if err := step("index made", n, func() error {
		return index.Find(ctx, query(eventindex.EventID, "none"), func(eventindex.Found) bool { return true })
	}); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(2, 0))
	for _, kind := range []struct {
		what  string
		query func() *eventindex.Query
	}{
		{"all", func() *eventindex.Query { return query(eventindex.Any, "") }},
		{"by EventId", func() *eventindex.Query { return query(eventindex.EventID, ids[r.IntN(writers)]) }},
		{"by EventId that is not there", func() *eventindex.Query { return query(eventindex.EventID, uuid.NewString()) }},
		{"by EventName", func() *eventindex.Query { return query(eventindex.EventName, "Decrypt") }},
		{"by Username", func() *eventindex.Query {
			return query(eventindex.Username, fmt.Sprintf("user-%d", r.IntN(recordUsers)))
		}},
		{"by ResourceName", func() *eventindex.Query { return query(eventindex.ResourceName, recordKey(r.IntN(recordKeys))) }},
	} {
		var took []time.Duration
		found := 0
		for i := range lookups {
			q := kind.query()
			if i%2 == 0 { // of one day
				q.To = now.Add(-time.Duration(r.Int64N(int64(89 * 24 * time.Hour))))
				q.From = q.To.AddDate(0, 0, -1)
			}
			began, k := time.Now(), 0
			if err := index.Find(ctx, q, func(eventindex.Found) bool { k++; return k < page }); err != nil {
				return err
			}
			took, found = append(took, time.Since(began)), found+k
		}
		slices.Sort(took)
		fmt.Fprintf(out, "looked up %-34s p50 %6.2f ms  p99 %6.2f ms  %4.1f events each\n", kind.what,
			ms(percentile(took, 50)), ms(percentile(took, 99)), float64(found)/lookups)
	}

	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	return step("transparency log verified, on one core", n, func() error {
		report, err := translog.Verify(ctx, logDir, journalDir, keys, nil, func(int64, int64) {})
		if err == nil && report.Size != int64(n) {
			err = fmt.Errorf("%d records were verified, not %d", report.Size, n)
		}
		return err
	})
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
