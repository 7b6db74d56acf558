package kms_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/internal/attestation/attestationtest"
	"github.com/kagimori/kagimori/kagimoritest"
)

// enclave is an attested environment: it has a key pair, and its host signs for it.
type enclave struct {
	t    *testing.T
	srv  *kagimoritest.Server
	host *attestationtest.Authority
	key  *rsa.PrivateKey
}

// startEnclave starts a server that trusts a host, and an enclave on that host.
func startEnclave(t *testing.T) (*enclave, *account) {
	host := attestationtest.NewRoot(time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC))
	a := startAccount(t, kagimoritest.AttestationRoots(host.PEM()))
	return &enclave{t, a.srv, host, apitest.Must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))}, a
}

func (e *enclave) document() *attestationtest.Document {
	return e.host.Enclave(e.srv.Now(), &e.key.PublicKey)
}

// recipient is the member Recipient with a new document.
func (e *enclave) recipient() *types.RecipientInfo {
	return &types.RecipientInfo{KeyEncryptionAlgorithm: types.KeyEncryptionMechanismRsaesOaepSha256, AttestationDocument: e.document().Encode()}
}

func (e *enclave) open(message []byte) []byte {
	e.t.Helper()
	return attestationtest.Open(e.t, e.key, message)
}

// wantSealed checks that an answer has its secret for the enclave and not in clear.
func (e *enclave) wantSealed(clear, sealed []byte, want func(secret []byte) bool) {
	e.t.Helper()
	if clear != nil {
		e.t.Errorf("the answer has %x in clear", clear)
	}
	if secret := e.open(sealed); !want(secret) {
		e.t.Errorf("the secret is %x", secret)
	}
}

// TestRecipient calls the five operations that answer an attested environment.
func TestRecipient(t *testing.T) {
	e, a := startEnclave(t)
	c := a.root.KMS(region)
	k := newKey(t, c)
	decrypts := func(blob []byte) func([]byte) bool {
		return func(secret []byte) bool {
			out := apitest.Must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob}))
			return bytes.Equal(out.Plaintext, secret)
		}
	}

	blob := encrypt(t, c, k.KeyId, "for the enclave", nil)
	decrypt := apitest.Must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, Recipient: e.recipient()}))
	e.wantSealed(decrypt.Plaintext, decrypt.CiphertextForRecipient, decrypts(blob))

	dataKey := apitest.Must[*kms.GenerateDataKeyOutput](t)(c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: k.KeyId, KeySpec: types.DataKeySpecAes256, Recipient: e.recipient()}))
	e.wantSealed(dataKey.Plaintext, dataKey.CiphertextForRecipient, decrypts(dataKey.CiphertextBlob))

	random := apitest.Must[*kms.GenerateRandomOutput](t)(c.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(1024), Recipient: e.recipient()}))
	e.wantSealed(random.Plaintext, random.CiphertextForRecipient, func(secret []byte) bool { return len(secret) == 1024 })

	pair := apitest.Must[*kms.GenerateDataKeyPairOutput](t)(c.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: k.KeyId, KeyPairSpec: types.DataKeyPairSpecRsa4096, Recipient: e.recipient()}))
	e.wantSealed(pair.PrivateKeyPlaintext, pair.CiphertextForRecipient, decrypts(pair.PrivateKeyCiphertextBlob))
	if _, err := x509.ParsePKCS8PrivateKey(e.open(pair.CiphertextForRecipient)); err != nil {
		t.Error(err)
	}

	agreement := apitest.Must[*kms.CreateKeyOutput](t)(c.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeKeyAgreement})).KeyMetadata.KeyId
	peer := apitest.Must[*ecdh.PrivateKey](t)(ecdh.P256().GenerateKey(rand.Reader))
	public := apitest.Must[[]byte](t)(x509.MarshalPKIXPublicKey(peer.PublicKey()))
	in := &kms.DeriveSharedSecretInput{KeyId: agreement, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh, PublicKey: public}
	clear := apitest.Must[*kms.DeriveSharedSecretOutput](t)(c.DeriveSharedSecret(ctx, in)).SharedSecret
	in.Recipient = e.recipient()
	derived := apitest.Must[*kms.DeriveSharedSecretOutput](t)(c.DeriveSharedSecret(ctx, in))
	e.wantSealed(derived.SharedSecret, derived.CiphertextForRecipient, func(secret []byte) bool { return bytes.Equal(secret, clear) })

	_, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, Recipient: e.recipient(), DryRun: aws.Bool(true)})
	apitest.WantError(t, err, "DryRunOperationException")
}

// TestRecipientRefused presents documents that are not good.
func TestRecipientRefused(t *testing.T) {
	e, a := startEnclave(t)
	c := a.root.KMS(region)
	call := func(r *types.RecipientInfo) error {
		_, err := c.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(1), Recipient: r})
		return err
	}
	document := e.document().Encode()
	wantOK(t, call(&types.RecipientInfo{AttestationDocument: document}))
	apitest.WantError(t, call(&types.RecipientInfo{}), "ValidationException",
		"1 validation error detected: Value null at 'recipient.attestationDocument' failed to satisfy constraint: Member must not be null")
	apitest.WantError(t, call(&types.RecipientInfo{AttestationDocument: []byte("x")}), "ValidationException", "The attestation document is not a COSE_Sign1 message.")
	apitest.WantError(t, call(&types.RecipientInfo{KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_1", AttestationDocument: document}), "ValidationException")
	other := attestationtest.NewRoot(a.srv.Now()).Enclave(a.srv.Now(), &e.key.PublicKey)
	apitest.WantError(t, call(&types.RecipientInfo{AttestationDocument: other.Encode()}), "ValidationException",
		"The attestation document has a certificate chain that does not end in a root trusted here.")
	a.srv.Advance(5*time.Minute + time.Second)
	apitest.WantError(t, call(&types.RecipientInfo{AttestationDocument: document}), "ValidationException",
		"The attestation document is not fresh: it was made at 2026-01-01T00:00:00Z, more than 5 minutes ago. Request a new one for the call.")

	trustsNone := kagimoritest.Start(t)
	_, err := trustsNone.KMS(region).GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(1), Recipient: e.recipient()})
	apitest.WantError(t, err, "UnsupportedOperationException",
		"Recipient is not supported here: this server trusts no attestation documents. Its operator can have it trust some with the setting attestation-roots.")
}

// TestRecipientConditions has policies ask for what a document says.
func TestRecipientConditions(t *testing.T) {
	e, a := startEnclave(t)
	user := a.user("parent-instance", "")
	image, lower := strings.Repeat("A0", 48), strings.Repeat("a0", 48)
	for name, test := range map[string]struct {
		condition string
		document  *attestationtest.Document // nil: none
		allowed   bool
	}{
		"the image":                  {condition("StringEquals", "kms:RecipientAttestation:ImageSha384", lower), e.document(), true},
		"the image in upper case":    {condition("StringEqualsIgnoreCase", "kms:RecipientAttestation:ImageSha384", image), e.document(), true},
		"in upper case, case counts": {condition("StringEquals", "kms:RecipientAttestation:ImageSha384", image), e.document(), false},
		"a register":                 {condition("StringEquals", "kms:RecipientAttestation:PCR8", strings.Repeat("a8", 48)), e.document(), true},
		"another register":           {condition("StringEquals", "kms:RecipientAttestation:PCR9", strings.Repeat("a8", 48)), e.document(), false},
		"no such register":           {condition("StringEquals", "kms:RecipientAttestation:PCR16", strings.Repeat("a8", 48)), e.document(), false},
		"any register":               {condition("StringLike", "kms:RecipientAttestation:PCR0", "*"), e.document(), true},
		"no document":                {condition("StringLike", "kms:RecipientAttestation:PCR0", "*"), nil, false},
		"only without a document":    {condition("Null", "kms:RecipientAttestation:PCR0", "true"), e.document(), false},
		"without one":                {condition("Null", "kms:RecipientAttestation:PCR0", "true"), nil, true},
		"a NitroTPM":                 {condition("StringEquals", "kms:RecipientAttestation:NitroTPMPCR4", strings.Repeat("c4", 48)), e.document().NitroTPM(), true},
		"a NitroTPM is no enclave":   {condition("StringEquals", "kms:RecipientAttestation:PCR4", strings.Repeat("c4", 48)), e.document().NitroTPM(), false},
	} {
		t.Run(name, func(t *testing.T) {
			key := a.key(document(allow("kms:*", principal(a.arn("root"))), allow("kms:Decrypt", principal(a.arn("user/parent-instance")), test.condition)))
			in := &kms.DecryptInput{CiphertextBlob: encrypt(t, a.root.KMS(region), &key, "x", nil)}
			if test.document != nil {
				in.Recipient = &types.RecipientInfo{AttestationDocument: test.document.Encode()}
			}
			_, err := user.KMS(region).Decrypt(ctx, in)
			if test.allowed {
				wantOK(t, err)
			} else {
				wantDenied(t, err)
			}
		})
	}
	t.Run("GenerateRandom", func(t *testing.T) {
		guest := a.user("guest", document(allow("kms:GenerateRandom", condition("StringEquals", "kms:RecipientAttestation:PCR0", lower)))).KMS(region)
		in := &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(1)}
		_, err := guest.GenerateRandom(ctx, in)
		wantDenied(t, err)
		in.Recipient = e.recipient()
		_, err = guest.GenerateRandom(ctx, in)
		wantOK(t, err)
	})
}

// TestRecipientRecord reads what the record tells of an environment, allowed or not.
func TestRecipientRecord(t *testing.T) {
	e, a := startEnclave(t)
	c, guest := a.root.KMS(region), a.user("guest", "").KMS(region)
	k := newKey(t, c)
	pcr := func(b byte) any { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 48)) }
	enclave := map[string]any{
		"attestationDocumentModuleId": "i-0123456789abcdef0-enc0123456789abcdef", "attestationDocumentEnclaveImageDigest": pcr(0xa0),
		"attestationDocumentEnclavePCR1": pcr(0xa1), "attestationDocumentEnclavePCR2": pcr(0xa2), "attestationDocumentEnclavePCR3": pcr(0xa3),
		"attestationDocumentEnclavePCR4": pcr(0xa4), "attestationDocumentEnclavePCR8": pcr(0xa8),
	}
	tpm := map[string]any{
		"attestationDocumentModuleId":     "i-0123456789abcdef0-tpm0000000000000000",
		"attestationDocumentNitroTPMPCR4": pcr(0xc4), "attestationDocumentNitroTPMPCR7": pcr(0xc7), "attestationDocumentNitroTPMPCR8": pcr(0xc8),
		"attestationDocumentNitroTPMPCR9": pcr(0xc9), "attestationDocumentNitroTPMPCR16": pcr(0xd0), "attestationDocumentNitroTPMPCR23": pcr(0xd7),
	}
	ofTPM := &types.RecipientInfo{AttestationDocument: e.document().NitroTPM().Encode()}
	in := &kms.GenerateDataKeyInput{KeyId: k.KeyId, KeySpec: types.DataKeySpecAes256, Recipient: e.recipient()}

	dataKey := apitest.Must[*kms.GenerateDataKeyOutput](t)(c.GenerateDataKey(ctx, in))
	apitest.Must[*kms.GenerateRandomOutput](t)(c.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(1), Recipient: ofTPM}))
	_, err := guest.GenerateDataKey(ctx, in)
	wantDenied(t, err)

	records := a.srv.Records()
	for i, want := range []map[string]any{
		{"keyMaterialId": *dataKey.KeyMaterialId, "recipient": enclave},
		{"recipient": tpm},
		{"recipient": enclave},
	} {
		rec := records[len(records)-3+i]
		if got := rec["additionalEventData"]; !reflect.DeepEqual(got, any(want)) {
			t.Errorf("%s: additionalEventData is\n%v, want\n%v", rec["eventName"], got, want)
		}
		parameters := rec["requestParameters"].(map[string]any)
		if r, _ := parameters["recipient"].(map[string]any); r["attestationDocument"] != nil {
			t.Error("the document is in the record")
		}
	}
}
