package server

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/uuid"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/keymaterial"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// The denials of AWS.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
const (
	notVisible      = "User: " + rootARN + " is not authorized to perform: kms:%s on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
	notOfCiphertext = "User: " + rootARN + " is not authorized to perform: kms:%s on the resource associated with this ciphertext because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
)

const wrapping = `"WrappingAlgorithm":"RSAES_OAEP_SHA_256","WrappingKeySpec":"RSA_2048"`

// testMaterial is what is imported.
const testMaterial = "MATERIALMATERIALMATERIALMATERIAL"

// world is what the calls of validCalls act on.
type world struct {
	key, keyARN     string    // enabled
	other, otherARN string    // enabled too
	pending         string    // to be deleted
	blob            string    // ciphertext of key, in base64
	grants          [2]string // of key, for the root

	signing, mac, agreement, kem string // key ids
	signature, tag, peer, secret string // what fits them, in base64

	primary string // of a multi-Region key

	external, token, wrapped string // a key without material, and what an import into it needs, in base64

	hsm, spare string // custom key stores, DISCONNECTED
}

func newWorld(h *harness) *world { return newWorldOf(h, h.newKeyWith) }

// newWorldOf has its keys made by newKey, of what CreateKey is asked for. ML-KEM keys
// cannot be imported.
func newWorldOf(h *harness, newKey func(body string) (id string)) *world {
	h.Helper()
	w := &world{key: newKey(`{}`), other: newKey(`{}`), pending: newKey(`{}`)}
	w.keyARN, w.otherARN = keyARN(w.key), keyARN(w.other)
	h.call("ScheduleKeyDeletion", `{"KeyId":"`+w.pending+`"}`, nil)
	h.call("CreateAlias", `{"AliasName":"alias/first","TargetKeyId":"`+w.key+`"}`, nil)
	h.call("CreateAlias", `{"AliasName":"alias/second","TargetKeyId":"`+w.key+`"}`, nil)
	var out struct{ CiphertextBlob string }
	h.call("Encrypt", `{"KeyId":"`+w.key+`","Plaintext":"aGVsbG8=","EncryptionContext":{"purpose":"test"}}`, &out)
	w.blob = out.CiphertextBlob
	for i := range w.grants {
		var out struct{ GrantId string }
		h.call("CreateGrant", `{"KeyId":"`+w.key+`","GranteePrincipal":"`+rootARN+`","Operations":["Decrypt"]}`, &out)
		w.grants[i] = out.GrantId
	}
	w.signing, w.mac = newKey(`{"KeySpec":"ECC_NIST_P256","KeyUsage":"SIGN_VERIFY"}`), newKey(`{"KeySpec":"HMAC_256","KeyUsage":"GENERATE_VERIFY_MAC"}`)
	w.agreement, w.kem = newKey(`{"KeySpec":"ECC_NIST_P256","KeyUsage":"KEY_AGREEMENT"}`), h.newKeyWith(`{"KeySpec":"ML_KEM_768","KeyUsage":"ENCAPSULATE_DECAPSULATE"}`)
	var made struct{ Signature, Mac, PublicKey, SharedSecretCiphertextBlob string }
	h.call("Sign", `{"KeyId":"`+w.signing+`","Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256"}`, &made)
	h.call("GenerateMac", `{"KeyId":"`+w.mac+`","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256"}`, &made)
	h.call("GetPublicKey", `{"KeyId":"`+w.agreement+`"}`, &made)
	h.call("Encapsulate", `{"KeyId":"`+w.kem+`","EncapsulationAlgorithm":"ML_KEM"}`, &made)
	w.signature, w.tag, w.peer, w.secret = made.Signature, made.Mac, made.PublicKey, made.SharedSecretCiphertextBlob
	w.primary = newKey(`{"MultiRegion":true}`)
	w.external = h.newKeyWith(`{"Origin":"EXTERNAL"}`)
	var p struct{ PublicKey, ImportToken []byte }
	h.call("GetParametersForImport", `{"KeyId":"`+w.external+`",`+wrapping+`}`, &p)
	w.token, w.wrapped = base64.StdEncoding.EncodeToString(p.ImportToken), h.wrapped(p.PublicKey, []byte(testMaterial))
	for i, at := range []*string{&w.hsm, &w.spare} {
		var out struct{ CustomKeyStoreId string }
		h.call("CreateCustomKeyStore", newHSM(i+1), &out)
		*at = out.CustomKeyStoreId
	}
	return w
}

// wrapped is material that is wrapped with RSAES_OAEP_SHA_256, in base64.
func (h *harness) wrapped(public, material []byte) string {
	h.Helper()
	key, err := x509.ParsePKIXPublicKey(public)
	h.must(err)
	out, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, key.(*rsa.PublicKey), material, nil)
	h.must(err)
	return base64.StdEncoding.EncodeToString(out)
}

func keyARN(id string) string { return "arn:aws:kms:" + testRegion + ":111122223333:key/" + id }

// validCall is a call that works, and how a denial names what it acts on.
type validCall struct{ operation, body, action, resource string }

// validCalls has one call for every operation that is implemented, in an order in
// which all of them work. The last forms of Decrypt and ReEncrypt name their key
// by the ciphertext alone.
func (w *world) validCalls() []validCall {
	key := `"KeyId":"` + w.key + `"`
	onKey := func(operation, more string) validCall {
		return validCall{operation, "{" + key + more + "}", operation, w.keyARN}
	}
	onAlias := func(operation, name, more string) validCall {
		return validCall{operation, `{"AliasName":"alias/` + name + `"` + more + "}", operation,
			strings.Replace(w.keyARN, "key/"+w.key, "alias/"+name, 1)}
	}
	with := func(operation, id, more string) validCall {
		return validCall{operation, `{"KeyId":"` + id + `"` + more + "}", operation, strings.Replace(w.keyARN, w.key, id, 1)}
	}
	onAll := func(operation, body string) validCall { return validCall{operation, body, operation, "*"} }
	const context = `"EncryptionContext":{"purpose":"test"}`
	return []validCall{
		onAll("CreateKey", `{"Description":"鍵","Tags":[{"TagKey":"team","TagValue":"決済"}]}`),
		onKey("DescribeKey", ""),
		onAll("ListKeys", `{"Limit":10}`),
		onKey("Encrypt", `,"Plaintext":"aGVsbG8=",`+context),
		onKey("Decrypt", `,"CiphertextBlob":"`+w.blob+`",`+context),
		{"ReEncrypt", `{"SourceKeyId":"` + w.key + `","DestinationKeyId":"` + w.otherARN + `","CiphertextBlob":"` + w.blob + `","SourceEncryptionContext":{"purpose":"test"}}`, "ReEncryptFrom", w.keyARN},
		onKey("GenerateDataKey", `,"KeySpec":"AES_256"`),
		onKey("GenerateDataKeyWithoutPlaintext", `,"NumberOfBytes":64,`+context),
		onKey("GenerateDataKeyPair", `,"KeyPairSpec":"ECC_NIST_P256"`),
		onKey("GenerateDataKeyPairWithoutPlaintext", `,"KeyPairSpec":"ECC_NIST_P256",`+context),
		with("Sign", w.signing, `,"Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256"`),
		with("Verify", w.signing, `,"Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256","Signature":"`+w.signature+`"`),
		with("GetPublicKey", w.signing, ""),
		with("GenerateMac", w.mac, `,"Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256"`),
		with("VerifyMac", w.mac, `,"Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256","Mac":"`+w.tag+`"`),
		with("DeriveSharedSecret", w.agreement, `,"KeyAgreementAlgorithm":"ECDH","PublicKey":"`+w.peer+`"`),
		with("Encapsulate", w.kem, `,"EncapsulationAlgorithm":"ML_KEM"`),
		with("Decapsulate", w.kem, `,"EncapsulationAlgorithm":"ML_KEM","SharedSecretCiphertextBlob":"`+w.secret+`"`),
		with("GetParametersForImport", w.external, ","+wrapping),
		with("ImportKeyMaterial", w.external, `,"ExpirationModel":"KEY_MATERIAL_EXPIRES","ValidTo":1780000000,"ImportToken":"`+w.token+`","EncryptedKeyMaterial":"`+w.wrapped+`"`),
		with("DeleteImportedKeyMaterial", w.external, ""),
		with("ReplicateKey", w.primary, `,"ReplicaRegion":"us-west-2","Description":"copy","Tags":[{"TagKey":"team","TagValue":"決済"}]`),
		with("UpdatePrimaryRegion", w.primary, `,"PrimaryRegion":"us-west-2"`),
		onAll("GenerateRandom", `{"NumberOfBytes":32}`),
		onAll("CreateCustomKeyStore", newHSM(3)),
		onAll("DescribeCustomKeyStores", "{}"),
		onAll("UpdateCustomKeyStore", `{"CustomKeyStoreId":"`+w.hsm+`","NewCustomKeyStoreName":"renamed","KeyStorePassword":"`+storePassword+`"}`),
		onAll("ConnectCustomKeyStore", `{"CustomKeyStoreId":"`+w.hsm+`"}`),
		onAll("DisconnectCustomKeyStore", `{"CustomKeyStoreId":"`+w.hsm+`"}`),
		onAll("DeleteCustomKeyStore", `{"CustomKeyStoreId":"`+w.spare+`"}`),
		onKey("UpdateKeyDescription", `,"Description":"new"`),
		onAlias("CreateAlias", "third", `,"TargetKeyId":"`+w.key+`"`),
		onAlias("UpdateAlias", "first", `,"TargetKeyId":"`+w.other+`"`),
		onAlias("DeleteAlias", "second", ""),
		onAll("ListAliases", `{}`),
		onKey("TagResource", `,"Tags":[{"TagKey":"a","TagValue":"b"}]`),
		onKey("ListResourceTags", ""),
		onKey("UntagResource", `,"TagKeys":["a"]`),
		onKey("GetKeyPolicy", `,"PolicyName":"default"`),
		onKey("PutKeyPolicy", `,"Policy":"{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"kms:*\",\"Resource\":\"*\"}}"`),
		onKey("ListKeyPolicies", ""),
		onKey("CreateGrant", `,"Name":"batch","GranteePrincipal":"`+rootARN+`","RetiringPrincipal":"`+rootARN+`","Operations":["Decrypt"],"Constraints":{"EncryptionContextSubset":{"purpose":"test"}}`),
		onKey("ListGrants", ""),
		onAll("ListRetirableGrants", `{"RetiringPrincipal":"`+rootARN+`"}`),
		onKey("RevokeGrant", `,"GrantId":"`+w.grants[0]+`"`),
		{"RetireGrant", `{"KeyId":"` + w.keyARN + `","GrantId":"` + w.grants[1] + `"}`, "RetireGrant", w.keyARN},
		onKey("GetKeyLastUsage", ""),
		onKey("EnableKeyRotation", `,"RotationPeriodInDays":90`),
		onKey("GetKeyRotationStatus", ""),
		onKey("RotateKeyOnDemand", ""),
		onKey("ListKeyRotations", ""),
		onKey("DisableKeyRotation", ""),
		onKey("DisableKey", ""),
		onKey("EnableKey", ""),
		{"CancelKeyDeletion", `{"KeyId":"` + w.pending + `"}`, "CancelKeyDeletion", strings.Replace(w.keyARN, w.key, w.pending, 1)},
		onKey("ScheduleKeyDeletion", `,"PendingWindowInDays":7`),
	}
}

// byCiphertext are the calls that name their key by the ciphertext alone.
func (w *world) byCiphertext() []validCall {
	return []validCall{
		{"Decrypt", `{"CiphertextBlob":"` + w.blob + `","EncryptionContext":{"purpose":"test"}}`, "Decrypt", w.keyARN},
		{"ReEncrypt", `{"DestinationKeyId":"` + w.other + `","CiphertextBlob":"` + w.blob + `","SourceEncryptionContext":{"purpose":"test"}}`, "ReEncryptFrom", w.keyARN},
	}
}

// lastChange is the number of the last change of the store.
func (h *harness) lastChange() (seq uint64) {
	h.Helper()
	h.must(h.data.Store.View(context.Background(), func(r store.Reader) error {
		seq = r.Seq()
		return nil
	}))
	return seq
}

// TestEveryOperationAsks denies everything. No operation does anything then.
func TestEveryOperationAsks(t *testing.T) {
	t.Parallel()
	h := start(t)
	w := newWorld(h)
	calls := w.validCalls()
	for name := range h.srv.kms.Handlers() {
		found := false
		for _, c := range calls {
			found = found || c.operation == name
		}
		if !found {
			t.Errorf("validCalls lacks %s", name)
		}
	}
	h.must(h.srv.RunDue(context.Background())) // so that nothing is left to be stored
	before := h.lastChange()
	h.decider.deny(policy.Decision{Layer: policy.ResourceLayer})
	for _, c := range append(calls, w.byCiphertext()...) {
		a := h.do(op(c.operation, c.body))
		want := fmt.Sprintf("User: %s is not authorized to perform: kms:%s on resource: %s because no resource-based policy allows the kms:%s action", rootARN, c.action, c.resource, c.action)
		if a.StatusCode != 400 || a.code != "AccessDeniedException" || a.message != want {
			t.Errorf("%s: %d %s\nwant %s", c.operation, a.StatusCode, a.body, want)
		}
		recs := h.recordsOf(a.id)
		if len(recs) != 1 || recs[0].ErrorCode != "AccessDenied" || !strings.Contains(string(recs[0].raw), `"responseElements":null`) {
			t.Errorf("%s: records %v", c.operation, recs)
		}
	}
	h.must(h.srv.RunDue(context.Background()))
	if after := h.lastChange(); after != before {
		t.Errorf("%d changes of the store by calls that were denied", after-before)
	}
	h.decider.allow()
	for _, c := range calls {
		if a := h.do(op(c.operation, c.body)); a.StatusCode != 200 {
			t.Errorf("%s, allowed again: %d %s", c.operation, a.StatusCode, a.body)
		}
	}
}

// TestSecondDecision denies only the second of the actions or resources that an
// operation needs.
func TestSecondDecision(t *testing.T) {
	t.Parallel()
	h := start(t)
	w := newWorld(h)
	replicated := h.newKeyWith(`{"MultiRegion":true}`)
	h.call("ReplicateKey", `{"KeyId":"`+replicated+`","ReplicaRegion":"us-west-2"}`, nil)
	replicaARN := strings.NewReplacer(testRegion, "us-west-2", w.key, replicated).Replace(w.keyARN)
	replicate := validCall{operation: "ReplicateKey", body: `{"KeyId":"` + replicated + `","ReplicaRegion":"us-east-1","Tags":[{"TagKey":"a","TagValue":"b"}]}`}
	for _, c := range []struct {
		call   validCall
		denied func(action, resource string) bool
		on     string
	}{
		{w.byCiphertext()[1], func(action, _ string) bool { return action == "kms:ReEncryptTo" }, "kms:ReEncryptTo on resource: " + w.otherARN},
		{validCall{operation: "CreateAlias", body: `{"AliasName":"alias/x","TargetKeyId":"` + w.key + `"}`},
			func(_, r string) bool { return r == w.keyARN }, "kms:CreateAlias on resource: " + w.keyARN},
		{validCall{operation: "UpdateAlias", body: `{"AliasName":"alias/first","TargetKeyId":"` + w.other + `"}`},
			func(_, r string) bool { return r == w.keyARN }, "kms:UpdateAlias on resource: " + w.keyARN},
		{validCall{operation: "UpdateAlias", body: `{"AliasName":"alias/first","TargetKeyId":"` + w.other + `"}`},
			func(_, r string) bool { return r == w.otherARN }, "kms:UpdateAlias on resource: " + w.otherARN},
		{validCall{operation: "DeleteAlias", body: `{"AliasName":"alias/first"}`},
			func(_, r string) bool { return r == w.keyARN }, "kms:DeleteAlias on resource: " + w.keyARN},
		{replicate, func(action, _ string) bool { return action == "kms:CreateKey" }, "kms:CreateKey on resource: *"},
		{replicate, func(action, _ string) bool { return action == "kms:TagResource" }, "kms:TagResource on resource: *"},
		{validCall{operation: "UpdatePrimaryRegion", body: `{"KeyId":"` + replicated + `","PrimaryRegion":"us-west-2"}`},
			func(_, r string) bool { return r == replicaARN }, "kms:UpdatePrimaryRegion on resource: " + replicaARN},
	} {
		before := h.lastChange()
		h.decider.denyIf(c.denied)
		a := h.do(op(c.call.operation, c.call.body))
		a.wantError(t, 400, "AccessDeniedException", "User: "+rootARN+" is not authorized to perform: "+c.on+" because")
		if after := h.lastChange(); after != before {
			t.Errorf("%s changed the store", c.call.operation)
		}
		h.decider.allow()
	}
}

// TestDenialWords is the message of each reason.
func TestDenialWords(t *testing.T) {
	t.Parallel()
	h := start(t)
	id, arn := h.newKey()
	for d, reason := range map[policy.Decision]string{
		{Layer: policy.IdentityLayer}:                 "because no identity-based policy allows the ACTION action",
		{Layer: policy.ResourceLayer}:                 "because no resource-based policy allows the ACTION action",
		{Layer: policy.BoundaryLayer}:                 "because no permissions boundary allows the ACTION action",
		{Layer: policy.SessionLayer}:                  "because no session policy allows the ACTION action",
		{Layer: policy.ControlLayer}:                  "because no service control policy allows the ACTION action",
		{Layer: policy.ResourceLayer, Explicit: true}: "with an explicit deny in a resource-based policy",
		{Layer: policy.SessionLayer, Explicit: true}:  "with an explicit deny in a session policy",
	} {
		h.decider.deny(d)
		want := "User: " + rootARN + " is not authorized to perform: kms:Encrypt on resource: " + arn + " " + strings.ReplaceAll(reason, "ACTION", "kms:Encrypt")
		if a := h.do(op("Encrypt", `{"KeyId":"`+id+`","Plaintext":"AA=="}`)); a.message != want {
			t.Errorf("message %q\nwant    %q", a.message, want)
		}
	}
}

// TestForeignAccount uses keys of another account, some of which do not exist.
// The answers do not tell which.
func TestForeignAccount(t *testing.T) {
	t.Parallel()
	h := start(t)
	w := newWorld(h)
	ctx := context.Background()
	const foreign = "444455556666"
	h.must(h.data.Store.Update(ctx, func(tx store.Tx) error { return iam.AddAccount(tx, foreign, h.clock.Now()) }))
	call := &api.Call{Service: "kms", Operation: "CreateKey", Region: testRegion, RequestID: uuid.NewString(), EventID: uuid.NewString(), Time: h.clock.Now(),
		Caller: api.Principal{Type: api.Root, ID: foreign, Account: foreign, ARN: "arn:aws:iam::" + foreign + ":root"}}
	made, err := h.srv.kms.CreateKey(ctx, call, new(kms.CreateKeyInput))
	h.must(err)
	exists := *made.KeyMetadata.Arn
	absent := "arn:aws:kms:" + testRegion + ":" + foreign + ":key/" + uuid.NewString()
	alias := "arn:aws:kms:" + testRegion + ":" + foreign + ":alias/any"

	for _, c := range w.validCalls() {
		if c.resource != w.keyARN {
			continue // acts on no key; ReEncrypt is below
		}
		for _, arn := range []string{exists, absent} {
			a := h.do(op(c.operation, strings.NewReplacer(`Id":"`+w.keyARN, `Id":"`+arn, `Id":"`+w.key, `Id":"`+arn).Replace(c.body)))
			want := fmt.Sprintf(notVisible, c.action)
			if a.code != "AccessDeniedException" || a.message != want {
				t.Errorf("%s %s: %s\nwant %s", c.operation, arn, a.body, want)
			}
			if recs := h.recordsOf(a.id); len(recs) != 1 || recs[0].ErrorCode != "AccessDenied" {
				t.Errorf("%s: records %v", c.operation, recs)
			}
		}
	}
	h.do(op("Encrypt", `{"KeyId":"`+alias+`","Plaintext":"AA=="}`)).wantError(t, 400, "AccessDeniedException", fmt.Sprintf(notVisible, "Encrypt"))
	a := h.do(op("ReEncrypt", `{"DestinationKeyId":"`+exists+`","CiphertextBlob":"`+w.blob+`","SourceEncryptionContext":{"purpose":"test"}}`))
	a.wantError(t, 400, "AccessDeniedException", fmt.Sprintf(notVisible, "ReEncryptTo"))

	// Ciphertexts of keys that are another account's, or nobody's.
	encrypt := &api.Call{Service: "kms", Operation: "Encrypt", Region: testRegion, RequestID: uuid.NewString(), EventID: uuid.NewString(), Time: h.clock.Now(), Caller: call.Caller}
	theirs, err := h.srv.kms.Encrypt(ctx, encrypt, &kms.EncryptInput{KeyId: &exists, Plaintext: []byte("x")})
	h.must(err)
	raw := keymaterial.GenerateSymmetric()
	nobody := uuid.NewString()
	nobodys, err := keymaterial.NewSymmetric(nobody, keymaterial.MaterialID(nobody, raw), raw)
	h.must(err)
	noKey, err := nobodys.Encrypt(nil, []byte("x"), nil)
	h.must(err)
	for _, blob := range [][]byte{theirs.CiphertextBlob, noKey} {
		b := base64.StdEncoding.EncodeToString(blob)
		h.do(op("Decrypt", `{"CiphertextBlob":"`+b+`"}`)).wantError(t, 400, "AccessDeniedException", fmt.Sprintf(notOfCiphertext, "Decrypt"))
		h.do(op("ReEncrypt", `{"DestinationKeyId":"`+w.key+`","CiphertextBlob":"`+b+`"}`)).wantError(t, 400, "AccessDeniedException", fmt.Sprintf(notOfCiphertext, "ReEncryptFrom"))
	}
}

// TestAnswerWithoutDecision has handlers that break the rules. None of their
// answers leaves.
func TestAnswerWithoutDecision(t *testing.T) {
	t.Parallel()
	h := start(t)
	const leak = "this must not leave"
	fake := func(out any, err error) func(context.Context, *api.Call, any) (any, error) {
		return func(context.Context, *api.Call, any) (any, error) { return out, err }
	}
	output := &kms.DecryptOutput{Plaintext: []byte(leak)}
	for name, handler := range map[string]func(context.Context, *api.Call, any) (any, error){
		"an answer":     fake(output, nil),
		"nothing":       fake(nil, nil),
		"unknown error": fake(output, errors.New(leak)),
		"wrapped error": fake(output, fmt.Errorf("%w: %s", store.ErrTampered, leak)),
		"inner cause":   fake(output, awserr.Internal(errors.New(leak))),
	} {
		h.srv.pipeline.handlers["kms"]["Decrypt"] = handler
		a := h.do(op("Decrypt", `{"CiphertextBlob":"AAAA"}`))
		a.wantError(t, 500, "KMSInternalException", "The request failed because of an internal error. It can be tried again.")
		recs := h.recordsOf(a.id)
		if len(recs) != 1 || recs[0].ErrorCode != "KMSInternalException" {
			t.Errorf("%s: records %v", name, recs)
		}
		for where, text := range map[string]string{"answer": string(a.body), "record": string(recs[0].raw)} {
			if strings.Contains(text, leak) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(leak))) {
				t.Errorf("%s: the %s is %s", name, where, text)
			}
		}
		if !strings.Contains(h.log.String(), a.id) {
			t.Errorf("%s: the operator is not told", name)
		}
	}
}

// TestPanic has a handler that panics: the call fails, and the server goes on.
func TestPanic(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.srv.pipeline.handlers["kms"]["Decrypt"] = func(context.Context, *api.Call, any) (any, error) { panic("not meant to happen") }
	a := h.do(op("Decrypt", `{"CiphertextBlob":"AAAA"}`))
	a.wantError(t, 500, "KMSInternalException", "")
	if recs := h.recordsOf(a.id); len(recs) != 1 {
		t.Errorf("records %v", recs)
	}
	h.serves()
	if log := h.log.String(); !strings.Contains(log, "not meant to happen") || !strings.Contains(log, "chokepoint_test.go") {
		t.Errorf("the log lacks the panic or its stack: %s", log)
	}
	h.log.reset() // this panic was wanted
}

// TestUnsupported calls what is not implemented: it is refused, whoever asks.
func TestUnsupported(t *testing.T) {
	t.Parallel()
	h := start(t)
	delete(h.srv.pipeline.handlers["kms"], "DeleteAlias")
	a := h.do(op("DeleteAlias", `{"AliasName":"alias/a"}`))
	a.wantError(t, 400, "UnsupportedOperationException", "The operation DeleteAlias is not supported by this version of Kagimori.")
	var rec struct{ RequestParameters map[string]any }
	h.must(json.Unmarshal(h.recordsOf(a.id)[0].raw, &rec))
	if rec.RequestParameters["aliasName"] != "alias/a" {
		t.Errorf("requestParameters %v", rec.RequestParameters)
	}
	// What is malformed is so before it is unsupported.
	h.do(op("DeleteAlias", `{}`)).wantError(t, 400, "ValidationException", "1 validation error detected: ")
}
