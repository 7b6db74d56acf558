// Package quota keeps the request rates of AWS KMS: how many calls of a class an
// account may make in a Region per second.
package quota

import (
	"maps"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Classes of cryptographic operations, which share a quota by the kind of key. Any other
// class is an operation's name, or Pair and the spec of a data key pair.
const (
	Symmetric = "symmetric"
	RSA       = "RSA"
	ECC       = "ECC"
	MLDSA     = "ML-DSA"
	MLKEM     = "ML-KEM"
	Pair      = "pair "
)

// OfSpec is the class of a cryptographic operation with a key of the spec.
func OfSpec(spec string) string {
	for _, c := range []struct{ prefix, class string }{{"RSA_", RSA}, {"ECC_", ECC}, {"SM2", ECC}, {"ML_DSA_", MLDSA}, {"ML_KEM_", MLKEM}} {
		if strings.HasPrefix(spec, c.prefix) {
			return c.class
		}
	}
	return Symmetric
}

// perSecond are AWS's figures. It has published none for ML-KEM; they are like those of
// the other key pairs.
// https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html
var perSecond = map[string]int{
	Symmetric: 10000, RSA: 1000, ECC: 1000, MLDSA: 1000, MLKEM: 1000,

	Pair + "ECC_NIST_P256": 100, Pair + "ECC_NIST_P384": 100, Pair + "ECC_NIST_P521": 100, Pair + "ECC_SECG_P256K1": 100, Pair + "ECC_NIST_EDWARDS25519": 100,
	Pair + "RSA_2048": 20, Pair + "RSA_3072": 4, Pair + "RSA_4096": 1, Pair + "SM2": 25,
	Pair + "ML_KEM_512": 100, Pair + "ML_KEM_768": 100, Pair + "ML_KEM_1024": 100,

	"CancelKeyDeletion": 5, "ConnectCustomKeyStore": 5, "CreateAlias": 5, "CreateCustomKeyStore": 5, "CreateGrant": 50, "CreateKey": 5,
	"DeleteAlias": 15, "DeleteCustomKeyStore": 5, "DeleteImportedKeyMaterial": 15, "DescribeCustomKeyStores": 5, "DescribeKey": 2000,
	"DisableKey": 5, "DisableKeyRotation": 5, "DisconnectCustomKeyStore": 5, "EnableKey": 5, "EnableKeyRotation": 15, "GetKeyLastUsage": 5,
	"GetKeyPolicy": 1000, "GetKeyRotationStatus": 1000, "GetParametersForImport": 1, "GetPublicKey": 2000, "ImportKeyMaterial": 15,
	"ListAliases": 500, "ListGrants": 100, "ListKeyPolicies": 100, "ListKeyRotations": 100, "ListKeys": 500, "ListResourceTags": 2000,
	"ListRetirableGrants": 100, "PutKeyPolicy": 15, "ReplicateKey": 5, "RetireGrant": 50, "RevokeGrant": 50, "RotateKeyOnDemand": 5,
	"ScheduleKeyDeletion": 15, "TagResource": 10, "UntagResource": 5, "UpdateAlias": 5, "UpdateCustomKeyStore": 5, "UpdateKeyDescription": 5,
	"UpdatePrimaryRegion": 5,
}

// symmetricIn are the Regions with another figure for Symmetric.
var symmetricIn = map[string]int{
	"us-east-1": 100_000, "us-west-2": 100_000, "eu-west-1": 100_000,
	"us-east-2": 20_000, "ap-southeast-1": 20_000, "ap-southeast-2": 20_000, "ap-northeast-1": 20_000, "eu-central-1": 20_000, "eu-west-2": 20_000,
}

// PerSecond is the most calls of a class in a Region per second, 0 if there is no limit.
func PerSecond(region, class string) int {
	if n, ok := symmetricIn[region]; ok && class == Symmetric {
		return n
	}
	return perSecond[class]
}

// maxIdle is how many counters are kept before those of idle callers are dropped.
const maxIdle = 10_000

// Rates counts the calls of all accounts. The zero value is ready, a nil one limits
// nothing. It is safe for concurrent use.
type Rates struct {
	mu       sync.Mutex
	counters map[counter]*rate.Limiter
	sweep    int // size at which idle counters are dropped
}

type counter struct{ account, region, class string }

// Take counts a call. If it is one too many, it is not counted, and wait is the time
// after which the next one will be let through. The calls of one second may come all at
// once.
func (r *Rates) Take(account, region, class string, now time.Time) (wait time.Duration) {
	n := PerSecond(region, class)
	if r == nil || n == 0 {
		return 0
	}
	limiter := r.limiter(counter{account, region, class}, n, now)
	if limiter.AllowN(now, 1) {
		return 0
	}
	next := limiter.ReserveN(now, 1)
	defer next.CancelAt(now)
	return next.DelayFrom(now)
}

func (r *Rates) limiter(c counter, n int, now time.Time) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, ok := r.counters[c]; ok {
		return l
	}
	if r.counters == nil {
		r.counters, r.sweep = map[counter]*rate.Limiter{}, maxIdle
	}
	if len(r.counters) >= r.sweep {
		maps.DeleteFunc(r.counters, func(_ counter, l *rate.Limiter) bool { return l.TokensAt(now) >= float64(l.Burst()) })
		r.sweep = max(maxIdle, 2*len(r.counters))
	}
	l := rate.NewLimiter(rate.Limit(n), n)
	r.counters[c] = l
	return l
}
