package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// post sends a call to the floor and returns the answer's status and body.
func post(t *testing.T, sizes, target, body string) (int, []byte) {
	t.Helper()
	f := sizeFlag{}
	if err := f.Set(sizes); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", target)
	w := httptest.NewRecorder()
	handler(f).ServeHTTP(w, r)
	answer, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, answer
}

// The answer is JSON of exactly the size asked for.
func TestAnswerSize(t *testing.T) {
	const sizes = "Encrypt=13,Decrypt=14,GenerateDataKey=4000"
	for operation, size := range map[string]int{"Encrypt": 13, "Decrypt": 14, "GenerateDataKey": 4000} {
		status, answer := post(t, sizes, "TrentService."+operation, `{"Plaintext":"AAAA","EncryptionContext":{"a":"b"}}`)
		if status != http.StatusOK || len(answer) != size || !json.Valid(answer) {
			t.Errorf("%s: %d, %d bytes: %s", operation, status, len(answer), answer)
		}
	}
}

func TestRefuses(t *testing.T) {
	if status, answer := post(t, "Encrypt=100", "TrentService.Sign", `{}`); status != http.StatusBadRequest {
		t.Errorf("an operation without a size was answered %d: %s", status, answer)
	}
	if status, answer := post(t, "Encrypt=100", "TrentService.Encrypt", `{"KeyId":`); status != http.StatusBadRequest {
		t.Errorf("a body that is not JSON was answered %d: %s", status, answer)
	}
	for _, bad := range []string{"", "Encrypt", "Encrypt=", "Encrypt=x", "Encrypt=12", "Encrypt=100,"} {
		if err := (sizeFlag{}).Set(bad); err == nil {
			t.Errorf("-sizes %q was accepted", bad)
		}
	}
}
