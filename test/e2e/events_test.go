package e2e

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// hook is a webhook that counts the events it gets, by their requestID.
type hook struct {
	*httptest.Server
	targets string // file of event targets with it, by the name of hook
	mu      sync.Mutex
	got     map[string]int
}

func newHook(t *testing.T, file string) *hook {
	t.Helper()
	h := &hook{got: map[string]int{}, targets: file}
	h.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e struct{ Detail struct{ RequestID string } }
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &e)
		}
		if err != nil || r.Header.Get("Webhook-Signature") == "" || r.Header.Get("Authorization") != "Bearer x" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got[e.Detail.RequestID]++
	}))
	h.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that are killed
	h.StartTLS()
	t.Cleanup(h.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	check(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw}), 0o600))
	check(t, os.WriteFile(file, fmt.Appendf(nil, `{"webhooks": {"hook": {"url": "%s/kms", "ca": %q, "headers": {"Authorization": "Bearer x"}}},
		"commands": {"note": {"run": ["/usr/bin/tee", %q]}}}`, h.URL, ca, file+".noted"), 0o600))
	return h
}

func (h *hook) count(requestID string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.got[requestID]
}

// TestEvents has `aws events` and `kagimori alarms` set up what is done when something
// happens, and looks whether it is.
func TestEvents(t *testing.T) {
	skipWithout(t, "python")
	t.Parallel()
	h := newHook(t, filepath.Join(t.TempDir(), "targets.json"))
	s := serve(t, filepath.Join(t.TempDir(), "data"), setup{args: []string{"--event-targets", h.targets}})
	defer s.stop(t)
	script, err := filepath.Abs("testdata/events.py")
	check(t, err)
	t.Log(use(t, s, t.TempDir(), "python", script, binary(t, released), h.targets+".noted"))
	if len(h.got) == 0 {
		t.Error("the webhook got nothing")
	}
}

// TestKillEvents kills the server over and over while keys are changed. Each change that was
// acknowledged arrives at the webhook.
func TestKillEvents(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	h := newHook(t, filepath.Join(t.TempDir(), "targets.json"))
	dir := filepath.Join(t.TempDir(), "data")
	how := setup{args: []string{"--event-targets", h.targets}}
	s := serve(t, dir, how)
	c := eventbridge.New(eventbridge.Options{Region: s.variable("AWS_REGION"), BaseEndpoint: &s.endpoint, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(s.variable("AWS_ACCESS_KEY_ID"), s.variable("AWS_SECRET_ACCESS_KEY"), "")})
	_, err := c.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: aws.String("r"), EventPattern: aws.String(`{"detail":{"eventName":["TagResource"]}}`)})
	check(t, err)
	_, err = c.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: aws.String("r"), Targets: []types.Target{{Id: aws.String("1"), Arn: aws.String("arn:aws:kagimori:::webhook/hook")}}})
	check(t, err)
	made, err := s.client(nil).CreateKey(t.Context(), &kms.CreateKeyInput{})
	check(t, err)
	key := *made.KeyMetadata.KeyId
	var acknowledged []string
	for range rounds(6, 60) {
		var group sync.WaitGroup
		var mu sync.Mutex
		for range 4 {
			group.Go(func() {
				for n := 0; ; n++ {
					out, err := s.client(nil).TagResource(t.Context(), &kms.TagResourceInput{KeyId: &key, Tags: []kmstypes.Tag{{TagKey: aws.String(fmt.Sprint(rand.IntN(10))), TagValue: aws.String(fmt.Sprint(n))}}})
					if err != nil {
						return // it was killed
					}
					id, _ := middleware.GetRequestIDMetadata(out.ResultMetadata)
					mu.Lock()
					acknowledged = append(acknowledged, id)
					mu.Unlock()
				}
			})
		}
		time.Sleep(200*time.Millisecond + time.Duration(rnd.Int64N(int64(400*time.Millisecond))))
		s.kill()
		group.Wait()
		s = serve(t, dir, how)
	}
	missing := 0
	for end := time.Now().Add(stuck); ; time.Sleep(50 * time.Millisecond) {
		missing = 0
		for _, id := range acknowledged {
			if h.count(id) == 0 {
				missing++
			}
		}
		if missing == 0 || time.Now().After(end) {
			break
		}
	}
	if missing > 0 || len(acknowledged) < 50 {
		t.Errorf("of %d changes %d never arrived\n%s", len(acknowledged), missing, s)
	}
	again := 0
	h.mu.Lock()
	for _, n := range h.got {
		again += n - 1
	}
	h.mu.Unlock()
	t.Logf("%d changes; %d events arrived more than once", len(acknowledged), again)
	s.stop(t)
}
