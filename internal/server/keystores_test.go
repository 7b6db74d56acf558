package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/keystore"
)

// testBackend is a backend whose connections the test holds up and lets fail.
type testBackend struct {
	mu       sync.Mutex
	refusal  error         // of Check
	failure  error         // of Connect
	holdOpen chan struct{} // what Connect waits for
	holdShut chan struct{} // what Close waits for
	seen     []keystore.Config
	open     int
}

func (b *testBackend) set(fn func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fn()
}

func (b *testBackend) connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

func (b *testBackend) Check(_ context.Context, cfg, _ *keystore.Config) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = append(b.seen, *cfg)
	return b.refusal
}

func (b *testBackend) Connect(ctx context.Context, cfg *keystore.Config) (keystore.Connection, error) {
	b.mu.Lock()
	hold := b.holdOpen
	b.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = append(b.seen, *cfg)
	if b.failure != nil {
		return nil, b.failure
	}
	b.open++
	return testConnection{b}, nil
}

type testConnection struct{ *testBackend }

func (c testConnection) Random(_ context.Context, n int) ([]byte, error) {
	return bytes.Repeat([]byte{7}, n), nil
}

func (c testConnection) Close() error {
	c.mu.Lock()
	hold := c.holdShut
	c.mu.Unlock()
	if hold != nil {
		<-hold
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	return nil
}

const (
	storePassword = "kmsuser-password"
	proxySecret   = "cHJveHktc2VjcmV0LXByb3h5LXNlY3JldC1wcm94eS1zZWNyZXQ="
)

// newHSM asks for the nth store over an HSM.
func newHSM(n int) string {
	return fmt.Sprintf(`{"CustomKeyStoreName":"hsm %d","CloudHsmClusterId":"cluster-aaaaaaaaaa%c","TrustAnchorCertificate":"-----BEGIN CERTIFICATE-----","KeyStorePassword":"%s"}`, n, 'a'+n, storePassword)
}

// newProxy asks for the nth external store.
func newProxy(n int) string {
	return fmt.Sprintf(`{"CustomKeyStoreName":"proxy %d","CustomKeyStoreType":"EXTERNAL_KEY_STORE","XksProxyConnectivity":"PUBLIC_ENDPOINT","XksProxyUriEndpoint":"https://xks.example.com","XksProxyUriPath":"/p%d/kms/xks/v1",%s}`, n, n, proxyCredential)
}

const proxyCredential = `"XksProxyAuthenticationCredential":{"AccessKeyId":"ABCDEFGHIJKLMNOPQRST","RawSecretAccessKey":"` + proxySecret + `"}`

func storeID(id string) string { return `{"CustomKeyStoreId":"` + id + `"}` }

func (h *harness) newStore(body string) string {
	h.Helper()
	var out struct{ CustomKeyStoreId string }
	h.call("CreateCustomKeyStore", body, &out)
	return out.CustomKeyStoreId
}

// connection is the state of a store, with the reason of a failure.
func (h *harness) connection(id string) string {
	h.Helper()
	var out struct {
		CustomKeyStores []struct{ ConnectionState, ConnectionErrorCode string }
	}
	h.call("DescribeCustomKeyStores", storeID(id), &out)
	return strings.TrimSpace(out.CustomKeyStores[0].ConnectionState + " " + out.CustomKeyStores[0].ConnectionErrorCode)
}

func (h *harness) wantConnection(id, want string) {
	h.Helper()
	h.eventually(want, func() bool { return h.connection(id) == want })
}

func backend(h *harness, kind types.CustomKeyStoreType) *testBackend {
	return h.srv.opts.KeyStores[kind].(*testBackend)
}

// TestConnectionStates calls each operation in each state of each kind of store.
// https://docs.aws.amazon.com/kms/latest/developerguide/connect-keystore.html
func TestConnectionStates(t *testing.T) {
	t.Parallel()
	const disconnected, connecting, connected, failed, disconnecting = "DISCONNECTED", "CONNECTING", "CONNECTED", "FAILED", "DISCONNECTING"
	all := []string{disconnected, connecting, connected, failed, disconnecting}
	for kind, body := range map[types.CustomKeyStoreType]func(int) string{
		types.CustomKeyStoreTypeAwsCloudhsm: newHSM, types.CustomKeyStoreTypeExternalKeyStore: newProxy,
	} {
		external := kind == types.CustomKeyStoreTypeExternalKeyStore
		type calls map[string]struct {
			body  string
			works []string // in these states
		}
		table := calls{
			"ConnectCustomKeyStore":    {"", []string{disconnected, connecting, connected}},
			"DisconnectCustomKeyStore": {"", []string{connected, connecting, failed}},
			"DeleteCustomKeyStore":     {"", []string{disconnected}},
			"UpdateCustomKeyStore":     {`,"NewCustomKeyStoreName":"new"`, []string{disconnected, connected}},
		}
		updates := map[string][]string{`"CloudHsmClusterId":"cluster-bbbbbbbbbbb"`: {disconnected}, `"KeyStorePassword":"` + storePassword + `"`: {disconnected}}
		if external {
			updates = map[string][]string{proxyCredential: {disconnected, connected}, `"XksProxyUriPath":"/new/kms/xks/v1"`: {disconnected, connected},
				`"XksProxyUriEndpoint":"https://new.example.com"`: {disconnected}, `"XksProxyConnectivity":"PUBLIC_ENDPOINT"`: {disconnected}}
		}
		for member, works := range updates {
			table["UpdateCustomKeyStore "+member] = struct {
				body  string
				works []string
			}{"," + member, works}
		}
		for name, c := range table {
			for _, state := range all {
				t.Run(fmt.Sprintf("%s %s %s", kind, name, state), func(t *testing.T) {
					t.Parallel()
					h := start(t)
					b := backend(h, kind)
					id := h.newStore(body(1))
					release := make(chan struct{})
					defer close(release)
					switch state {
					case connecting:
						b.holdOpen = release
					case failed:
						b.failure = &keystore.ConnectError{Code: types.ConnectionErrorCodeTypeInvalidCredentials, Err: errors.New("wrong password")}
					case disconnecting:
						b.holdShut = release
					}
					if state != disconnected {
						h.call("ConnectCustomKeyStore", storeID(id), nil)
					}
					shown := state
					switch state {
					case failed:
						shown += " INVALID_CREDENTIALS"
					case disconnecting:
						h.wantConnection(id, connected)
						h.call("DisconnectCustomKeyStore", storeID(id), nil)
					}
					h.wantConnection(id, shown)

					operation, _, _ := strings.Cut(name, " ")
					a := h.do(op(operation, `{"CustomKeyStoreId":"`+id+`"`+c.body+`}`))
					if slices.Contains(c.works, state) {
						if a.StatusCode != 200 || string(a.body) != "{}" {
							t.Errorf("%d %s", a.StatusCode, a.body)
						}
						return
					}
					a.wantError(t, 400, "CustomKeyStoreInvalidStateException", fmt.Sprintf("The connection state of custom key store %s is %s. %s needs %s.",
						id, state, operation, strings.Join(c.works, " or ")))
					if got := h.connection(id); got != shown {
						t.Errorf("then it is %s", got)
					}
				})
			}
		}
	}
}

// TestConnections follows a store through its life.
func TestConnections(t *testing.T) {
	t.Parallel()
	var opts setup
	h := start(t, func(s *setup) { opts = *s })
	b := backend(h, types.CustomKeyStoreTypeAwsCloudhsm)
	id := h.newStore(newHSM(1))
	random := `{"NumberOfBytes":4,"CustomKeyStoreId":"` + id + `"}`
	h.do(op("GenerateRandom", random)).wantError(t, 400, "CustomKeyStoreInvalidStateException", "")
	newKey := op("CreateKey", `{"Origin":"AWS_CLOUDHSM","CustomKeyStoreId":"`+id+`"}`)
	h.do(newKey).wantError(t, 400, "CustomKeyStoreInvalidStateException", "")
	h.call("ConnectCustomKeyStore", storeID(id), nil)
	h.wantConnection(id, "CONNECTED")
	var out struct{ Plaintext []byte }
	h.call("GenerateRandom", random, &out)
	if string(out.Plaintext) != "\x07\x07\x07\x07" {
		t.Errorf("the HSM's random bytes are %v", out.Plaintext)
	}
	h.do(newKey).wantError(t, 400, "UnsupportedOperationException", "")
	h.call("ConnectCustomKeyStore", storeID(id), nil) // is already
	if n := b.connections(); n != 1 {
		t.Errorf("%d connections", n)
	}

	// A restart connects it again; a stop leaves no connection behind.
	h.close()
	if n := b.connections(); n != 0 {
		t.Errorf("%d connections after the stop", n)
	}
	h.open(&opts)
	h.wantConnection(id, "CONNECTED")
	h.call("DisconnectCustomKeyStore", storeID(id), nil)
	h.wantConnection(id, "DISCONNECTED")
	h.close()
	h.open(&opts)
	if got := h.connection(id); got != "DISCONNECTED" || b.connections() != 0 {
		t.Errorf("after a restart it is %s", got)
	}

	// An attempt that is given up, and one that ends after that.
	hold := make(chan struct{})
	b.set(func() { b.holdOpen = hold })
	h.call("ConnectCustomKeyStore", storeID(id), nil)
	h.wantConnection(id, "CONNECTING")
	h.call("DisconnectCustomKeyStore", storeID(id), nil)
	h.wantConnection(id, "DISCONNECTED")
	close(hold)
	h.call("ConnectCustomKeyStore", storeID(id), nil)
	h.wantConnection(id, "CONNECTED")
	h.call("DisconnectCustomKeyStore", storeID(id), nil)
	h.wantConnection(id, "DISCONNECTED")
	h.call("DeleteCustomKeyStore", storeID(id), nil)
	h.do(op("DescribeCustomKeyStores", storeID(id))).wantError(t, 400, "CustomKeyStoreNotFoundException", "")
	if n := b.connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}

	// A proxy whose credential is changed while it is connected is connected anew with it.
	b = backend(h, types.CustomKeyStoreTypeExternalKeyStore)
	id = h.newStore(newProxy(1))
	h.do(op("GenerateRandom", `{"NumberOfBytes":4,"CustomKeyStoreId":"`+id+`"}`)).wantError(t, 400, "UnsupportedOperationException", "")
	h.call("ConnectCustomKeyStore", storeID(id), nil)
	h.wantConnection(id, "CONNECTED")
	h.call("UpdateCustomKeyStore", `{"CustomKeyStoreId":"`+id+`","XksProxyUriPath":"/new/kms/xks/v1"}`, nil)
	h.wantConnection(id, "CONNECTED")
	b.set(func() {
		if last := b.seen[len(b.seen)-1]; last.Proxy.Path != "/new/kms/xks/v1" || last.Proxy.SecretKey != proxySecret || b.open != 1 {
			t.Errorf("%d connections, the last by path %s", b.open, last.Proxy.Path)
		}
	})
}

// TestCustomKeyStores is what is refused, and how stores are listed.
func TestCustomKeyStores(t *testing.T) {
	t.Parallel()
	h := start(t)
	hsm, proxy := h.newStore(newHSM(1)), h.newStore(newProxy(1))
	without := func(body, member string) string {
		before, after, _ := strings.Cut(body, `"`+member+`":`)
		if i := strings.IndexByte(after, ','); i >= 0 {
			return before + after[i+1:]
		}
		return strings.TrimSuffix(before, ",") + "}"
	}
	with := func(body, member string) string { return strings.TrimSuffix(body, "}") + "," + member + "}" }
	update := func(id, member string) string { return `{"CustomKeyStoreId":"` + id + `",` + member + `}` }
	const service = `"XksProxyVpcEndpointServiceName":"com.amazonaws.vpce.us-east-1.vpce-svc-example"`
	for _, c := range []struct{ operation, body, code, message string }{
		{"CreateCustomKeyStore", without(newHSM(2), "TrustAnchorCertificate"), "ValidationException", "TrustAnchorCertificate is required for a custom key store of type AWS_CLOUDHSM."},
		{"CreateCustomKeyStore", without(newHSM(2), "KeyStorePassword"), "ValidationException", "KeyStorePassword is required for a custom key store of type AWS_CLOUDHSM."},
		{"CreateCustomKeyStore", with(newHSM(2), `"XksProxyUriPath":"/kms/xks/v1"`), "ValidationException", "XksProxyUriPath is not valid for a custom key store of type AWS_CLOUDHSM."},
		{"CreateCustomKeyStore", without(newProxy(2), "XksProxyUriEndpoint"), "ValidationException", "XksProxyUriEndpoint is required for a custom key store of type EXTERNAL_KEY_STORE."},
		{"CreateCustomKeyStore", with(newProxy(2), service), "XksProxyVpcEndpointServiceNotFoundException", ""},
		{"CreateCustomKeyStore", strings.Replace(newProxy(2), "PUBLIC_ENDPOINT", "VPC_ENDPOINT_SERVICE", 1), "XksProxyVpcEndpointServiceNotFoundException", ""},
		{"CreateCustomKeyStore", strings.Replace(newHSM(2), "hsm 2", "proxy 1", 1), "CustomKeyStoreNameInUseException", "A custom key store with the name proxy 1 already exists."},
		{"CreateCustomKeyStore", strings.Replace(newHSM(1), "hsm 1", "other", 1), "CloudHsmClusterInUseException", "Cluster cluster-aaaaaaaaaab is already associated with custom key store " + hsm + "."},
		{"CreateCustomKeyStore", strings.Replace(newProxy(1), "proxy 1", "other", 1), "XksProxyUriInUseException", "The external key store proxy at https://xks.example.com/p1/kms/xks/v1 is already associated with custom key store " + proxy + "."},
		{"UpdateCustomKeyStore", storeID(hsm), "ValidationException", "Specify at least one property to update."},
		{"UpdateCustomKeyStore", update(hsm, `"XksProxyUriPath":"/kms/xks/v1"`), "ValidationException", ""},
		{"UpdateCustomKeyStore", update(proxy, `"KeyStorePassword":"12345678"`), "ValidationException", ""},
		{"UpdateCustomKeyStore", update(proxy, service), "XksProxyVpcEndpointServiceNotFoundException", ""},
		{"UpdateCustomKeyStore", update(proxy, `"NewCustomKeyStoreName":"hsm 1"`), "CustomKeyStoreNameInUseException", ""},
		{"UpdateCustomKeyStore", update("cks-1", `"NewCustomKeyStoreName":"x"`), "CustomKeyStoreNotFoundException", "Custom key store cks-1 is not found."},
		{"ConnectCustomKeyStore", storeID("cks-1"), "CustomKeyStoreNotFoundException", "Custom key store cks-1 is not found."},
		{"DisconnectCustomKeyStore", storeID("cks-1"), "CustomKeyStoreNotFoundException", "Custom key store cks-1 is not found."},
		{"DeleteCustomKeyStore", storeID("cks-1"), "CustomKeyStoreNotFoundException", "Custom key store cks-1 is not found."},
		{"DescribeCustomKeyStores", storeID("cks-1"), "CustomKeyStoreNotFoundException", "Custom key store cks-1 is not found."},
		{"DescribeCustomKeyStores", `{"CustomKeyStoreName":"none"}`, "CustomKeyStoreNotFoundException", "Custom key store none is not found."},
		{"DescribeCustomKeyStores", `{"CustomKeyStoreName":"hsm 1","CustomKeyStoreId":"` + hsm + `"}`, "ValidationException", ""},
		{"DescribeCustomKeyStores", `{"Marker":"x"}`, "InvalidMarkerException", ""},
		{"GenerateRandom", `{"NumberOfBytes":1,"CustomKeyStoreId":"cks-1"}`, "CustomKeyStoreNotFoundException", ""},
		{"CreateKey", `{"CustomKeyStoreId":"cks-1","Origin":"AWS_CLOUDHSM"}`, "CustomKeyStoreNotFoundException", ""},
		{"CreateKey", `{"CustomKeyStoreId":"` + hsm + `"}`, "ValidationException", ""},
		{"CreateKey", `{"CustomKeyStoreId":"` + hsm + `","Origin":"EXTERNAL_KEY_STORE"}`, "ValidationException", ""},
		{"CreateKey", `{"CustomKeyStoreId":"` + hsm + `","Origin":"EXTERNAL_KEY_STORE","XksKeyId":"k"}`, "ValidationException", ""},
		{"CreateKey", `{"CustomKeyStoreId":"` + hsm + `","Origin":"AWS_CLOUDHSM","XksKeyId":"k"}`, "ValidationException", ""},
		{"CreateKey", `{"Origin":"AWS_CLOUDHSM"}`, "ValidationException", ""},
		{"CreateKey", `{"CustomKeyStoreId":"` + hsm + `","Origin":"AWS_CLOUDHSM","MultiRegion":true}`, "UnsupportedOperationException", ""},
		{"CreateKey", `{"CustomKeyStoreId":"` + hsm + `","Origin":"AWS_CLOUDHSM","KeySpec":"RSA_2048","KeyUsage":"SIGN_VERIFY"}`, "UnsupportedOperationException", ""},
	} {
		a := h.do(op(c.operation, c.body))
		if a.StatusCode != 400 || a.code != c.code || c.message != "" && a.message != c.message {
			t.Errorf("%s %s\ngot  %d %s\nwant %s %s", c.operation, c.body, a.StatusCode, a.body, c.code, c.message)
		}
	}
	b := backend(h, types.CustomKeyStoreTypeAwsCloudhsm)
	b.set(func() { b.refusal = awserr.New(awserr.CloudHsmClusterNotActive, "it sleeps") })
	h.do(op("CreateCustomKeyStore", newHSM(2))).wantError(t, 400, "CloudHsmClusterNotActiveException", "it sleeps")
	h.do(op("UpdateCustomKeyStore", update(hsm, `"CloudHsmClusterId":"cluster-bbbbbbbbbbb"`))).wantError(t, 400, "CloudHsmClusterNotActiveException", "it sleeps")
	h.call("UpdateCustomKeyStore", update(hsm, `"NewCustomKeyStoreName":"金庫"`), nil) // which the HSM is not asked about
	b.set(func() { b.refusal = nil })

	// What is told of each, and what is not; page by page.
	seen := map[string]map[string]any{}
	marker := ""
	for pages := 0; ; pages++ {
		var out struct {
			CustomKeyStores []map[string]any
			NextMarker      string
			Truncated       bool
		}
		body := `{"Limit":1}`
		if marker != "" {
			body = `{"Limit":1,"Marker":"` + marker + `"}`
		}
		h.call("DescribeCustomKeyStores", body, &out)
		for _, c := range out.CustomKeyStores {
			seen[c["CustomKeyStoreId"].(string)] = c
		}
		if marker = out.NextMarker; !out.Truncated {
			break
		}
		if pages > 5 {
			t.Fatal("the list does not end")
		}
	}
	created := float64(h.clock.Now().Unix())
	for id, want := range map[string]map[string]any{
		hsm: {"CustomKeyStoreId": hsm, "CustomKeyStoreName": "金庫", "CustomKeyStoreType": "AWS_CLOUDHSM", "ConnectionState": "DISCONNECTED", "CreationDate": created,
			"CloudHsmClusterId": "cluster-aaaaaaaaaab", "TrustAnchorCertificate": "-----BEGIN CERTIFICATE-----"},
		proxy: {"CustomKeyStoreId": proxy, "CustomKeyStoreName": "proxy 1", "CustomKeyStoreType": "EXTERNAL_KEY_STORE", "ConnectionState": "DISCONNECTED", "CreationDate": created,
			"XksProxyConfiguration": map[string]any{"Connectivity": "PUBLIC_ENDPOINT", "AccessKeyId": "ABCDEFGHIJKLMNOPQRST", "UriEndpoint": "https://xks.example.com", "UriPath": "/p1/kms/xks/v1"}},
	} {
		if got := fmt.Sprint(seen[id]); got != fmt.Sprint(want) {
			t.Errorf("got  %s\nwant %v", got, want)
		}
	}
	if len(seen) != 2 {
		t.Errorf("stores %v", slices.Collect(maps.Keys(seen)))
	}

	for n := 2; n <= 9; n++ {
		h.newStore(newHSM(n))
	}
	h.do(op("CreateCustomKeyStore", newProxy(2))).wantError(t, 400, "LimitExceededException", "")
}

// TestNoKeyStoreBackend is the server as it is delivered.
func TestNoKeyStoreBackend(t *testing.T) {
	t.Parallel()
	h := start(t, func(s *setup) { s.KeyStores = nil })
	h.do(op("CreateCustomKeyStore", newHSM(1))).wantError(t, 400, "CloudHsmClusterNotFoundException",
		"Cluster cluster-aaaaaaaaaab is not found: this version of Kagimori has no backend for HSMs yet.")
	h.do(op("CreateCustomKeyStore", newProxy(1))).wantError(t, 400, "XksProxyUriUnreachableException",
		"The external key store proxy at https://xks.example.com/p1/kms/xks/v1 cannot be reached: this version of Kagimori has no backend for external key stores yet.")
	h.do(op("ConnectCustomKeyStore", storeID("cks-1234567890abcdef0"))).wantError(t, 400, "CustomKeyStoreNotFoundException", "")
	if a := h.call("DescribeCustomKeyStores", "{}", nil); string(a.body) != `{"CustomKeyStores":[],"Truncated":false}` {
		t.Errorf("%s", a.body)
	}
}
