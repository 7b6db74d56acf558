package iam

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"time"
)

// Parameters of the one-time passwords of virtual MFA devices.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_mfa_enable_virtual.html
const (
	totpPeriod = 30 // seconds
	totpDigits = 6
	seedBytes  = 40 // 64 characters in base 32, as AWS gives
)

// totp is the code of a step (RFC 6238 with HMAC-SHA-1).
func totp(seed []byte, step int64) string {
	m := hmac.New(sha1.New, seed)
	m.Write(binary.BigEndian.AppendUint64(nil, uint64(step)))
	sum := m.Sum(nil)
	offset := sum[len(sum)-1] & 0xf // dynamic truncation, RFC 4226
	code := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff
	return fmt.Sprintf("%0*d", totpDigits, code%1_000_000)
}

// totpStep is the number of the step at a time.
func totpStep(t time.Time) int64 { return t.Unix() / totpPeriod }

// isCode tells whether s has the form of a code.
func isCode(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) == totpDigits
}

// findStep is the step from first to last that codes, one after the other, are
// the codes of; it is the step of the last code.
func findStep(seed []byte, first, last int64, codes ...string) (step int64, ok bool) {
	for s := first; s <= last && !ok; s++ {
		match := 1
		for i, code := range codes {
			match &= subtle.ConstantTimeCompare([]byte(totp(seed, s+int64(i))), []byte(code))
		}
		step, ok = s+int64(len(codes))-1, match == 1
	}
	return step, ok
}
