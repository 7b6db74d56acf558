//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"golang.org/x/sys/unix"
)

// floorBinary is the floor, built once for all tests.
var floorBinary string

// TestMain makes this binary a small stand-in for the server when it is started
// as one, so that a whole run is tested in about a second.
func TestMain(m *testing.M) {
	if len(os.Args) == 6 && os.Args[1] == "serve" {
		log.Fatal(http.ListenAndServe(os.Args[5], newStandIn(os.Getenv("STANDIN_FAULT"))))
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		log.Fatal(err)
	}
	floorBinary = filepath.Join(dir, "floor")
	if err := build(context.Background(), "..", floorBinary, "./bench/floor"); err != nil {
		log.Fatal(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// standIn does what the measured operations need, and checks signatures. Its
// fault is what a broken server might do.
type standIn struct {
	fault string
	aead  cipher.AEAD
	calls atomic.Int64
}

func newStandIn(fault string) http.Handler {
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		log.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		log.Fatal(err)
	}
	s := &standIn{fault: fault, aead: aead}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if fault == "unready" {
			fmt.Println("the disk is full")
			os.Exit(1)
		}
	})
	mux.HandleFunc("POST /", s.serve)
	return mux
}

func (s *standIn) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || !s.signed(r, body) {
		http.Error(w, "InvalidSignatureException", http.StatusBadRequest)
		return
	}
	var in struct {
		Plaintext, CiphertextBlob []byte
		EncryptionContext         map[string]string
	}
	if err := json.Unmarshal(body, &in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	context, err := json.Marshal(in.EncryptionContext)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var out any
	switch operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService."); operation {
	case "CreateKey":
		out = map[string]any{"KeyMetadata": map[string]string{"KeyId": "11111111-2222-3333-4444-555555555555"}}
	case "Encrypt":
		out = map[string]any{"CiphertextBlob": s.aead.Seal(nil, nil, in.Plaintext, context)}
	case "Decrypt":
		plaintext, err := s.aead.Open(nil, nil, in.CiphertextBlob, context)
		if err != nil {
			http.Error(w, "InvalidCiphertextException", http.StatusBadRequest)
			return
		}
		if s.fault == "wrong plaintext" {
			clear(plaintext)
		}
		out = map[string]any{"Plaintext": plaintext}
	case "GenerateDataKey":
		plaintext := make([]byte, 32)
		rand.Read(plaintext)
		out = map[string]any{"CiphertextBlob": s.aead.Seal(nil, nil, plaintext, context), "Plaintext": plaintext}
	default:
		http.Error(w, "UnknownOperationException", http.StatusBadRequest)
		return
	}
	encoded, err := json.Marshal(out)
	// Setting up and checking make less than 400 calls: these are faults under load.
	if n := s.calls.Add(1); n > 400 {
		switch s.fault {
		case "error under load":
			http.Error(w, "KMSInternalException", http.StatusInternalServerError)
			return
		case "short answer under load":
			encoded = []byte("{}")
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Write(encoded)
}

// signed reports whether the request is signed with the environment's credentials.
func (s *standIn) signed(r *http.Request, body []byte) bool {
	if s.fault == "signatures not checked" {
		return true
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return false
	}
	again, err := http.NewRequest("POST", "http://"+r.Host+"/", bytes.NewReader(body))
	if err != nil {
		return false
	}
	again.Header = r.Header.Clone()
	again.Header.Del("Authorization")
	hash := sha256.Sum256(body)
	creds := aws.Credentials{
		AccessKeyID:     os.Getenv("KAGIMORI_ROOT_ACCESS_KEY_ID"),
		SecretAccessKey: os.Getenv("KAGIMORI_ROOT_SECRET_ACCESS_KEY"),
	}
	err = v4.NewSigner().SignHTTP(r.Context(), creds, again, hex.EncodeToString(hash[:]), "kms", "us-east-1", at)
	return err == nil && again.Header.Get("Authorization") == r.Header.Get("Authorization")
}

// testConfig measures the stand-in for a moment.
func testConfig(t *testing.T, ops, conns string) config {
	t.Helper()
	cfg := config{
		server:   os.Args[0],
		floor:    floorBinary,
		data:     t.TempDir(),
		rounds:   2,
		warm:     10 * time.Millisecond,
		duration: 40 * time.Millisecond,
	}
	if err := cfg.parse(ops, conns); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestRun(t *testing.T) {
	cfg := testConfig(t, "Encrypt,Decrypt,GenerateDataKey", "1,8")
	cfg.json = filepath.Join(t.TempDir(), "figures.json")
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(t.Context(), cfg, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kernel", "cpu", "fdatasync", "pinning", "GenerateDataKey     8", "a/b"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	var now unix.CPUSet
	if err := unix.SchedGetaffinity(0, &now); err != nil || now != allowed {
		t.Errorf("after the run the process may use %v, before %v (%v)", now, allowed, err)
	}
	if left, err := os.ReadDir(cfg.data); err != nil || len(left) != 0 {
		t.Errorf("the run left %v (%v)", left, err)
	}

	encoded, err := os.ReadFile(cfg.json)
	if err != nil {
		t.Fatal(err)
	}
	var figures struct {
		AnswerBytes map[string]int
		Cells       []cell
	}
	if err := json.Unmarshal(encoded, &figures); err != nil {
		t.Fatal(err)
	}
	if len(figures.Cells) != 6 || figures.AnswerBytes["Decrypt"] == 0 {
		t.Errorf("figures are not whole: %s", encoded)
	}
	for _, c := range figures.Cells {
		if len(c.Server) != 2 || len(c.Floor) != 2 {
			t.Fatalf("%s at %d: %d and %d rounds", c.Operation, c.Connections, len(c.Server), len(c.Floor))
		}
		for _, f := range append(c.Server, c.Floor...) {
			if f.OpsPerSecond <= 0 || f.P50Micros <= 0 || f.P99Micros < f.P50Micros || f.PeakMiB <= 0 {
				t.Errorf("%s at %d: %+v", c.Operation, c.Connections, f)
			}
		}
	}
}

// A server that does not do the work, or fails at it, gets no figures.
func TestRunFails(t *testing.T) {
	for fault, want := range map[string]string{
		"wrong plaintext":         "Decrypt did not return",
		"signatures not checked":  "a wrong signature was answered 200",
		"error under load":        "answered 500: KMSInternalException",
		"short answer under load": "an answer has 2 bytes",
		"unready":                 "the disk is full",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Setenv("STANDIN_FAULT", fault)
			var out strings.Builder
			cfg := testConfig(t, "Encrypt", "2")
			cfg.duration = 10 * time.Second // ends with the fault, also on a slow machine
			err := run(t.Context(), cfg, &out)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got error %v, want one with %q", err, want)
			}
			if strings.Contains(out.String(), "a/b") {
				t.Error("figures were printed")
			}
		})
	}
}

func TestRunIsInterrupted(t *testing.T) {
	cfg := testConfig(t, "Encrypt", "2")
	cfg.duration = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := run(ctx, cfg, writerFunc(func(printed []byte) (int, error) {
		if bytes.HasPrefix(printed, []byte("measuring")) {
			cancel()
		}
		return len(printed), nil
	}))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted run ended with %v", err)
	}
	if left, err := os.ReadDir(cfg.data); err != nil || len(left) != 0 {
		t.Errorf("the run left %v (%v)", left, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestBare runs every primitive that calls are compared with.
func TestBare(t *testing.T) {
	for _, a := range algorithms {
		t.Run(a.operation+" "+a.spec, func(t *testing.T) {
			if testing.Short() && a.spec == "RSA_4096" {
				t.Skip("takes seconds to make a key")
			}
			once, err := a.bare()
			if err == nil {
				err = once([]byte("message"))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for _, c := range []struct {
		ops, conns string
		rounds     int
		duration   time.Duration
	}{
		{"Encrypt,", "1", 1, time.Second},
		{"Sign", "1", 1, time.Second},
		{"Encrypt", "", 1, time.Second},
		{"Encrypt", "0", 1, time.Second},
		{"Encrypt", "1 16", 1, time.Second},
		{"Encrypt", "1", 0, time.Second},
		{"Encrypt", "1", 1, 0},
		{"Encrypt", "1", 1, signatureLife},
	} {
		cfg := config{rounds: c.rounds, duration: c.duration}
		if err := cfg.parse(c.ops, c.conns); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, c := range []struct {
		sorted []time.Duration
		p      float64
		want   time.Duration
	}{
		{nil, 50, 0},
		{hundred[:1], 50, 1},
		{hundred[:1], 99, 1},
		{hundred[:2], 50, 1},
		{hundred[:2], 51, 2},
		{hundred[:3], 50, 2},
		{hundred, 0, 1},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 99.5, 100},
		{hundred, 100, 100},
	} {
		if got := percentile(c.sorted, c.p); got != c.want {
			t.Errorf("percentile %v of %d values is %d, want %d", c.p, len(c.sorted), got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{4, 1}, 2.5},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

// Ratios pair figures of one round, never medians of different moments.
func TestRatios(t *testing.T) {
	c := cell{
		Server: []figures{{OpsPerSecond: 50, CPUMicros: 20}, {OpsPerSecond: 10, CPUMicros: 80}},
		Floor:  []figures{{OpsPerSecond: 100, CPUMicros: 10}, {OpsPerSecond: 40, CPUMicros: 20}},
	}
	ops, cpu := c.ratios()
	if !slices.Equal(ops, []float64{0.5, 0.25}) || !slices.Equal(cpu, []float64{0.5, 0.25}) {
		t.Errorf("ratios are %v by ops/s and %v by CPU", ops, cpu)
	}
}

func TestProcessTime(t *testing.T) {
	stat := "1234 (a b) c) S 1 1234 1234 0 -1 4194560 1 0 0 0 150 50 7 7 20 0 9 0 100 1 1\n"
	if got, err := processTime([]byte(stat)); err != nil || got != 2*time.Second {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "1 (x)", "1 (x) S 1 1 1 0 -1 1 1 0 0 0 a b"} {
		if _, err := processTime([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestCoreTime(t *testing.T) {
	stat := "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 9 9 9 9 9 9 9 9 0 0\ncpu10 100 10 20 5000 600 3 4 63 50 0\n"
	if got, err := coreTime([]byte(stat), 10); err != nil || got != 2*time.Second {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := coreTime([]byte(stat), 2); err == nil {
		t.Error("a CPU that is not there was accepted")
	}
}
