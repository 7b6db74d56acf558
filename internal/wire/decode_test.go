package wire

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/awserr"
)

func decode(t testing.TB, operation, body string) (any, error) {
	t.Helper()
	op := mustLookup(t, operation)
	in := op.NewInput()
	return in, op.Decode([]byte(body), in)
}

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		operation, body string
		want            any
	}{
		{"ListKeys", ``, &kms.ListKeysInput{}},
		{"ListKeys", `{}`, &kms.ListKeysInput{}},
		{"ListKeys", " \t\r\n{ } \n", &kms.ListKeysInput{}},
		{"ListKeys", `{"Limit":null,"Marker":null}`, &kms.ListKeysInput{}},
		{"ListKeys", `{"Limit":1000,"limit":"x","Future":{"a":[1,{"b":null}],"c":"\ud83d\udd11"}}`,
			&kms.ListKeysInput{Limit: aws.Int32(1000)}},
		{"Encrypt", `{"KeyId":"alias\/a","Plaintext":"\u0041\/+\u002b","DryRun":false,"GrantTokens":[],"EncryptionContext":{}}`,
			&kms.EncryptInput{KeyId: aws.String("alias/a"), Plaintext: []byte{0x03, 0xff, 0xbe}, DryRun: aws.Bool(false),
				GrantTokens: []string{}, EncryptionContext: map[string]string{}}},
		{"Encrypt", `{"Key\u0049d":"k","Plaintext":"AA==","EncryptionContext":{"鍵\n":"","":"値"},"EncryptionAlgorithm":"RSAES_OAEP_SHA_1"}`,
			&kms.EncryptInput{KeyId: aws.String("k"), Plaintext: []byte{0}, EncryptionContext: map[string]string{"鍵\n": "", "": "値"},
				EncryptionAlgorithm: types.EncryptionAlgorithmSpecRsaesOaepSha1}},
		{"CreateKey", `{"Description":"","BypassPolicyLockoutSafetyCheck":true,"Tags":[{"TagKey":"名","TagValue":""}]}`,
			&kms.CreateKeyInput{Description: aws.String(""), BypassPolicyLockoutSafetyCheck: true,
				Tags: []types.Tag{{TagKey: aws.String("名"), TagValue: aws.String("")}}}},
		{"UpdateKeyDescription", `{"KeyId":"k","Description":"日本語の説明 🔑"}`,
			&kms.UpdateKeyDescriptionInput{KeyId: aws.String("k"), Description: aws.String("日本語の説明 🔑")}},
		{"ScheduleKeyDeletion", `{"KeyId":"k","PendingWindowInDays":1}`, // 7 is a rule of the handler
			&kms.ScheduleKeyDeletionInput{KeyId: aws.String("k"), PendingWindowInDays: aws.Int32(1)}},
	} {
		got, err := decode(t, c.operation, c.body)
		if err != nil {
			t.Errorf("%s %s: %v", c.operation, c.body, err)
		} else if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %s: got %+v, want %+v", c.operation, c.body, got, c.want)
		}
	}
}

func TestDecodeTimes(t *testing.T) {
	for number, want := range map[string]time.Time{
		"0":                time.UnixMilli(0),
		"-1.5":             time.UnixMilli(-1500),
		"1700000000":       time.UnixMilli(1700000000000),
		"1700000000.123":   time.UnixMilli(1700000000123),
		"1.700000000123E9": time.UnixMilli(1700000000123),
		"253402300799":     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		in, err := decode(t, "ImportKeyMaterial", `{"KeyId":"k","ImportToken":"AA==","EncryptedKeyMaterial":"AA==","ValidTo":`+number+`}`)
		if err != nil {
			t.Errorf("%s: %v", number, err)
		} else if got := in.(*kms.ImportKeyMaterialInput).ValidTo; !got.Equal(want) {
			t.Errorf("%s is read as %v, want %v", number, got, want)
		}
	}
}

// TestSerializationErrors: what is not the JSON of the input. The messages for
// wrong types are AWS's; a wrong type goes before a broken constraint.
func TestSerializationErrors(t *testing.T) {
	const (
		noList   = "Start of list found where not expected"
		noObject = "Start of structure or map found where not expected."
		noBody   = "The request body must be a JSON object."
		notJSON  = "The request body is not valid JSON: "
	)
	for _, c := range []struct{ operation, body, want string }{
		{"ListKeys", `{"Limit":"1"}`, "STRING_VALUE can not be converted to an Integer"},
		{"ListKeys", `{"Limit":true}`, "TRUE_VALUE can not be converted to an Integer"},
		{"ListKeys", `{"Limit":[1]}`, noList},
		{"ListKeys", `{"Limit":{"a":1}}`, noObject},
		{"ListKeys", `{"Limit":1.5}`, "NUMBER_VALUE can not be converted to an Integer"},
		{"ListKeys", `{"Limit":1e2}`, "NUMBER_VALUE can not be converted to an Integer"},
		{"ListKeys", `{"Limit":2147483648}`, "NUMBER_VALUE can not be converted to an Integer"},
		{"ListKeys", `{"Limit":-99999999999999999999999999}`, "NUMBER_VALUE can not be converted to an Integer"},
		{"ListKeys", `{"Marker":1}`, "NUMBER_VALUE can not be converted to a String"},
		{"ListKeys", `{"Marker":false}`, "FALSE_VALUE can not be converted to a String"},
		{"ListKeys", `{"Marker":["x"]}`, noList},
		{"ListKeys", `{"Marker":{}}`, noObject},
		{"Encrypt", `{"DryRun":"true"}`, "STRING_VALUE can not be converted to a Boolean"},
		{"Encrypt", `{"DryRun":1}`, "NUMBER_VALUE can not be converted to a Boolean"},
		{"Encrypt", `{"Plaintext":1}`, "NUMBER_VALUE can not be converted to a Blob"},
		{"Encrypt", `{"Plaintext":[1,2]}`, noList},
		{"Encrypt", `{"Plaintext":"x"}`, "The value at 'plaintext' is not valid Base64."},
		{"Encrypt", `{"Plaintext":"AA"}`, "The value at 'plaintext' is not valid Base64."},
		{"Encrypt", `{"Plaintext":"__8="}`, "The value at 'plaintext' is not valid Base64."},
		{"Encrypt", `{"EncryptionAlgorithm":1}`, "NUMBER_VALUE can not be converted to a String"},
		{"Encrypt", `{"GrantTokens":"x"}`, "Expected list or null"},
		{"Encrypt", `{"GrantTokens":{}}`, noObject},
		{"Encrypt", `{"GrantTokens":[1]}`, "NUMBER_VALUE can not be converted to a String"},
		{"Encrypt", `{"GrantTokens":[["x"]]}`, noList},
		{"Encrypt", `{"EncryptionContext":"x"}`, "Expected null"},
		{"Encrypt", `{"EncryptionContext":[]}`, noList},
		{"Encrypt", `{"EncryptionContext":{"a":1}}`, "NUMBER_VALUE can not be converted to a String"},
		{"Encrypt", `{"EncryptionContext":{"a":{}}}`, noObject},
		{"Encrypt", `{"EncryptionContext":{"a":"1","\u0061":"2"}}`, `The request body has the member "a" twice.`},
		{"CreateKey", `{"Tags":[{"TagKey":"a","TagValue":1}]}`, "NUMBER_VALUE can not be converted to a String"},
		{"CreateKey", `{"Tags":["a"]}`, "Expected null"},
		{"ImportKeyMaterial", `{"ValidTo":"2030-01-01"}`, "STRING_VALUE can not be converted to a Timestamp"},
		{"ImportKeyMaterial", `{"ValidTo":1e99}`, "NUMBER_VALUE can not be converted to a Timestamp"},
		{"ImportKeyMaterial", `{"ValidTo":1e999}`, "NUMBER_VALUE can not be converted to a Timestamp"},

		{"ListKeys", `[]`, noList},
		{"ListKeys", `null`, noBody},
		{"ListKeys", `"x"`, noBody},
		{"ListKeys", `1`, noBody},
		{"ListKeys", " \n", noBody},
		{"ListKeys", `{"Limit":1,"Limit":1}`, `The request body has the member "Limit" twice.`},
		{"ListKeys", `{"x":{"y":1,"y":1}}`, `The request body has the member "y" twice.`},
		{"ListKeys", `{`, notJSON + "unexpected EOF at byte 1."},
		{"ListKeys", `{"Limit":1`, notJSON + "unexpected EOF at byte 10."},
		{"ListKeys", `{"Limit"`, notJSON + "unexpected EOF at byte 8."},
		{"ListKeys", `{"Limit":1,}`, notJSON},
		{"ListKeys", `{"Limit":}`, notJSON},
		{"ListKeys", `{"Limit":]`, notJSON},
		{"ListKeys", `{"Limit" 1}`, notJSON},
		{"ListKeys", `{Limit:1}`, notJSON},
		{"ListKeys", `{1:1}`, notJSON},
		{"ListKeys", `{"Limit":01}`, notJSON},
		{"ListKeys", `{"Limit":nil}`, notJSON},
		{"ListKeys", `}`, noBody},
		{"ListKeys", `{}{}`, "The request body goes on after the JSON object."},
		{"ListKeys", `{}x`, notJSON},
		{"ListKeys", "\ufeff{}", notJSON},
		{"ListKeys", "{\"Marker\":\"\xff\"}", notJSON},
		{"ListKeys", `{"Marker":"\ud800"}`, notJSON},
		{"ListKeys", "{\"Marker\":\"a\nb\"}", notJSON},
		{"Encrypt", `{"GrantTokens":["x"}`, notJSON},
		{"Encrypt", `{"GrantTokens":["x",]}`, notJSON},
		{"Encrypt", `{"EncryptionContext":{"a"}}`, notJSON},
		{"Encrypt", `{"EncryptionContext":{"a":"b"]}`, notJSON},
		{"ListKeys", `{"x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`, "The request body nests arrays and objects too deeply."},
		{"ListKeys", `{"x":` + strings.Repeat(`{"a":`, 1e6), "The request body nests arrays and objects too deeply."},
	} {
		_, err := decode(t, c.operation, c.body)
		e, ok := err.(*awserr.Error)
		if !ok || e.Code != awserr.Serialization || e.Status != 400 ||
			e.Message != c.want && !(c.want == notJSON && strings.HasPrefix(e.Message, notJSON)) {
			t.Errorf("%s %.100s: %v, want SerializationException: %s", c.operation, c.body, err, c.want)
		}
	}
	if _, err := decode(t, "ListKeys", `{"x":`+strings.Repeat("[", 15)+strings.Repeat("]", 15)+`}`); err != nil {
		t.Errorf("16 levels: %v", err)
	}
	long := strings.Repeat("x", 1e6)
	if _, err := decode(t, "ListKeys", `{"`+long+`":1,"`+long+`":1}`); err == nil || len(err.Error()) > 1000 {
		t.Errorf("a long name twice: %.100v", err)
	}
}

// TestValidationErrors: the messages are those of AWS.
func TestValidationErrors(t *testing.T) {
	const policyPattern = `satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+`
	b64 := func(n int) string { return strings.Repeat("AAAA", n/3) + "AA=="[:4*(n%3)] }
	for _, c := range []struct{ operation, body, want string }{
		{"Encrypt", `{"Plaintext":"AA=="}`, "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null"},
		{"Encrypt", ``, "2 validation errors detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null; " +
			"Value null at 'plaintext' failed to satisfy constraint: Member must not be null"},
		{"DescribeKey", `{"KeyId":null}`, "1: null keyId: not be null"},
		{"DescribeKey", `{"KeyId":""}`, "1: '' keyId: have length greater than or equal to 1"},
		{"DescribeKey", `{"KeyId":"` + strings.Repeat("鍵", 2049) + `"}`,
			"1: '" + strings.Repeat("鍵", 256) + "...' keyId: have length less than or equal to 2048"},
		{"Encrypt", `{"KeyId":"k","Plaintext":"` + b64(4098) + `"}`, "1: - plaintext: have length less than or equal to 4096"},
		{"Encrypt", `{"KeyId":"k","Plaintext":""}`, "1: - plaintext: have length greater than or equal to 1"},
		{"Decrypt", `{"CiphertextBlob":""}`, "1: - ciphertextBlob: have length greater than or equal to 1"},
		{"Encrypt", `{"KeyId":"k","Plaintext":"AA==","GrantTokens":["t","t","t","t","t","t","t","t","t","t","t"]}`,
			"1: - grantTokens: have length less than or equal to 10"},
		{"Encrypt", `{"KeyId":"k","Plaintext":"AA==","GrantTokens":["t",""]}`, "1: - grantTokens.2.member: have length greater than or equal to 1"},
		{"Encrypt", `{"KeyId":"k","Plaintext":"AA==","GrantTokens":["t",null]}`, "1: null grantTokens.2.member: not be null"},
		{"Encrypt", `{"KeyId":"k","Plaintext":"AA==","EncryptionContext":{"a":"b","c":null}}`, "1: null encryptionContext.c: not be null"},
		{"Encrypt", `{"KeyId":"k","Plaintext":"AA==","EncryptionAlgorithm":"ROT13"}`,
			"1: 'ROT13' encryptionAlgorithm: satisfy enum value set: [SYMMETRIC_DEFAULT, RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, SM2PKE]"},
		{"GenerateDataKey", `{"KeyId":"k","KeySpec":""}`, "1: '' keySpec: satisfy enum value set: [AES_256, AES_128]"},
		{"GenerateDataKey", `{"KeyId":"k","KeySpec":"aes_256"}`, "1: 'aes_256' keySpec: satisfy enum value set: [AES_256, AES_128]"},
		{"GenerateRandom", `{"NumberOfBytes":0}`, "1: '0' numberOfBytes: have value greater than or equal to 1"},
		{"GenerateRandom", `{"NumberOfBytes":1025}`, "1: '1025' numberOfBytes: have value less than or equal to 1024"},
		{"ListKeys", `{"Limit":-1}`, "1: '-1' limit: have value greater than or equal to 1"},
		{"EnableKeyRotation", `{"KeyId":"k","RotationPeriodInDays":89}`, "1: '89' rotationPeriodInDays: have value greater than or equal to 90"},
		{"CreateAlias", `{"AliasName":"alias/a b","TargetKeyId":"k"}`,
			"1: 'alias/a b' aliasName: satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"},
		{"CreateAlias", `{"AliasName":"alias/a\n","TargetKeyId":"k"}`,
			"1: 'alias/a\n' aliasName: satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"},
		{"CreateAlias", `{"AliasName":"","TargetKeyId":"k"}`, "2: '' aliasName: have length greater than or equal to 1; " +
			"'' aliasName: satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"},
		{"TagResource", `{"KeyId":"k","Tags":[{"TagKey":"` + strings.Repeat("a", 129) + `","TagValue":"v"}]}`,
			"1: '" + strings.Repeat("a", 129) + "' tags.1.member.tagKey: have length less than or equal to 128"},
		{"TagResource", `{"KeyId":"k","Tags":[{"TagKey":"a","TagValue":"v"},{"TagKey":"b"},null]}`,
			"2: null tags.2.member.tagValue: not be null; null tags.3.member: not be null"},
		{"UntagResource", `{"KeyId":"k","TagKeys":["a",""]}`, "1: '' tagKeys.2.member: have length greater than or equal to 1"},
		{"PutKeyPolicy", `{"KeyId":"k","Policy":"鍵"}`, "1: '鍵' policy: " + policyPattern},
		{"PutKeyPolicy", `{"KeyId":"k","Policy":"{\u000b}"}`, "1: '{\v}' policy: " + policyPattern},
		{"PutKeyPolicy", `{"KeyId":"k","Policy":"{}","PolicyName":"a-b"}`, `1: 'a-b' policyName: satisfy regular expression pattern: [\w]+`},
		{"PutKeyPolicy", `{"KeyId":"k","Policy":"` + strings.Repeat("鍵", 131073) + `"}`,
			"1: '" + strings.Repeat("鍵", 256) + "...' policy: have length less than or equal to 131072"},
		{"CreateCustomKeyStore", `{"CustomKeyStoreName":"s","KeyStorePassword":"secret"}`, "1: - keyStorePassword: have length greater than or equal to 7"},
		{"CreateCustomKeyStore", `{"CustomKeyStoreName":"s","CloudHsmClusterId":"xcluster-abcdefghijk"}`,
			"1: 'xcluster-abcdefghijk' cloudHsmClusterId: satisfy regular expression pattern: cluster-[2-7a-zA-Z]{11,16}"},
		{"CreateCustomKeyStore", `{"CustomKeyStoreName":"s","XksProxyAuthenticationCredential":{"AccessKeyId":"abcdefghijklmnopqrst"}}`,
			"2: - xksProxyAuthenticationCredential.accessKeyId: satisfy regular expression pattern: ^[A-Z2-7]+$; " +
				"null xksProxyAuthenticationCredential.rawSecretAccessKey: not be null"},
		{"CreateGrant", `{"KeyId":"k","Operations":["Encrypt","Sing"],"Constraints":{"EncryptionContextEquals":{"a":null}},"GranteePrincipal":"a b"}`,
			"3: 'Sing' operations.2.member: satisfy enum value set: [Decrypt, Encrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext, ReEncryptFrom, " +
				"ReEncryptTo, Sign, Verify, GetPublicKey, CreateGrant, RetireGrant, DescribeKey, GenerateDataKeyPair, GenerateDataKeyPairWithoutPlaintext, " +
				"GenerateMac, VerifyMac, DeriveSharedSecret, Encapsulate, Decapsulate]; " +
				"null constraints.encryptionContextEquals.a: not be null; " +
				`'a b' granteePrincipal: satisfy regular expression pattern: ^[\w+=,.@:/-]+$`},
		{"AWSEvents.PutTargets", `{"Rule":"r","Targets":[{"Id":"1","Arn":"a","InputTransformer":{"InputTemplate":"t","InputPathsMap":{"a b":"$","c":"` + strings.Repeat("x", 257) + `"}}}]}`,
			`2: 'a b' targets.1.member.inputTransformer.inputPathsMap: satisfy regular expression pattern: [A-Za-z0-9\_\-]+; ` +
				"'" + strings.Repeat("x", 256) + "...' targets.1.member.inputTransformer.inputPathsMap.c: have length less than or equal to 256"},
	} {
		_, err := decode(t, c.operation, c.body)
		e, ok := err.(*awserr.Error)
		if !ok || e.Code != awserr.Validation || e.Status != 400 || e.Message != fullMessage(c.want) {
			t.Errorf("%s %.200s:\ngot  %v\nwant %s", c.operation, c.body, err, fullMessage(c.want))
		}
	}
}

// fullMessage writes out "1: 'V' at: constraint; - at: constraint", the short form
// of the table above.
func fullMessage(short string) string {
	count, list, ok := strings.Cut(short, ": ")
	if !ok || strings.Contains(count, "detected") {
		return short
	}
	plural := "s"
	if count == "1" {
		plural = ""
	}
	var parts []string
	for _, v := range strings.Split(list, "; ") {
		colon := strings.LastIndex(v, ": have ")
		for _, c := range []string{": satisfy ", ": not "} {
			colon = max(colon, strings.Index(v, c))
		}
		at := strings.LastIndex(v[:colon], " ")
		value := " " + v[:at]
		if value == " -" {
			value = ""
		}
		parts = append(parts, fmt.Sprintf("Value%s at '%s' failed to satisfy constraint: Member must %s", value, v[at+1:colon], v[colon+2:]))
	}
	return fmt.Sprintf("%s validation error%s detected: %s", count, plural, strings.Join(parts, "; "))
}

func TestLimitsThatAreKept(t *testing.T) {
	for _, c := range []struct{ operation, body string }{
		{"TagResource", `{"KeyId":"k","Tags":[{"TagKey":"` + strings.Repeat("鍵", 128) + `","TagValue":"` + strings.Repeat("値", 256) + `"}]}`},
		{"Encrypt", `{"KeyId":"k","Plaintext":"` + strings.Repeat("AAAA", 1365) + `AA=="}`}, // 4,096 bytes
		{"PutKeyPolicy", `{"KeyId":"k","Policy":"{\t\"é\":\r\n\"ÿ\"}","PolicyName":"default_1"}`},
		{"ListKeys", `{"Limit":1000,"Marker":"ÿ ~"}`},
		{"ImportKeyMaterial", `{"KeyId":"k","ImportToken":"AA==","EncryptedKeyMaterial":"AA==","KeyMaterialDescription":"a b\u000b\n"}`},
		{"CreateCustomKeyStore", `{"CustomKeyStoreName":"s","XksProxyUriPath":"/a/kms/xks/v1","XksProxyUriEndpoint":"https://x.example"}`},
		{"ReplicateKey", `{"KeyId":"k","ReplicaRegion":"us-gov-west-1"}`},
	} {
		if _, err := decode(t, c.operation, c.body); err != nil {
			t.Errorf("%s %.80s: %v", c.operation, c.body, err)
		}
	}
}

func TestManyViolationsStaySmall(t *testing.T) {
	_, err := decode(t, "TagResource", `{"KeyId":"k","Tags":[{}`+strings.Repeat(`,{}`, 99999)+`]}`)
	e := awserr.From(err)
	if !strings.HasPrefix(e.Message, "200000 validation errors detected: Value null at 'tags.1.member.tagKey'") || len(e.Message) > 2000 {
		t.Errorf("200,000 violations: %d bytes: %.200s", len(e.Message), e.Message)
	}
}

// TestDecoderIsReused: nothing of one body is seen by the next.
func TestDecoderIsReused(t *testing.T) {
	for range 3 {
		for _, body := range []string{`{"KeyId":"","Plaintext":""}`, `{"KeyId":`, `{"KeyId":"k","KeyId":"k"}`, `{"x":[[[[`} {
			if _, err := decode(t, "Encrypt", body); err == nil {
				t.Fatalf("%s was taken", body)
			}
		}
		if _, err := decode(t, "Encrypt", `{"KeyId":"k","Plaintext":"AA=="}`); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	valid := map[string]string{
		"CreateKey":         `{"Description":"d","Tags":[{"TagKey":"k","TagValue":"v"}],"KeySpec":"HMAC_256"}`,
		"Encrypt":           `{"KeyId":"k","Plaintext":"AA==","EncryptionContext":{"a":"b"},"GrantTokens":["t"],"x":[{}]}`,
		"ImportKeyMaterial": `{"KeyId":"k","ImportToken":"AA==","EncryptedKeyMaterial":"AA==","ValidTo":1700000000.5}`,
		"ListKeys":          ``,
	}
	for i, op := range KMS.Operations {
		f.Add(uint8(i), AppendOutput(nil, snapshotFilling.newFilled(kmsOperations[i].in)))
		f.Add(uint8(i), AppendOutput(nil, awkwardFilling.newFilled(kmsOperations[i].in)))
		if body, ok := valid[op.Name]; ok {
			f.Add(uint8(i), []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, body []byte) {
		op := KMS.Operations[int(n)%len(KMS.Operations)]
		in := op.NewInput()
		if err := op.Decode(body, in); err != nil {
			e, ok := err.(*awserr.Error)
			if !ok || e.Code != awserr.Serialization && e.Code != awserr.Validation || e.Message == "" {
				t.Fatalf("not an error of the wire: %v", err)
			}
			return
		}
		again := op.NewInput()
		encoded := AppendOutput(nil, in)
		if err := op.Decode(encoded, again); err != nil {
			t.Fatalf("%s decodes, but its encoding %s does not: %v", body, encoded, err)
		}
		if !reflect.DeepEqual(in, again) {
			t.Fatalf("%s: %+v became %+v", body, in, again)
		}
		AppendParameters(nil, in)
	})
}
