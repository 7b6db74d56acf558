package iam

import "time"

// TOTP is the code of a virtual MFA device at a time.
func TOTP(seed []byte, at time.Time) string { return totp(seed, totpStep(at)) }
