package policy

import (
	"cmp"
	"math"
	"net/netip"
	"strconv"
	"time"
)

// Value is that of a condition key in a request.
type Value struct {
	kind  valueKind
	text  string
	texts []string
	num   int64
	time  time.Time
	ip    netip.Addr
	flag  bool
}

type valueKind uint8

const (
	absent valueKind = iota
	isText
	isTexts
	isNumber
	isTime
	isIP
	isBool
)

// Absent is the value of a key that the request does not have.
var Absent Value

// IsAbsent tells Absent.
func (v Value) IsAbsent() bool { return v.kind == absent }

// Text is a string or an ARN.
func Text(s string) Value { return Value{kind: isText, text: s} }

// OptionalText is Text, or Absent for the empty string.
func OptionalText(s string) Value {
	if s == "" {
		return Absent
	}
	return Text(s)
}

// Texts are the values of a multi-valued key; an empty slice counts as absent.
func Texts(s []string) Value { return Value{kind: isTexts, texts: s} }

// Number is an integer.
func Number(n int64) Value { return Value{kind: isNumber, num: n} }

// Time is a date, comparable by Date and by Numeric operators (epoch seconds).
func Time(t time.Time) Value { return Value{kind: isTime, time: t} }

// IP is an address.
func IP(a netip.Addr) Value { return Value{kind: isIP, ip: a} }

// Bool is true or false.
func Bool(b bool) Value { return Value{kind: isBool, flag: b} }

// String is the value as a text: what String operators compare and variables
// stand for. Several texts have none.
func (v Value) String() string {
	switch v.kind {
	case isText:
		return v.text
	case isNumber:
		return strconv.FormatInt(v.num, 10)
	case isTime:
		return v.time.UTC().Format(time.RFC3339)
	case isIP:
		return v.ip.String()
	case isBool:
		return strconv.FormatBool(v.flag)
	}
	return ""
}

// Strings are the values as texts; nil for Absent.
func (v Value) Strings() []string {
	switch v.kind {
	case absent:
		return nil
	case isTexts:
		return v.texts
	}
	return []string{v.String()}
}

// number is the value for Numeric operators.
func (v Value) number() (number, bool) {
	switch v.kind {
	case isNumber:
		return number{v.num, float64(v.num), true}, true
	case isTime:
		n := v.time.Unix()
		return number{n, float64(n), true}, true
	case isText:
		return parseNumber(v.text)
	}
	return number{}, false
}

// date is the value for Date operators.
func (v Value) date() (time.Time, bool) {
	switch v.kind {
	case isTime:
		return v.time, true
	case isNumber:
		return time.Unix(v.num, 0), true
	case isText:
		return parseDate(v.text)
	}
	return time.Time{}, false
}

// address is the value for IpAddress and NotIpAddress.
func (v Value) address() (netip.Addr, bool) {
	switch v.kind {
	case isIP:
		return v.ip.Unmap().WithZone(""), v.ip.IsValid()
	case isText:
		a, err := netip.ParseAddr(v.text)
		return a.Unmap().WithZone(""), err == nil
	}
	return netip.Addr{}, false
}

// bool is the value for Bool.
func (v Value) bool() (value, ok bool) {
	switch v.kind {
	case isBool:
		return v.flag, true
	case isText:
		return parseBool(v.text)
	}
	return false, false
}

// number is exact for 64-bit integers, otherwise a float.
type number struct {
	int   int64
	float float64
	exact bool
}

func (a number) compare(b number) int {
	if a.exact && b.exact {
		return cmp.Compare(a.int, b.int)
	}
	return cmp.Compare(a.float, b.float)
}

// parseNumber reads an integer or a decimal as JSON writes them, signs allowed.
func parseNumber(s string) (number, bool) {
	const longest = 40
	digits := 0
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			digits++
		case c != '+' && c != '-' && c != '.' && c != 'e' && c != 'E':
			return number{}, false
		}
	}
	if digits == 0 || len(s) > longest {
		return number{}, false
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return number{n, float64(n), true}, true
	}
	f, err := strconv.ParseFloat(s, 64)
	return number{float: f}, err == nil
}

func parseBool(s string) (value, ok bool) {
	switch {
	case equalFold("true", s):
		return true, true
	case equalFold("false", s):
		return false, true
	}
	return false, false
}

// parseDate reads a date of the W3C's profile of ISO 8601, from the year alone
// (2026) to fractions of a second with a zone, or seconds since 1970.
// https://www.w3.org/TR/NOTE-datetime
func parseDate(s string) (time.Time, bool) {
	var layout string
	switch {
	case len(s) == len("2006") && digits(s):
		layout = "2006"
	case len(s) == len("2006-01") && s[4] == '-':
		layout = "2006-01"
	case len(s) == len(time.DateOnly) && s[4] == '-':
		layout = time.DateOnly
	case len(s) > len("2006-01-02T15:04") && s[4] == '-' && s[16] != ':':
		layout = "2006-01-02T15:04Z07:00"
	case len(s) > len("2006-01-02T15:04") && s[4] == '-':
		layout = time.RFC3339
	default:
		n, ok := parseNumber(s)
		if whole := int64(n.float); ok && !n.exact && float64(whole) != n.float {
			const farthest = 1 << 40 // seconds; beyond the year 9999
			if n.float < -farthest || n.float > farthest {
				return time.Time{}, false
			}
			floor := math.Floor(n.float)
			return time.Unix(int64(floor), int64((n.float-floor)*1e9)), true
		}
		return time.Unix(n.int, 0), ok && n.exact
	}
	t, err := time.Parse(layout, s)
	return t, err == nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
