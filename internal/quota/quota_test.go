package quota

import (
	"fmt"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// burst counts how many calls pass at one moment, and how long the next one has to wait.
func burst(r *Rates, account, region, class string, now time.Time) (n int, wait time.Duration) {
	for ; wait == 0 && n < 200_000; n++ {
		wait = r.Take(account, region, class, now)
	}
	return n - 1, wait
}

func TestRates(t *testing.T) {
	r := new(Rates)
	for _, c := range []struct {
		account, region, class string
		want                   int
	}{
		{"1", "eu-west-3", Symmetric, 10_000}, {"1", "us-east-1", Symmetric, 100_000}, {"1", "ap-northeast-1", Symmetric, 20_000},
		{"1", "us-east-1", RSA, 1000}, {"2", "us-east-1", RSA, 1000}, {"1", "us-east-1", Pair + "RSA_4096", 1}, {"1", "us-east-1", "CreateKey", 5},
	} {
		n, wait := burst(r, c.account, c.region, c.class, start)
		if each := time.Second / time.Duration(c.want); n != c.want || (wait-each).Abs() > time.Microsecond {
			t.Errorf("%v: %d calls, then %v", c, n, wait)
		}
	}
	// Half a second later half of them.
	if n, _ := burst(r, "1", "us-east-1", RSA, start.Add(500*time.Millisecond)); n != 500 {
		t.Errorf("%d calls after half a second", n)
	}
	if n, _ := burst(r, "1", "us-east-1", RSA, start.Add(time.Hour)); n != 1000 {
		t.Errorf("%d calls after an hour", n)
	}
	if r.Take("1", "us-east-1", "GenerateRandomly", start) != 0 || (*Rates)(nil).Take("1", "us-east-1", "CreateKey", start) != 0 {
		t.Error("a limit where there is none")
	}
}

// Idle counters do not stay.
func TestIdle(t *testing.T) {
	r := new(Rates)
	for i := range 10 * maxIdle {
		r.Take(fmt.Sprint(i), "us-east-1", "CreateKey", start.Add(time.Duration(i)*time.Millisecond))
	}
	if n := len(r.counters); n > 2*maxIdle {
		t.Errorf("%d counters", n)
	}
}

func TestNoAllocation(t *testing.T) {
	r := new(Rates)
	now := start
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Second)
		r.Take("111122223333", "us-east-1", OfSpec("SYMMETRIC_DEFAULT"), now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestClasses(t *testing.T) {
	for spec, want := range map[string]string{"SYMMETRIC_DEFAULT": Symmetric, "HMAC_512": Symmetric, "RSA_2048": RSA, "ECC_SECG_P256K1": ECC, "SM2": ECC, "ML_DSA_44": MLDSA, "ML_KEM_768": MLKEM} {
		if got := OfSpec(spec); got != want || PerSecond("", got) == 0 {
			t.Errorf("%s is %s", spec, got)
		}
	}
}
