package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/awserr"
)

func TestAppendOutput(t *testing.T) {
	at := func(ms int64) *time.Time { return aws.Time(time.UnixMilli(ms).In(time.FixedZone("JST", 9*3600))) }
	for _, c := range []struct {
		out  any
		want string
	}{
		{nil, ``},
		{(*kms.EncryptOutput)(nil), ``},
		{&kms.DisableKeyOutput{}, ``},
		{&kms.ConnectCustomKeyStoreOutput{}, `{}`},
		{&kms.EncryptOutput{}, `{}`},
		{&kms.EncryptOutput{KeyId: aws.String("a\"b\\c\n鍵<\xff>"), CiphertextBlob: []byte{0xfb, 0xff}},
			`{"CiphertextBlob":"+/8=","KeyId":"a\"b\\c\n鍵<�>"}`},
		{&kms.DecryptOutput{Plaintext: []byte{}, EncryptionAlgorithm: "SYMMETRIC_DEFAULT"},
			`{"EncryptionAlgorithm":"SYMMETRIC_DEFAULT","Plaintext":""}`},
		{&kms.ListKeysOutput{}, `{"Truncated":false}`},
		{&kms.ListKeysOutput{Keys: []types.KeyListEntry{}, Truncated: true, NextMarker: aws.String("")},
			`{"Keys":[],"NextMarker":"","Truncated":true}`},
		{&kms.ListKeysOutput{Keys: []types.KeyListEntry{{KeyId: aws.String("1")}, {}}}, `{"Keys":[{"KeyId":"1"},{}],"Truncated":false}`},
		{&kms.ListAliasesOutput{Aliases: []types.AliasListEntry{
			{CreationDate: at(1700000000123)}, {CreationDate: at(1700000000000)}, {CreationDate: at(1700000000100)},
			{CreationDate: at(1700000000020)}, {CreationDate: at(0)}, {CreationDate: at(-1500)}, {CreationDate: at(-1)}}},
			`{"Aliases":[{"CreationDate":1700000000.123},{"CreationDate":1700000000},{"CreationDate":1700000000.1},` +
				`{"CreationDate":1700000000.02},{"CreationDate":0},{"CreationDate":-1.5},{"CreationDate":-0.001}],"Truncated":false}`},
		{&kms.ListGrantsOutput{Grants: []types.GrantListEntry{{Constraints: &types.GrantConstraints{
			EncryptionContextEquals: map[string]string{"b": "2", "a": "1"}, EncryptionContextSubset: map[string]string{}}}}},
			`{"Grants":[{"Constraints":{"EncryptionContextEquals":{"a":"1","b":"2"},"EncryptionContextSubset":{}}}],"Truncated":false}`},
	} {
		if got := AppendOutput([]byte("HEAD"), c.out); string(got) != "HEAD"+c.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", c.out, got, c.want)
		}
	}
}

func TestAppendParameters(t *testing.T) {
	day := time.Date(2022, 8, 10, 22, 38, 27, 5e8, time.UTC)
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, `null`},
		{(*kms.EncryptInput)(nil), `null`},
		{&kms.ListKeysInput{}, `null`},
		{&kms.DisableKeyRotationOutput{}, `null`},
		{&kms.EncryptInput{Plaintext: []byte("secret"), GrantTokens: []string{"secret"}}, `null`},
		{&kms.EncryptInput{KeyId: aws.String("alias/a"), Plaintext: []byte("secret"), EncryptionContext: map[string]string{"Upper": "b", "A": ""},
			GrantTokens: []string{"secret"}, EncryptionAlgorithm: "SYMMETRIC_DEFAULT"},
			`{"keyId":"alias/a","encryptionAlgorithm":"SYMMETRIC_DEFAULT","encryptionContext":{"A":"","Upper":"b"}}`},
		{&kms.GenerateRandomInput{NumberOfBytes: aws.Int32(32)}, `{"numberOfBytes":32}`},
		{&kms.PutKeyPolicyInput{KeyId: aws.String("k"), Policy: aws.String("{}")},
			`{"keyId":"k","policy":"{}","bypassPolicyLockoutSafetyCheck":false}`},
		{&kms.TagResourceInput{KeyId: aws.String("k"), Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}},
			`{"keyId":"k","tags":[{"tagKey":"a","tagValue":"b"}]}`},
		{&kms.CreateKeyOutput{KeyMetadata: &types.KeyMetadata{KeyId: aws.String("k"), AWSAccountId: aws.String("111122223333"), CreationDate: &day}},
			`{"keyMetadata":{"keyId":"k","AWSAccountId":"111122223333","creationDate":"Aug 10, 2022, 10:38:27 PM","enabled":false}}`},
		{struct{ KeyId, GrantToken string }{"arn", "secret"}, `{"keyId":"arn"}`},
	} {
		if got := AppendParameters([]byte("HEAD"), c.v); string(got) != "HEAD"+c.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", c.v, got, c.want)
		}
	}
}

// TestRecordsHoldNoSecrets: whatever the operation, a full input or output shows
// none of its blobs, secrets and grant tokens.
func TestRecordsHoldNoSecrets(t *testing.T) {
	for _, op := range kmsOperations {
		for _, p := range []any{op.in, op.out} {
			record := AppendParameters(nil, snapshotFilling.newFilled(p))
			if !json.Valid(record) {
				t.Errorf("%T: %s", p, record)
			}
			for _, s := range []string{"YmxvYg==", "Blob", "laintext", "importToken", "rantToken", "eyStorePassword",
				"xksProxyAuthenticationCredential", "ccessKey"} {
				if strings.Contains(string(record), s) {
					t.Errorf("%T shows %s: %s", p, s, record)
				}
			}
		}
	}
}

func TestAppendError(t *testing.T) {
	if got := jsonError(nil, awserr.New(awserr.InvalidCiphertext, "")); string(got) != `{"__type":"InvalidCiphertextException"}` {
		t.Errorf("%s", got)
	}
	e := awserr.Internal(bytes.ErrTooLarge)
	if got := string(jsonError(nil, e)); !strings.HasPrefix(got, `{"__type":"KMSInternalException","message":"`) || strings.Contains(got, "bytes") {
		t.Errorf("%s", got)
	}
	if got := jsonError([]byte("x"), awserr.New(awserr.NotFound, "Alias \"鍵\"\n")); string(got) != `x{"__type":"NotFoundException","message":"Alias \"鍵\"\n"}` {
		t.Errorf("%s", got)
	}
}

var encryptBody = []byte(`{"KeyId":"arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",` +
	`"Plaintext":"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=","EncryptionContext":{"tenant":"blue","purpose":"backup"},` +
	`"EncryptionAlgorithm":"SYMMETRIC_DEFAULT"}`)

func BenchmarkDecodeEncrypt(b *testing.B) {
	op := mustLookup(b, "Encrypt")
	b.ReportAllocs()
	b.SetBytes(int64(len(encryptBody)))
	for b.Loop() {
		if err := op.Decode(encryptBody, op.NewInput()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendOutputEncrypt(b *testing.B) {
	out := &kms.EncryptOutput{
		CiphertextBlob:      make([]byte, 150),
		KeyId:               aws.String("arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"),
		EncryptionAlgorithm: "SYMMETRIC_DEFAULT",
	}
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = AppendOutput(buf[:0], out)
	}
}

func BenchmarkAppendParametersEncrypt(b *testing.B) {
	op := mustLookup(b, "Encrypt")
	in := op.NewInput()
	if err := op.Decode(encryptBody, in); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = AppendParameters(buf[:0], in)
	}
}
