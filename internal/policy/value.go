package policy

import (
	"net/netip"
	"time"
)

// Value is that of a condition key in a request.
type Value struct {
	kind  valueKind
	text  string
	texts []string
	num   int64 // of a number; Unix nanoseconds of a time are in time
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
