package server

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/events"
	"github.com/kagimori/kagimori/internal/wire"
)

// canary stands for every secret. Its characters are allowed in all of them.
const canary = "KANARIENVOGELKANARIENVOG"

// secretTexts are the members that are secret besides all blobs.
// https://docs.aws.amazon.com/kms/latest/developerguide/logging-using-cloudtrail.html
var secretTexts = []string{"GrantTokens", "GrantToken", "KeyStorePassword", "AccessKeyId", "RawSecretAccessKey"}

// fill makes a value for a member of a request: the canary for secrets, something
// that is accepted, or nearly so, for the rest.
func fill(t reflect.Type, name, key string) any {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	secret := slices.Contains(secretTexts, name)
	switch {
	case t == reflect.TypeFor[[]byte]():
		return base64.StdEncoding.EncodeToString([]byte(canary))
	case t == reflect.TypeFor[time.Time]():
		return 1_800_000_000
	case t.Kind() == reflect.Bool:
		return false
	case t.Kind() == reflect.Int32:
		return 100
	case t.Kind() == reflect.Map:
		return map[string]string{"k": "v"}
	case t.Kind() == reflect.Slice:
		return []any{fill(t.Elem(), name, key)}
	case t.Kind() == reflect.Struct:
		return fillAll(t, key)
	case name == "RawSecretAccessKey":
		return canary + canary
	case secret:
		return canary
	case t.Kind() == reflect.String && t != reflect.TypeFor[string](): // an enum
		values := reflect.Zero(t).MethodByName("Values").Call(nil)[0]
		return values.Index(0).String()
	case strings.HasSuffix(name, "KeyId"):
		return key
	case strings.Contains(name, "Principal"):
		return rootARN
	case name == "GrantId":
		return strings.Repeat("0", 64)
	case name == "AliasName":
		return "alias/canary"
	case name == "TrustAnchorCertificate":
		return "-----BEGIN CERTIFICATE-----"
	case name == "CloudHsmClusterId":
		return "cluster-1234567890a"
	case name == "CustomKeyStoreId":
		return "cks-1234567890abcdef0"
	case name == "XksProxyUriEndpoint":
		return "https://xks.example.com"
	case name == "XksProxyUriPath":
		return "/kms/xks/v1"
	case name == "KeyMaterialId":
		return strings.Repeat("0", 64)
	case name == "ReplicaRegion", name == "PrimaryRegion":
		return "eu-west-1"
	}
	return "x"
}

func fillAll(t reflect.Type, key string) map[string]any {
	out := map[string]any{}
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && f.Name != "ResultMetadata" {
			out[f.Name] = fill(f.Type, f.Name, key)
		}
	}
	return out
}

// TestSecretsStayInside puts a canary into every secret that any operation
// takes, in good calls and bad ones, and then looks for it, and for every secret
// that was given out, in all that is written: records, log, error answers.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	h := start(t)
	w := newWorld(h)
	secrets := [][]byte{[]byte(canary)}
	answered := map[string]int{}
	send := func(r request) {
		t.Helper()
		a := h.do(r)
		answered[a.code]++
		if a.StatusCode != 200 {
			noSecret(t, "the answer to "+r.target, a.body, secrets[:1])
			return
		}
		var out map[string]any
		if json.Unmarshal(a.body, &out) != nil {
			return
		}
		for _, name := range []string{"Plaintext", "CiphertextBlob", "PrivateKeyPlaintext", "SharedSecret", "ImportToken"} {
			if s, ok := out[name].(string); ok {
				b, err := base64.StdEncoding.DecodeString(s)
				h.must(err)
				secrets = append(secrets, b)
			}
		}
	}

	// Calls that work.
	plaintext := base64.StdEncoding.EncodeToString([]byte(canary))
	var out struct{ CiphertextBlob string }
	h.call("Encrypt", `{"KeyId":"`+w.key+`","Plaintext":"`+plaintext+`"}`, &out)
	blob := out.CiphertextBlob
	send(op("Decrypt", `{"CiphertextBlob":"`+blob+`"}`))
	send(op("ReEncrypt", `{"DestinationKeyId":"`+w.other+`","CiphertextBlob":"`+blob+`"}`))
	send(op("Decrypt", `{"CiphertextBlob":"`+blob+`","DryRun":true}`))
	send(op("Decrypt", `{"CiphertextBlob":"`+blob+`","EncryptionContext":{"a":"b"}}`))
	send(op("Decrypt", `{"KeyId":"`+w.other+`","CiphertextBlob":"`+blob+`"}`))
	send(op("GenerateDataKey", `{"KeyId":"`+w.key+`","KeySpec":"AES_256"}`))
	send(op("GenerateDataKeyWithoutPlaintext", `{"KeyId":"`+w.key+`","KeySpec":"AES_256"}`))
	send(op("GenerateRandom", `{"NumberOfBytes":64}`))
	for _, c := range w.validCalls() {
		switch c.operation {
		case "GenerateDataKeyPair", "DeriveSharedSecret", "Encapsulate", "GetParametersForImport", "ImportKeyMaterial", "CreateCustomKeyStore", "UpdateCustomKeyStore", "DescribeCustomKeyStores":
			send(op(c.operation, c.body))
		}
	}
	if len(secrets) != 11 {
		t.Errorf("%d secrets were given out, want 10", len(secrets)-1)
	}
	wrapped, err := base64.StdEncoding.DecodeString(w.wrapped)
	h.must(err)
	secrets = append(secrets, []byte(testMaterial), wrapped, []byte(storePassword))

	// Every operation with every member, then with each secret damaged.
	for _, o := range wire.KMS.Operations {
		in := fillAll(reflect.TypeOf(o.NewInput()).Elem(), w.key)
		body, err := json.Marshal(in)
		h.must(err)
		send(op(o.Name, string(body)))
		text := string(body)
		for _, form := range []string{canary, plaintext} {
			at := strings.Index(text, `"`+form)
			if at < 0 {
				continue
			}
			whole := `"` + form + `"`
			for _, damaged := range []string{
				text[:at+1+len(form)],                                                 // cut off within the string
				text[:at+2+len(form)],                                                 // and behind it
				strings.ReplaceAll(text, whole, `{"x":`+whole+`}`),                    // a wrong type
				strings.ReplaceAll(text, whole, `[`+whole+`]`),                        //
				strings.ReplaceAll(text, whole, `[`+whole+`,`+whole+`]`),              //
				strings.ReplaceAll(text, whole, whole+` `+whole),                      // no comma
				strings.Replace(text, whole, whole+`,`+whole+`:1`, 1),                 // as a name
				strings.ReplaceAll(text, whole, `"`+strings.Repeat(form, 3000)+`"`),   // too long
				strings.ReplaceAll(text, whole, `"`+form+`\ud800"`),                   // not Unicode
				strings.ReplaceAll(text, whole, `"`+form+`%"`),                        // not of the pattern, nor Base64
				strings.ReplaceAll(text, whole, `"`+form+"\n"+`"`),                    // not JSON
				`{"Unknown":` + whole + `,"Future":[{"x":` + whole + `}],` + text[1:], // in members that do not exist
			} {
				send(op(o.Name, damaged))
			}
		}
	}
	t.Logf("answers by code: %v", answered)
	if answered["UnsupportedOperationException"] < 20 || answered["ValidationException"] < 20 || answered["SerializationException"] < 100 {
		t.Error("too few calls got where secrets could be told")
	}

	// Secrets where they do not belong.
	list := op("ListKeys", "{}")
	list.token = canary
	send(list)
	list = op("ListKeys", "{}")
	list.keyID = (canary + canary)[:40] // the secret key in the place of the id
	send(list)
	for _, authorization := range []string{
		"AWS4-HMAC-SHA256 " + canary, "AWS4-HMAC-SHA256 Credential=" + canary + ", Signature=" + canary,
		"Bearer " + canary, "AWS4-HMAC-SHA256 Credential=a/b/c/d/" + canary + ", SignedHeaders=host, Signature=" + canary,
	} {
		r := op("ListKeys", "{}")
		r.unsigned, r.header = true, map[string]string{"Authorization": authorization, "X-Amz-Date": "20260101T000000Z"}
		send(r)
	}
	r := op("ListKeys", "{}")
	r.unsigned, r.path = true, "/?X-Amz-Signature="+canary+"&X-Amz-Security-Token="+canary
	send(r)
	r.method = "GET"
	send(r)

	secrets = append(secrets, []byte(testSecret))
	noSecret(t, "the log", []byte(h.log.String()), secrets)
	files := 0
	for _, dir := range []string{h.data.JournalDir(), h.dir} {
		h.must(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Base(path) == "credentials" {
				return err
			}
			b, err := os.ReadFile(path)
			noSecret(t, path, b, secrets)
			files++
			return err
		}))
	}
	if files < 5 {
		t.Errorf("only %d files to look into", files)
	}
}

// noSecret looks for secrets as they are, in hex, and in Base64 at each of the
// three places in which they can stand there.
func noSecret(t *testing.T, where string, text []byte, secrets [][]byte) {
	t.Helper()
	for _, s := range secrets {
		forms := []string{string(s), hex.EncodeToString(s), strings.ToUpper(hex.EncodeToString(s))}
		for shift := range 3 {
			padded := append(make([]byte, shift), s...)
			padded = padded[:len(padded)/3*3]
			b := base64.StdEncoding.EncodeToString(padded)
			forms = append(forms, b[4*((shift+2)/3):])
		}
		for _, form := range forms {
			if at := strings.Index(string(text), form); at >= 0 {
				t.Errorf("%s holds a secret: %q", where, text[max(0, at-100):min(len(text), at+100)])
				break
			}
		}
	}
}

// otherSecrets are the secret members of the other services.
var otherSecrets = []string{"Password", "OldPassword", "NewPassword", "AuthenticationCode1", "AuthenticationCode2", "TokenCode",
	"WebIdentityToken", "EncodedMessage", "Email", "AccountName"}

// TestSecretsOfOtherServicesStayInside is TestSecretsStayInside for IAM, STS, Organizations,
// CloudTrail and EventBridge: each operation with every secret member, alone and with all others, valid
// where that can be, and then what these services give out.
func TestSecretsOfOtherServicesStayInside(t *testing.T) {
	t.Parallel()
	h := start(t)
	secret := canary + "A1a!" // keeps the rules for passwords
	secrets := [][]byte{[]byte(canary)}
	seen := map[string]bool{}
	targets := map[*wire.Service]string{wire.Organizations: "AWSOrganizationsV20161128.", wire.CloudTrail: "CloudTrail_20131101.", wire.EventBridge: "AWSEvents."}
	send := func(s *wire.Service, operation string, members map[string]string) *answer {
		t.Helper()
		r := request{service: s.Name, region: "us-east-1"}
		if target := targets[s]; target != "" {
			body, err := json.Marshal(members)
			h.must(err)
			r.target, r.body = target+operation, string(body)
		} else {
			form := url.Values{"Action": {operation}}
			for name, value := range members {
				form.Set(name, value)
			}
			r.body, r.header = form.Encode(), map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
		}
		a := h.do(r)
		noSecret(t, "the answer to "+operation, a.body, secrets[:1])
		return a
	}
	for _, s := range wire.Services {
		if s == wire.KMS {
			continue
		}
		for _, o := range s.Operations {
			all, in := map[string]string{}, reflect.TypeOf(o.NewInput()).Elem()
			for i := range in.NumField() {
				name := in.Field(i).Name
				if slices.Contains(otherSecrets, name) {
					seen[name] = true
					all[name] = secret
					send(s, o.Name, map[string]string{name: secret})
				} else if name == "AccessKeyId" { // no secret here
					all[name] = testKeyID
				} else if v, ok := fill(in.Field(i).Type, name, "x").(string); ok {
					all[name] = v
				}
			}
			send(s, o.Name, all)
		}
	}
	for _, name := range otherSecrets {
		if !seen[name] {
			t.Errorf("no operation takes %s", name)
		}
	}

	// Calls that work, and what they give out.
	give := func(a *answer, pattern string) {
		t.Helper()
		m := regexp.MustCompile(pattern).FindSubmatch(a.body)
		if a.StatusCode != 200 || m == nil {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		if len(m) > 1 {
			secrets = append(secrets, m[1])
		}
	}
	user := map[string]string{"UserName": "alice"}
	give(send(wire.IAM, "CreateUser", user), "")
	give(send(wire.IAM, "CreateLoginProfile", map[string]string{"UserName": "alice", "Password": secret}), "")
	give(send(wire.IAM, "UpdateLoginProfile", map[string]string{"UserName": "alice", "Password": secret + "2"}), "")
	give(send(wire.IAM, "CreateAccessKey", user), "<SecretAccessKey>(.*)</SecretAccessKey>")
	give(send(wire.IAM, "CreateVirtualMFADevice", map[string]string{"VirtualMFADeviceName": "phone"}), "<Base32StringSeed>(.*)</Base32StringSeed>")
	session := send(wire.STS, "GetSessionToken", nil)
	give(session, "<SecretAccessKey>(.*)</SecretAccessKey>")
	give(session, "<SessionToken>(.*)</SessionToken>")

	noSecret(t, "the log", []byte(h.log.String()), secrets)
	records := 0
	for _, r := range h.records() {
		noSecret(t, "the record of "+r.EventName, r.raw, secrets)
		records++
	}
	if records < 180 {
		t.Errorf("only %d records", records)
	}
}

// TestSecretsOfEventsStayInside has an event with a secret, for a webhook whose URL and header
// are secrets, and which cannot be reached.
func TestSecretsOfEventsStayInside(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "targets.json")
	text := `{"webhooks":{"hook":{"url":"http://127.0.0.1:1/` + canary + `","headers":{"Authorization":"Bearer ` + canary + `"}}},"commands":{"fails":{"run":["/bin/sh","-c","echo ` + canary + `; echo ` + canary + ` >&2; exit 1"]}}}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h := start(t, func(s *setup) {
		var err error
		if s.EventTargets, err = events.LoadTargets(file); err != nil {
			t.Fatal(err)
		}
	})
	ask := func(operation, body string) {
		t.Helper()
		a := h.do(request{service: "events", target: "AWSEvents." + operation, body: body})
		noSecret(t, "the answer to "+operation, a.body, [][]byte{[]byte(canary)})
		if a.StatusCode != 200 {
			t.Fatalf("%s: %d %s", operation, a.StatusCode, a.body)
		}
	}
	ask("PutRule", `{"Name":"r","EventPattern":"{\"source\":[\"app\"]}"}`)
	for _, kind := range []string{"webhook/hook", "command/fails"} {
		ask("PutTargets", `{"Rule":"r","Targets":[{"Id":"`+kind[:3]+`","Arn":"arn:aws:kagimori:::`+kind+`","RetryPolicy":{"MaximumRetryAttempts":0}}]}`)
	}
	for _, detail := range []string{`{\"a\":\"` + canary + `\"}`, canary} { // the second one is malformed
		ask("PutEvents", `{"Entries":[{"Source":"app","DetailType":"x","Detail":"`+detail+`"}]}`)
	}
	failed := 0
	h.eventually("the events to be given up", func() bool {
		failed = 0
		for _, r := range h.records() {
			if r.EventName == events.FailedDelivery {
				failed++
			}
		}
		return failed == 2
	})
	noSecret(t, "the log", []byte(h.log.String()), [][]byte{[]byte(canary)})
	h.must(filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		noSecret(t, path, b, [][]byte{[]byte(canary)})
		return err
	}))
}
