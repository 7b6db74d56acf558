package wire

import (
	"encoding/base64"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kagimori/kagimori/internal/awserr"
)

// AppendOutput appends the JSON body of an answer: the JSON of any output of the SDK,
// or of any value made of the same types. Nothing is appended for nil and for
// the outputs of operations that answer an empty body, such as DisableKey. Times
// are epoch seconds with at most milliseconds, blobs are base64; members that are
// nil, and empty enums, are left out.
func AppendOutput(dst []byte, out any) []byte {
	v := reflect.ValueOf(out)
	if !v.IsValid() {
		return dst
	}
	s := shapeOf(v.Type())
	if s.noBody || s.absent(v) {
		return dst
	}
	return appendValue(dst, s, v, false)
}

// AppendParameters appends an input or an output as CloudTrail shows it in
// requestParameters and responseElements: names start in lower case, times are
// text, and blobs, secrets and grant tokens are left out. What has nothing to show
// is null.
// https://docs.aws.amazon.com/kms/latest/developerguide/logging-using-cloudtrail.html
func AppendParameters(dst []byte, v any) []byte {
	start := len(dst)
	if r := reflect.ValueOf(v); r.IsValid() {
		if s := shapeOf(r.Type()); !s.absent(r) {
			dst = appendValue(dst, s, r, true)
		}
	}
	if n := len(dst) - start; n == 0 || n == len("{}") {
		return append(dst[:start], "null"...)
	}
	return dst
}

// appendJSONError appends the body of an error answer. AWS leaves the message out
// of some errors; so does this when it is empty. Organizations has reasons, and
// Message in upper case.
func appendJSONError(dst []byte, e *awserr.Error, reasons bool) []byte {
	dst = append(dst, `{"__type":`...)
	dst = appendText(dst, e.Code)
	if e.Message != "" {
		name := `,"message":`
		if reasons {
			name = `,"Message":`
		}
		dst = append(dst, name...)
		dst = appendText(dst, e.Message)
	}
	if reasons && e.Reason != "" {
		dst = append(dst, `,"Reason":`...)
		dst = appendText(dst, e.Reason)
	}
	return append(dst, '}')
}

// absent tells whether a value is left out. A false and a zero that have no
// pointer are always written, as AWS does.
func (s *shape) absent(v reflect.Value) bool {
	switch {
	case s.pointer, s.kind == blob, s.kind == list, s.kind == mapping, s.kind == union:
		return v.IsNil()
	case s.kind == text:
		return v.Len() == 0
	}
	return false
}

// appendValue appends a value that is not absent, for an audit record or for the
// wire.
func appendValue(dst []byte, s *shape, v reflect.Value, record bool) []byte {
	if s.pointer {
		v = v.Elem()
	}
	switch s.kind {
	case text:
		return appendText(dst, v.String())
	case boolean:
		return strconv.AppendBool(dst, v.Bool())
	case integer:
		return strconv.AppendInt(dst, v.Int(), 10)
	case timestamp:
		t := v.Interface().(time.Time)
		if record {
			return t.UTC().AppendFormat(dst, `"Jan 2, 2006, 3:04:05 PM"`)
		}
		return appendEpoch(dst, t)
	case blob:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, v.Bytes())
		return append(dst, '"')
	case list:
		dst = append(dst, '[')
		for i := range v.Len() {
			dst = appendValue(separate(dst), s.item, v.Index(i), record)
		}
		return append(dst, ']')
	case mapping:
		dst = append(dst, '{')
		if m, ok := v.Interface().(map[string]string); ok {
			keys := make([]string, 0, 8) // on the stack for what is usual
			for key := range m {
				keys = append(keys, key)
			}
			slices.Sort(keys)
			for _, key := range keys {
				dst = appendText(separate(dst), key)
				dst = append(dst, ':')
				dst = appendText(dst, m[key])
			}
			return append(dst, '}')
		}
		for _, key := range sortedKeys(v) {
			dst = appendText(separate(dst), key.String())
			dst = append(dst, ':')
			dst = appendValue(dst, s.item, v.MapIndex(key), record)
		}
		return append(dst, '}')
	case union: // in records
		variant := v.Elem().Elem()
		for i := range s.members {
			if m := &s.members[i]; m.variant == variant.Type() {
				dst = append(append(dst, '{'), m.recName...)
				return append(appendValue(dst, m.shape, variant.Field(0), record), '}')
			}
		}
		return append(dst, "null"...)
	default: // structure
		dst = append(dst, '{')
		for i := range s.members {
			m := &s.members[i]
			f := v.Field(m.field)
			if m.shape.absent(f) || record && m.shape.unrecorded() {
				continue
			}
			name := m.wireName
			if record {
				name = m.recName
			}
			dst = append(separate(dst), name...)
			dst = appendValue(dst, m.shape, f, record)
		}
		return append(dst, '}')
	}
}

// sortedKeys are the keys of a map in order.
func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	return keys
}

// unrecorded tells whether an audit record leaves the value out.
func (s *shape) unrecorded() bool {
	return s.secret || s.kind == blob || s.kind == list && s.item.kind == blob
}

// separate appends the comma that the next item of an array or object needs.
func separate(dst []byte) []byte {
	if c := dst[len(dst)-1]; c != '{' && c != '[' {
		return append(dst, ',')
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	// The error reports invalid UTF-8, of which the replacement character is
	// written in its place: an answer is never broken by what it has to quote.
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}

// appendEpoch appends seconds since 1970 with up to three decimals.
func appendEpoch(dst []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms < 0 {
		dst = append(dst, '-')
		ms = -ms
	}
	dst = strconv.AppendInt(dst, ms/1000, 10)
	if ms %= 1000; ms != 0 {
		dst = append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	return dst
}
