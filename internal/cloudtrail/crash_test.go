package cloudtrail_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/kagimoritest"
)

// objects is as much of an S3 server as a trail needs, in memory.
type objects struct {
	t  testing.TB
	mu sync.Mutex
	// all are the objects by path, compressed.
	all map[string][]byte
	// around is called before and after each object is stored.
	around func(all map[string][]byte)
}

func (o *objects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut {
		return
	}
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return // the server was stopped meanwhile
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.around != nil {
		o.around(o.all)
	}
	o.all[r.URL.Path] = content
	if o.around != nil {
		o.around(o.all)
	}
}

// read decodes the objects whose path has match in it.
func read[T any](o *objects, match string) map[string]T {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string]T{}
	for path, content := range o.all {
		if !strings.Contains(path, match) {
			continue
		}
		var v T
		z, err := gzip.NewReader(bytes.NewReader(content))
		if err == nil {
			err = json.NewDecoder(z).Decode(&v)
		}
		if err != nil {
			o.t.Fatalf("%s: %v", path, err)
		}
		out[path] = v
	}
	return out
}

type logFile struct{ Records []struct{ EventID string } }

type digestFile struct {
	DigestEndTime          string
	PreviousDigestS3Object *string
	LogFiles               []struct{ S3Object string }
}

// TestCrash copies the data folder before and after each object is stored, as a crash leaves
// it, and starts a server on each copy. In the end every record is in the log files, each of
// them is in one digest, and the digests are one chain.
func TestCrash(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	type crash struct {
		dir     string
		objects map[string][]byte
	}
	var crashes []crash
	serve := func(o *objects, dir string) *kagimoritest.Server {
		t.Helper()
		s3 := httptest.NewServer(o)
		t.Cleanup(s3.Close)
		return kagimoritest.Start(t, kagimoritest.Buckets(s3.URL), func(s *kagimoritest.Server) {
			if dir != "" {
				s.Dir = dir
			}
		})
	}
	// finish does more, stops the trail, and checks what was delivered.
	finish := func(o *objects, srv *kagimoritest.Server) {
		t.Helper()
		apitest.Must[*kms.CreateKeyOutput](t)(srv.KMS(region).CreateKey(ctx, &kms.CreateKeyInput{}))
		srv.Advance(1234 * time.Second)
		apitest.Must[*cloudtrail.StopLoggingOutput](t)(srv.Root().CloudTrail(region).StopLogging(ctx, &cloudtrail.StopLoggingInput{Name: aws.String("main")}))
		for range 2000 {
			ended := false
			for _, d := range read[digestFile](o, "/CloudTrail-Digest/") {
				ended = ended || !strings.HasSuffix(d.DigestEndTime, ":00:00Z")
			}
			if ended {
				break
			}
			srv.Advance(time.Second)
			time.Sleep(5 * time.Millisecond)
		}
		delivered, listed, previous := map[string]bool{}, map[string]int{}, map[string]int{}
		logs := read[logFile](o, "/CloudTrail/")
		for _, f := range logs {
			for _, r := range f.Records {
				delivered[r.EventID] = true
			}
		}
		first := 0
		for _, d := range read[digestFile](o, "/CloudTrail-Digest/") {
			if d.PreviousDigestS3Object == nil {
				first++
			} else {
				previous[*d.PreviousDigestS3Object]++
			}
			for _, l := range d.LogFiles {
				listed["/audit/"+l.S3Object]++
			}
		}
		logging := false
		for _, r := range srv.Records() {
			logging = logging && r["eventName"] != "StopLogging"
			if logging && r["awsRegion"] == region && !delivered[r["eventID"].(string)] {
				t.Errorf("not delivered: %v", r)
			}
			logging = logging || r["eventName"] == "StartLogging"
		}
		for path := range logs {
			if listed[path] != 1 {
				t.Errorf("%s is in %d digests", path, listed[path])
			}
		}
		if len(logs) != len(listed) || first != 1 {
			t.Errorf("%d log files, %d in digests, of which %d are the first", len(logs), len(listed), first)
		}
		for path, n := range previous {
			if n != 1 {
				t.Errorf("%d digests follow %s", n, path)
			}
		}
	}

	o := &objects{t: t, all: map[string][]byte{}}
	srv := serve(o, "")
	apitest.Must[*cloudtrail.CreateTrailOutput](t)(srv.Root().CloudTrail(region).CreateTrail(ctx, &cloudtrail.CreateTrailInput{
		Name: aws.String("main"), S3BucketName: aws.String("audit"), EnableLogFileValidation: aws.Bool(true)}))
	o.around = func(all map[string][]byte) {
		dir := t.TempDir()
		err := os.CopyFS(dir, os.DirFS(srv.Dir))
		if err == nil {
			err = os.Chmod(datadir.RootKeyFile(dir), 0o600) // CopyFS does not keep the mode
		}
		if err != nil {
			t.Error(err)
		}
		crashes = append(crashes, crash{dir, maps.Clone(all)})
	}
	apitest.Must[*cloudtrail.StartLoggingOutput](t)(srv.Root().CloudTrail(region).StartLogging(ctx, &cloudtrail.StartLoggingInput{Name: aws.String("main")}))
	stored := func() int {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.all)
	}
	for hour := range 2 {
		for stored() < 3*hour+2 {
			apitest.Must[*kms.CreateKeyOutput](t)(srv.KMS(region).CreateKey(ctx, &kms.CreateKeyInput{}))
			n := stored()
			for i := 0; i < 500 && stored() == n; i++ {
				srv.Advance(time.Second)
				time.Sleep(5 * time.Millisecond)
			}
		}
		srv.Advance(time.Hour)
	}
	finish(o, srv)
	o.around = nil
	if len(crashes) < 12 {
		t.Errorf("only %d crashes", len(crashes))
	}
	for i, c := range crashes {
		if _, err := os.Stat(filepath.Join(c.dir, "lock")); err != nil {
			t.Fatal(err)
		}
		again := &objects{t: t, all: c.objects}
		srv := serve(again, c.dir)
		status := apitest.Must[*cloudtrail.GetTrailStatusOutput](t)(srv.Root().CloudTrail(region).GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: aws.String("main")}))
		if *status.IsLogging {
			srv.Advance(3*time.Hour - time.Minute*11)
			finish(again, srv)
		}
		srv.Stop()
		if t.Failed() {
			t.Fatalf("crash %d", i)
		}
	}
}
