package seal

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode"
)

// A recovery passphrase is written as
//
//	4567-89AB-CDEF-GHJK-MNPQ-RSTV-WXYZ-DTSV
//
// 8 groups of 4 characters of Crockford's base32 (https://www.crockford.com/base32.html),
// which has no I, L, O and U. The first seven groups are 140 random bits, the last
// is a check: the first 20 bits of SHA-256(recoveryLabel || the 28 characters).
const (
	crockford       = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	recoveryGroup   = 4
	recoveryRandom  = 7 * recoveryGroup
	recoverySymbols = recoveryRandom + recoveryGroup
	recoveryLabel   = "kagimori v1 recovery passphrase"
)

// NewPassphrase is a new random recovery passphrase, of 140 bits, made to be
// written down by hand: upper or lower case, spaces and dashes do not matter, nor
// does O for 0 or I and L for 1, and a mistake in typing it is told as such.
func NewPassphrase() string {
	symbols := make([]byte, recoveryRandom)
	rand.Read(symbols) // never fails
	for i, b := range symbols {
		symbols[i] = crockford[b%32] // 32 divides 256: uniform
	}
	text := string(symbols) + recoveryCheck(string(symbols))
	var groups []string
	for i := 0; i < len(text); i += recoveryGroup {
		groups = append(groups, text[i:i+recoveryGroup])
	}
	return strings.Join(groups, "-")
}

func recoveryCheck(symbols string) string {
	sum := sha256.Sum256([]byte(recoveryLabel + symbols))
	bits := uint32(sum[0])<<16 | uint32(sum[1])<<8 | uint32(sum[2])
	var check [recoveryGroup]byte
	for i := range check {
		check[i] = crockford[bits>>(19-5*i)&31]
	}
	return string(check[:])
}

// parseRecovery is a recovery passphrase in the one form it is used in: 32 upper
// case characters. Its error is ErrTypo, and says where to look, but repeats
// nothing.
func parseRecovery(text string) (string, error) {
	typo := func(format string, args ...any) (string, error) {
		return "", &failure{ErrTypo, "the recovery passphrase is mistyped: " + fmt.Sprintf(format, args...)}
	}
	symbols, bad := normalizeRecovery(text)
	switch {
	case bad >= 0:
		return typo("the character in place %d of group %d is not one that recovery passphrases have", bad%recoveryGroup+1, bad/recoveryGroup+1)
	case len(symbols) != recoverySymbols:
		return typo("it has %d characters instead of %d", len(symbols), recoverySymbols)
	case recoveryCheck(symbols[:recoveryRandom]) != symbols[recoveryRandom:]:
		return typo("at least one of its characters is another one than was written down, or two are swapped")
	}
	return symbols, nil
}

// looksLikeRecovery tells a mistyped recovery passphrase from one of the
// operator's own.
func looksLikeRecovery(text string) bool {
	symbols, bad := normalizeRecovery(text)
	return bad < 0 && len(symbols) == recoverySymbols
}

// normalizeRecovery is text without what does not matter, and the index of the
// first symbol that is none, or -1.
func normalizeRecovery(text string) (symbols string, bad int) {
	var b strings.Builder
	for _, r := range text {
		if r >= '！' && r <= '～' { // full-width forms, as Japanese input methods type them
			r -= '！' - '!'
		}
		r = unicode.ToUpper(r)
		switch {
		case unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || r == '−' || r == 'ー':
			continue
		case r == 'O':
			r = '0'
		case r == 'I' || r == 'L':
			r = '1'
		}
		if !strings.ContainsRune(crockford, r) {
			return b.String(), b.Len()
		}
		b.WriteRune(r)
	}
	return b.String(), -1
}
