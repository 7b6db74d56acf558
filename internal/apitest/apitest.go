// Package apitest has the checks that the tests of the services share, which call
// them with AWS's SDK.
package apitest

import (
	"errors"
	"testing"

	"github.com/aws/smithy-go"
)

// Must is for calls that a test builds on: it ends the test if one fails, and
// gives the answer.
func Must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// OK checks that a call has not failed.
func OK(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// WantError checks the error code of a failed call, and its message if given.
func WantError(t testing.TB, err error, code string, message ...string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code {
		t.Errorf("error %v, want %s", err, code)
		return
	}
	if len(message) > 0 && e.ErrorMessage() != message[0] {
		t.Errorf("%s: message %q, want %q", code, e.ErrorMessage(), message[0])
	}
}
