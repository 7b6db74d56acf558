package kms

import (
	"encoding/csv"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/awserr"
)

// TestStateTableMatchesDocs compares the table with AWS's published one, where
// the project's collection of facts is at hand.
func TestStateTableMatchesDocs(t *testing.T) {
	f, err := os.Open("../../../shared/kms-facts/key-states.csv")
	if err != nil {
		t.Skip("the collection of facts is not here")
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, c := range keyStates {
		column[string(c.state)] = i
	}
	checked := 0
	for _, r := range rows[1:] {
		operation, state, result, code := r[0], r[1], r[2], r[3]
		_, ok := stateTable[operation]
		if !ok {
			if result != "n/a" {
				t.Errorf("%s has no row", operation)
			}
			continue
		}
		if result == "n/a" {
			continue
		}
		k := key{arn: "ARN", keyRecord: keyRecord{State: keyStates[column[state]].state, Origin: "ORIGIN"}}
		if k.State == "PendingImport" {
			k.Origin = "EXTERNAL"
		}
		err := k.checkState(operation, time.Time{})
		want := map[string]string{"ok": "", "error": code, "conditional": ""}[result]
		if result == "conditional" && operation == "UpdateAlias" {
			want = code // the table is asked about the new target
		}
		got := ""
		if err != nil {
			got = awserr.From(err).Code
		}
		if got != want {
			t.Errorf("%s in %s: %q, want %q", operation, state, got, want)
		}
		if want != "" && r[6] != "" && awserr.From(err).Message != r[6] {
			t.Errorf("%s in %s: message %q, want %q", operation, state, awserr.From(err).Message, r[6])
		}
		checked++
	}
	if checked < 300 {
		t.Errorf("only %d rows were checked", checked)
	}
}

func TestEveryStateRowIsComplete(t *testing.T) {
	for operation, row := range stateTable {
		if len(row) != len(keyStates) {
			t.Errorf("%s: %d states, want %d", operation, len(row), len(keyStates))
		}
	}
}

// TestExpiredBeforeTheJob: material does not work a second longer, even if the job
// that deletes it is late.
func TestExpiredBeforeTheJob(t *testing.T) {
	end := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	k := key{arn: "ARN", keyRecord: keyRecord{State: types.KeyStateEnabled, Origin: types.OriginTypeExternal,
		Materials: []materialRecord{{ID: "a"}, {ID: "b", ValidTo: end}, {ID: "c", ValidTo: end.Add(time.Hour)}}}}
	if err := k.checkState("Decrypt", end.Add(-time.Second)); err != nil {
		t.Error(err)
	}
	for _, state := range []types.KeyState{types.KeyStateEnabled, types.KeyStateDisabled} {
		k.State = state
		if err := k.checkState("Decrypt", end); err == nil || awserr.From(err).Message != "ARN is pending import." {
			t.Errorf("%s: %v", state, err)
		}
	}
	k.State = types.KeyStatePendingDeletion
	if err := k.checkState("Decrypt", end); err == nil || awserr.From(err).Message != "ARN is pending deletion." {
		t.Error(err)
	}
}
