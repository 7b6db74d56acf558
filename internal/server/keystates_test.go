package server

import (
	"encoding/base64"
	"encoding/csv"
	"os"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/keymaterial"
)

// TestKeyStates is every operation on keys in every key state that a key can be seen
// in. testdata/key-states.csv is AWS's table; an empty error means that it works.
// https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
func TestKeyStates(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/key-states.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	type outcome struct{ code, message string }
	table := map[string]map[string]outcome{} // by state and operation
	for _, r := range rows[1:] {
		if table[r[1]] == nil {
			table[r[1]] = map[string]outcome{}
		}
		table[r[1]][r[0]] = outcome{r[2], r[3]}
	}

	for _, state := range []struct {
		name  string
		keys  func(h *harness) func(body string) string
		enter []string // operations that bring a key there
	}{
		{"Enabled", plainKeys, []string{"CancelKeyDeletion", "EnableKey"}},
		{"Disabled", plainKeys, []string{"CancelKeyDeletion", "DisableKey"}},
		{"PendingDeletion", plainKeys, []string{"ScheduleKeyDeletion"}},
		{"PendingReplicaDeletion", replicatedKeys, []string{"EnableKey", "ScheduleKeyDeletion"}},
		{"PendingImport", importedKeys, []string{"CancelKeyDeletion", "DeleteImportedKeyMaterial"}},
	} {
		t.Run(state.name, func(t *testing.T) {
			t.Parallel()
			h := start(t)
			w := newWorldOf(h, state.keys(h))
			calls := append(w.validCalls(), w.byCiphertext()...)
			if state.name != "PendingImport" {
				h.call("ImportKeyMaterial", `{"KeyId":"`+w.external+`","ExpirationModel":"KEY_MATERIAL_DOES_NOT_EXPIRE","ImportToken":"`+w.token+`","EncryptedKeyMaterial":"`+w.wrapped+`"}`, nil)
			}
			ids := []string{w.key, w.other, w.signing, w.mac, w.agreement, w.kem, w.primary, w.external}
			checked := map[string]bool{}
			for _, c := range calls {
				if c.operation == "CancelKeyDeletion" {
					c.body = `{"KeyId":"` + w.key + `"}`
				}
				want, ok := table[state.name][c.operation]
				switch {
				case !ok: // not about a key
					continue
				case strings.Contains(c.body, w.kem) && state.name != "Enabled" && state.name != "Disabled" && state.name != "PendingDeletion",
					strings.Contains(c.body, w.external) && state.name == "PendingReplicaDeletion":
					continue // no such keys
				}
				for _, id := range ids {
					for _, operation := range state.enter {
						h.do(op(operation, `{"KeyId":"`+id+`"}`)) // not all keys need all of them
					}
				}
				var got struct{ KeyMetadata struct{ KeyState string } }
				h.call("DescribeKey", `{"KeyId":"`+w.key+`"}`, &got)
				if got.KeyMetadata.KeyState != state.name {
					t.Fatalf("the key is %s", got.KeyMetadata.KeyState)
				}
				a := h.do(op(c.operation, c.body))
				if a.code != want.code || want.message != "" && !strings.HasSuffix(a.message, strings.TrimPrefix(want.message, "ARN")) {
					t.Errorf("%s: %d %s, want %s", c.operation, a.StatusCode, a.body, want)
				}
				checked[c.operation] = true
			}
			if len(checked) < 38 {
				t.Errorf("only %d operations were checked", len(checked))
			}
		})
	}
}

func plainKeys(h *harness) func(string) string { return h.newKeyWith }

func replicatedKeys(h *harness) func(string) string {
	return func(body string) string {
		if !strings.Contains(body, "MultiRegion") {
			body = more(body, `"MultiRegion":true`)
		}
		id := h.newKeyWith(body)
		h.call("ReplicateKey", `{"KeyId":"`+id+`","ReplicaRegion":"eu-west-1"}`, nil)
		return id
	}
}

func importedKeys(h *harness) func(string) string {
	return func(body string) string {
		id := h.newKeyWith(more(body, `"Origin":"EXTERNAL"`))
		var described struct{ KeyMetadata struct{ KeySpec string } }
		h.call("DescribeKey", `{"KeyId":"`+id+`"}`, &described)
		material, err := keymaterial.SpecNamed(described.KeyMetadata.KeySpec).Generate()
		h.must(err)
		var p struct{ PublicKey, ImportToken []byte }
		h.call("GetParametersForImport", `{"KeyId":"`+id+`",`+wrapping+`}`, &p)
		h.call("ImportKeyMaterial", `{"KeyId":"`+id+`","ExpirationModel":"KEY_MATERIAL_DOES_NOT_EXPIRE","ImportToken":"`+
			base64.StdEncoding.EncodeToString(p.ImportToken)+`","EncryptedKeyMaterial":"`+h.wrapped(p.PublicKey, material)+`"}`, nil)
		return id
	}
}

// more adds a member to a JSON object.
func more(body, member string) string {
	if body == "{}" {
		return "{" + member + "}"
	}
	return strings.TrimSuffix(body, "}") + "," + member + "}"
}
