package kms

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/store"
	"github.com/kagimori/kagimori/internal/store/storetest"
)

const (
	mostGrants   = 50_000
	benchAccount = "111122223333"
	benchRegion  = "eu-central-1"
)

// noMembers is a directory in which no account belongs to an organization.
type noMembers struct{ *iam.Directory }

func (noMembers) Membership(context.Context, string) (*authz.Membership, error) {
	return new(authz.Membership), nil
}

// newService is a service on the real store and journal, without a server.
func newService(t testing.TB) *Service {
	t.Helper()
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	d, err := datadir.Open(ctx, t.TempDir(), datadir.Options{Clock: clock.System(), Log: log, JournalSegmentSize: 2 << 20, NoRecovery: true, Root: iam.RootCredentials{Account: benchAccount}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close("the test ended") })
	people := noMembers{iam.NewDirectory(d.Store)}
	s, err := New(ctx, Config{Quotas: AWSQuotas(), Store: d.Store, Trail: d.Trail, Authorize: authz.New(people), Principals: people, Sealer: d.Sealer(), Clock: clock.System(), Log: log}, d.JournalDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newCall(operation string, caller api.Principal, in any) *api.Call {
	return &api.Call{Service: "kms", Operation: operation, Region: benchRegion, RequestID: newUUID(), EventID: newUUID(), Time: time.Now(), Caller: caller, Input: in}
}

var benchRoot = api.Principal{Type: api.Root, ID: benchAccount, Account: benchAccount, ARN: rootARN(benchAccount)}

// grantee is a principal to whom grants are made in these tests.
func grantee(i int) api.Principal {
	id := fmt.Sprintf("AIDAGRANTEE%06d", i)
	return api.Principal{Type: api.IAMUser, ID: id, Account: benchAccount, UserName: id, ARN: "arn:aws:iam::" + benchAccount + ":user/" + id}
}

// keyWithGrants makes a key on which n principals have a grant for Encrypt.
func keyWithGrants(t testing.TB, s *Service, n int) string {
	t.Helper()
	in := &sdk.CreateKeyInput{}
	out, err := s.CreateKey(context.Background(), newCall("CreateKey", benchRoot, in), in)
	if err != nil {
		t.Fatal(err)
	}
	for from := 0; from < n; from += 5000 {
		err := s.Store.Update(context.Background(), func(tx store.Tx) error {
			for i := from; i < min(from+5000, n); i++ {
				g := &grant{account: benchAccount, region: benchRegion, keyID: *out.KeyMetadata.KeyId, id: newGrantID(), grantRecord: grantRecord{
					Issuer: benchAccount, Grantee: grantPrincipal{Text: grantee(i).ARN, ID: grantee(i).ID}, Operations: []types.GrantOperation{"Encrypt"}}}
				if err := g.insert(tx, mostGrants); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return *out.KeyMetadata.Arn
}

func encryptAs(s *Service, key string, caller api.Principal) error {
	in := &sdk.EncryptInput{KeyId: &key, Plaintext: make([]byte, 32)}
	_, err := s.Encrypt(context.Background(), newCall("Encrypt", caller, in), in)
	return err
}

// BenchmarkEncryptByGrant encrypts by a grant, of which the key has one or 50,000:
// always by the same grantee, or by all in turn, most of whom are not in memory.
func BenchmarkEncryptByGrant(b *testing.B) {
	for _, n := range []int{1, mostGrants} {
		b.Run(fmt.Sprintf("grants=%d", n), func(b *testing.B) {
			s := newService(b)
			key := keyWithGrants(b, s, n)
			for b.Loop() {
				if err := encryptAs(s, key, grantee(n-1)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run(fmt.Sprintf("grants=%d,grantees=all", mostGrants), func(b *testing.B) {
		s := newService(b)
		key := keyWithGrants(b, s, mostGrants)
		i := 0
		for b.Loop() {
			if err := encryptAs(s, key, grantee(i%mostGrants)); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

// BenchmarkEncryptByPolicy is the same by the key policy.
func BenchmarkEncryptByPolicy(b *testing.B) {
	s := newService(b)
	key := keyWithGrants(b, s, 0)
	b.ReportAllocs()
	for b.Loop() {
		if err := encryptAs(s, key, benchRoot); err != nil {
			b.Fatal(err)
		}
	}
}

// TestGrantQuota: a key takes 50,000 grants, and all of them count.
func TestGrantQuota(t *testing.T) {
	s := newService(t)
	n := mostGrants
	if testing.Short() {
		n = 1000
	}
	key := keyWithGrants(t, s, n)
	for _, i := range []int{0, n / 2, n - 1} {
		if err := encryptAs(s, key, grantee(i)); err != nil {
			t.Errorf("grantee %d: %v", i, err)
		}
	}
	if err := encryptAs(s, key, grantee(n)); !awserr.Is(err, awserr.AccessDenied) {
		t.Errorf("somebody without a grant: %v", err)
	}
	create := func() error {
		in := &sdk.CreateGrantInput{KeyId: &key, GranteePrincipal: aws.String(rootARN(benchAccount)), Operations: []types.GrantOperation{"Encrypt"}}
		_, err := s.CreateGrant(context.Background(), newCall("CreateGrant", benchRoot, in), in)
		return err
	}
	if n == mostGrants {
		if err := create(); !awserr.Is(err, awserr.LimitExceeded) {
			t.Errorf("one grant too many: %v", err)
		}
	}
	in := &sdk.ListGrantsInput{KeyId: &key, Limit: aws.Int32(1)}
	out, err := s.ListGrants(context.Background(), newCall("ListGrants", benchRoot, in), in)
	if err != nil || len(out.Grants) != 1 {
		t.Fatalf("ListGrants gives %v, %v", out, err)
	}
	revoke := &sdk.RevokeGrantInput{KeyId: &key, GrantId: out.Grants[0].GrantId}
	if _, err := s.RevokeGrant(context.Background(), newCall("RevokeGrant", benchRoot, revoke), revoke); err != nil {
		t.Fatal(err)
	}
	if err := create(); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}

// FuzzGrantToken: nothing but an unchanged token opens.
func FuzzGrantToken(f *testing.F) {
	s := &Service{Config: Config{Sealer: storetest.NewSealer()}}
	g := &grant{account: benchAccount, region: benchRegion, keyID: newUUID(), id: newGrantID(), grantRecord: grantRecord{Grantee: grantPrincipal{ID: "AIDAX"}}}
	token := s.grantToken(g)
	f.Add(token)
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := s.openGrantToken(text)
		if err == nil && (strings.NewReplacer("\r", "", "\n", "").Replace(text) != token || p != g.place()) {
			t.Errorf("%q opens to %v", text, p)
		}
	})
}
