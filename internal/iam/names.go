package iam

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"math/big"
	"strings"

	"github.com/kagimori/kagimori/internal/api"
)

// Prefixes of unique ids and access keys.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
const (
	userPrefix      = "AIDA"
	groupPrefix     = "AGPA"
	rolePrefix      = "AROA"
	policyPrefix    = "ANPA"
	accessKeyPrefix = "AKIA"
)

// newID is a random unique id of 21 characters, as those of users and roles are:
// the prefix, 16 random characters of base 32 (80 bits), and one more.
func newID(prefix string) string {
	return prefix + base32.StdEncoding.EncodeToString(random(11))[:17]
}

// newAccessKeyID is a random access key id of 20 characters.
func newAccessKeyID() string {
	return accessKeyPrefix + base32.StdEncoding.EncodeToString(random(10))
}

// NewAccountID is a random account id: 12 digits, the first not 0, so that no
// tool takes it for a shorter number.
func NewAccountID() string {
	n, err := rand.Int(rand.Reader, big.NewInt(900_000_000_000))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return fmt.Sprint(100_000_000_000 + n.Int64())
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails, see crypto/rand
	return b
}

// arnOf is the ARN of something of IAM: arn:aws:iam::ACCOUNT:user/PATH/NAME. path
// begins and ends with a slash.
func arnOf(account, resource, path, name string) string {
	return "arn:" + api.Partition + ":iam::" + account + ":" + resource + path + name
}

// RootARN is the ARN of an account's root.
func RootARN(account string) string {
	return "arn:" + api.Partition + ":iam::" + account + ":root"
}

// rootAccount is the account of which text is the root's ARN.
func rootAccount(text string) (account string, ok bool) {
	f := strings.Split(text, ":")
	if len(f) != 6 || !isAccount(f[4]) || text != RootARN(f[4]) {
		return "", false
	}
	return f[4], true
}

// RoleAccount is the account of which text is the ARN of a role, there or not.
func RoleAccount(text string) (account string, ok bool) {
	a, ok := parseARN(text)
	return a.account, ok && a.resource == "role" && isAccount(a.account)
}

// arn is what an ARN of IAM or of a role session names.
type arn struct {
	account  string // 12 digits, or aws for the policies of AWS
	resource string // user, role, policy, mfa, oidc-provider; assumed-role for a session
	path     string // "/" or /a/b/
	name     string // of a session, the role's
}

// parseARN reads an ARN. Of a role session it keeps the role.
func parseARN(text string) (a arn, ok bool) {
	f := strings.SplitN(text, ":", 6)
	if len(f) != 6 || f[0] != "arn" || f[1] != api.Partition || f[3] != "" || !isAccount(f[4]) && f[4] != awsAccount {
		return arn{}, false
	}
	a.account = f[4]
	a.resource, a.name, ok = strings.Cut(f[5], "/")
	if !ok {
		return arn{}, false
	}
	switch {
	case f[2] == "iam" && a.resource != "assumed-role":
		n := strings.LastIndexByte(a.name, '/') + 1
		a.path, a.name = "/"+a.name[:n], a.name[n:]
	case f[2] == "sts" && a.resource == "assumed-role":
		var session string
		a.path = "/"
		a.name, session, _ = strings.Cut(a.name, "/")
		if session == "" || strings.Contains(session, "/") {
			return arn{}, false
		}
	default:
		return arn{}, false
	}
	return a, a.name != ""
}

// awsAccount stands for AWS in the ARNs of its managed policies.
const awsAccount = "aws"

func isAccount(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) == 12
}

// fold is a name as it is compared: names are unique without regard to case.
func fold(name string) string { return strings.ToLower(name) }
