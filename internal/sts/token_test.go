package sts

import (
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/store/storetest"
)

// FuzzOpen: nothing that is not an unchanged token opens.
func FuzzOpen(f *testing.F) {
	s := New(Config{Sealer: storetest.NewSealer()})
	given, err := s.issue(&tokenRecord{Type: api.AssumedRole, Account: "111122223333", ID: "AROAX:s"}, time.Unix(1_700_000_000, 0), time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(*given.AccessKeyId, *given.SessionToken)
	f.Add(*given.AccessKeyId, "")
	f.Add("", *given.SessionToken)
	f.Fuzz(func(t *testing.T, id, token string) {
		ses, err := s.open(id, token)
		if err == nil && (id != *given.AccessKeyId || token != *given.SessionToken || ses.principal.ID != "AROAX:s") {
			t.Errorf("%q opens with %q", token, id)
		}
	})
}

func TestAccessKeyID(t *testing.T) {
	for _, account := range []string{"000000000000", "000000000001", "111122223333", "999999999999"} {
		for range 100 {
			id := newAccessKeyID(account)
			if got, ok := accountOf(id); !ok || got != account || len(id) != 20 {
				t.Fatalf("%s says account %s, want %s", id, got, account)
			}
		}
	}
	for _, id := range []string{"", "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPL", "ASIA0000000000000000", "ASIA////////////////"} {
		if account, ok := accountOf(id); ok {
			t.Errorf("%q says account %s", id, account)
		}
	}
}
