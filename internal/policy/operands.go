package policy

import (
	"encoding/base64"
	"net/netip"
	"time"
)

// family is the type that an operator compares.
type family uint8

const (
	strs family = iota
	nums
	dates
	bools
	binary
	ips
	arns
	nulls
)

// String says what a value of the policy must be.
func (f family) String() string {
	return [...]string{
		"a string", "a number such as 10 or 2.5", "a date such as 2026-01-31T00:00:00Z or seconds since 1970", "true or false",
		"base64", "an IP address or a CIDR block such as 203.0.113.0/24", "an ARN", "true or false",
	}[f]
}

// operand is a value of the policy, ready to be compared.
type operand struct {
	pattern pattern // of strings and booleans
	arn     arnPattern
	number  number
	date    time.Time
	bytes   string
	prefix  netip.Prefix
	null    bool
}

// parse reads a value of the policy.
func (op *operator) parse(s string, variables bool) (o operand, ok bool, err error) {
	switch op.family {
	case strs:
		o.pattern, err = compile(s, syntaxOf{op.wildcards, variables})
		return o, true, err
	case nums:
		o.number, ok = parseNumber(s)
	case dates:
		o.date, ok = parseDate(s)
	case bools:
		if o.pattern, err = compile(s, syntaxOf{variables: variables}); err == nil && o.pattern.isPlain {
			_, ok = parseBool(s)
			return o, ok, nil
		}
		return o, true, err
	case binary:
		b, err := base64.StdEncoding.DecodeString(s)
		o.bytes, ok = string(b), err == nil
	case ips:
		o.prefix, ok = parsePrefix(s)
	case arns:
		p, err := compile(s, syntaxOf{true, variables})
		o.arn = newARNPattern(p)
		return o, true, err
	case nulls:
		o.null, ok = parseBool(s)
	}
	return o, ok, nil
}

// match compares a value of the request with one of the policy. A value of the
// wrong type matches nothing.
func (op *operator) match(o *operand, v *Value, ctx Context) bool {
	switch op.family {
	case strs:
		if v.kind == isText {
			return o.pattern.match(v.text, ctx, op.fold)
		}
		return o.pattern.match(v.String(), ctx, op.fold)
	case nums:
		n, ok := v.number()
		return ok && op.order(n.compare(o.number))
	case dates:
		t, ok := v.date()
		return ok && op.order(t.Compare(o.date))
	case bools:
		b, ok := v.bool()
		if b {
			return ok && o.pattern.match("true", ctx, true)
		}
		return ok && o.pattern.match("false", ctx, true)
	case binary:
		return v.kind == isText && v.text == o.bytes
	case ips:
		a, ok := v.address()
		return ok && o.prefix.Contains(a)
	case arns:
		return v.kind == isText && o.arn.match(v.text, ctx)
	}
	return false
}

// parsePrefix reads a block of addresses, or an address, which is a block of one.
func parsePrefix(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err == nil
}
