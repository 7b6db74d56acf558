package config

import (
	"flag"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// value is a kind of setting, on the place that holds it. Set refuses with an
// error of the form "must be …, not …".
type value interface {
	flag.Value
	want() string // what is allowed, to follow "must be"
}

func refuse(v value, s string) error { return fmt.Errorf("must be %s, not %q", v.want(), s) }

// Whether a setting may be empty, to take back what the file sets.
const (
	required = false
	optional = true
)

type path struct {
	at         *string
	allowEmpty bool
}

func (p *path) String() string { return *p.at }
func (p *path) want() string   { return "a path" }
func (p *path) Set(s string) error {
	if s == "" && !p.allowEmpty || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return refuse(p, s)
	}
	*p.at = s
	return nil
}

type address struct {
	at         *string
	allowEmpty bool
}

func (a *address) String() string { return *a.at }
func (a *address) want() string   { return `HOST:PORT, such as "127.0.0.1:4599"` }
func (a *address) Set(s string) error {
	if s == "" && a.allowEmpty {
		*a.at = ""
		return nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || strings.ContainsFunc(host, notInHost) {
		return refuse(a, s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return refuse(a, s)
	}
	*a.at = s
	return nil
}

// notInHost tells which characters no host name, IP address or IPv6 zone has.
func notInHost(r rune) bool {
	return r <= ' ' || r >= unicode.MaxASCII || strings.ContainsRune(`"'\/?#@[]`, r)
}

type toggle bool

func (t *toggle) String() string { return strconv.FormatBool(bool(*t)) }
func (t *toggle) want() string   { return "true or false" }
func (t *toggle) Set(s string) error {
	if s != "true" && s != "false" {
		return refuse(t, s)
	}
	*t = s == "true"
	return nil
}

type number struct {
	at       *int
	min, max int
}

func (n *number) String() string { return strconv.Itoa(*n.at) }
func (n *number) want() string   { return fmt.Sprintf("a whole number from %d to %d", n.min, n.max) }
func (n *number) Set(s string) error {
	i, err := strconv.Atoi(s)
	if err != nil || i < n.min || i > n.max {
		return refuse(n, s)
	}
	*n.at = i
	return nil
}

type timeout time.Duration

func (t *timeout) want() string {
	return fmt.Sprintf(`a duration from %v to %s, such as "15s" or "2m"`, minTimeout, shortDuration(maxTimeout))
}
func (t *timeout) String() string { return shortDuration(time.Duration(*t)) }
func (t *timeout) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < minTimeout || d > maxTimeout {
		return refuse(t, s)
	}
	*t = timeout(d)
	return nil
}

// shortDuration is Duration.String without zero minutes and seconds at the end.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

type size struct {
	at       *int64
	min, max int64
}

// sizeUnits are the units of a size, largest first; a number alone is bytes.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

func (z *size) String() string { return formatSize(*z.at) }
func (z *size) want() string {
	return fmt.Sprintf(`a size from %s to %s, such as "64MiB"`, formatSize(z.min), formatSize(z.max))
}
func (z *size) Set(s string) error {
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(s, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		// Compare before multiplying, which could overflow.
		if err != nil || n < 0 || n > z.max/unit.bytes || n*unit.bytes < z.min {
			break
		}
		*z.at = n * unit.bytes
		return nil
	}
	return refuse(z, s)
}

func formatSize(n int64) string {
	for _, unit := range sizeUnits {
		if n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + unit.name
		}
	}
	panic("unreachable: every number is a number of bytes")
}

type choice struct {
	at      *string
	allowed []string
}

func (c *choice) String() string { return *c.at }
func (c *choice) want() string   { return `"` + strings.Join(c.allowed, `" or "`) + `"` }
func (c *choice) Set(s string) error {
	for _, a := range c.allowed {
		if s == a {
			*c.at = s
			return nil
		}
	}
	return refuse(c, s)
}
