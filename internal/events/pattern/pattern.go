// Package pattern is the event patterns of Amazon EventBridge: parse and match. It is pure.
//
// A pattern is a JSON object with the shape of the events that it matches. Where an event has
// a value, the pattern has an array of what it may be: values, and objects that say more.
// (Quamina, the library for such patterns, has no numeric, cidr and $or.)
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html
package pattern

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// MaxSize is the longest pattern in bytes.
	MaxSize = 4096
	// maxDepth is how deep objects in a pattern may lie.
	maxDepth = 32
)

// Pattern is a pattern that was parsed. It is safe for concurrent use.
type Pattern struct{ root *fields }

// fields is an object of a pattern: all of it must match.
type fields struct {
	named map[string]*node
	or    []*fields // one of these must match, if there are any
}

// node is what a pattern has for a member: more fields, or what the value may be.
type node struct {
	fields *fields
	any    []matcher
}

// matcher tells whether a value, which is no object and no array, is as wanted. present is
// false where there is none.
type matcher func(value any, present bool) bool

// Parse reads a pattern. The error tells what to change.
func Parse(text string) (*Pattern, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("it has %d bytes; %d are allowed", len(text), MaxSize)
	}
	if !jsontext.Value(text).IsValid(jsontext.AllowDuplicateNames(false)) {
		return nil, errors.New("it is not valid JSON, or has a member twice")
	}
	v, err := Decode([]byte(text))
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok || len(object) == 0 {
		return nil, errors.New("it must be an object that is not empty")
	}
	root, err := parseFields(object, "", 0)
	return &Pattern{root}, err
}

// Decode reads JSON as Match takes it: numbers stay as they are written.
func Decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is something behind the JSON value")
	}
	return v, nil
}

// Member is a member of a JSON object, nil if there is none. Only what comes before it is read.
func Member(object []byte, name string) json.RawMessage {
	d := newDecoder(object)
	if d.PeekKind() != '{' {
		return nil
	}
	if _, err := d.ReadToken(); err != nil {
		return nil
	}
	for d.PeekKind() == '"' {
		token, err := d.ReadToken()
		if err != nil {
			return nil
		}
		if token.String() == name {
			value, err := d.ReadValue()
			if err != nil {
				return nil
			}
			return json.RawMessage(value)
		}
		if d.SkipValue() != nil {
			return nil
		}
	}
	return nil
}

func newDecoder(text []byte) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

func parseFields(object map[string]any, path string, depth int) (*fields, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: objects lie more than %d deep", path, maxDepth)
	}
	f := &fields{named: map[string]*node{}}
	for name, v := range object {
		at := name
		if path != "" {
			at = path + "." + name
		}
		switch v := v.(type) {
		case map[string]any:
			if len(v) == 0 {
				return nil, fmt.Errorf("%s: an object must not be empty", at)
			}
			below, err := parseFields(v, at, depth+1)
			if err != nil {
				return nil, err
			}
			f.named[name] = &node{fields: below}
		case []any:
			if name == "$or" {
				if len(v) < 2 {
					return nil, fmt.Errorf("%s: it must have two objects or more", at)
				}
				for _, item := range v {
					object, ok := item.(map[string]any)
					if !ok || len(object) == 0 {
						return nil, fmt.Errorf("%s: its items must be objects that are not empty", at)
					}
					below, err := parseFields(object, at, depth+1)
					if err != nil {
						return nil, err
					}
					f.or = append(f.or, below)
				}
				continue
			}
			if len(v) == 0 {
				return nil, fmt.Errorf("%s: an array must not be empty", at)
			}
			n := &node{}
			for _, item := range v {
				m, err := parseMatcher(item)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", at, err)
				}
				n.any = append(n.any, m)
			}
			f.named[name] = n
		default:
			return nil, fmt.Errorf("%s: it must be an object or an array", at)
		}
	}
	return f, nil
}

func parseMatcher(v any) (matcher, error) {
	object, ok := v.(map[string]any)
	if !ok {
		return equals(v)
	}
	if len(object) != 1 {
		return nil, errors.New("an object in an array must have one member, such as prefix")
	}
	for name, arg := range object {
		if name == "exists" {
			want, ok := arg.(bool)
			if !ok {
				return nil, errors.New("exists must be true or false")
			}
			return func(_ any, present bool) bool { return present == want }, nil
		}
		m, err := parseComparison(name, arg)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return m, nil
	}
	panic("unreachable")
}

func parseComparison(name string, arg any) (matcher, error) {
	switch name {
	case "prefix", "suffix":
		return affix(name, arg)
	case "equals-ignore-case":
		return onText(arg, func(want string) (func(string) bool, error) {
			return func(s string) bool { return strings.EqualFold(s, want) }, nil
		})
	case "wildcard":
		return onText(arg, wildcard)
	case "cidr":
		return onText(arg, func(want string) (func(string) bool, error) {
			network, err := netip.ParsePrefix(want)
			if err != nil {
				return nil, errors.New("it must be a range of addresses, such as 10.0.0.0/24")
			}
			network = network.Masked()
			return func(s string) bool {
				ip, err := netip.ParseAddr(s)
				return err == nil && network.Contains(ip.Unmap())
			}, nil
		})
	case "numeric":
		return numeric(arg)
	case "anything-but":
		return anythingBut(arg)
	}
	return nil, errors.New("there is no such comparison; there are prefix, suffix, equals-ignore-case, wildcard, anything-but, numeric, cidr and exists")
}

// equals is the matcher of a value that is given as it is to be.
func equals(want any) (matcher, error) {
	if _, ok := want.([]any); ok {
		return nil, errors.New("an array must not be in another one")
	}
	return func(v any, present bool) bool { return present && same(v, want) }, nil
}

// same compares values that are no objects and no arrays. Numbers are compared as they are
// written, as EventBridge does: 300 is not 300.0.
func same(a, b any) bool {
	switch a.(type) {
	case string, json.Number, bool, nil:
		return a == b
	}
	return false
}

// onText makes a matcher of texts.
func onText(arg any, make func(want string) (func(string) bool, error)) (matcher, error) {
	want, ok := arg.(string)
	if !ok {
		return nil, errors.New("it must be a string")
	}
	test, err := make(want)
	if err != nil {
		return nil, err
	}
	return func(v any, _ bool) bool {
		s, ok := v.(string)
		return ok && test(s)
	}, nil
}

// affix is prefix and suffix, of a string or of {"equals-ignore-case": string}.
func affix(name string, arg any) (matcher, error) {
	fold := false
	if object, ok := arg.(map[string]any); ok {
		arg, fold = object["equals-ignore-case"], true
		if len(object) != 1 {
			arg = nil
		}
	}
	return onText(arg, func(want string) (func(string) bool, error) {
		return func(s string) bool {
			if len(s) < len(want) {
				return false
			}
			if name == "prefix" {
				s = s[:len(want)]
			} else {
				s = s[len(s)-len(want):]
			}
			return s == want || fold && strings.EqualFold(s, want)
		}, nil
	})
}

// wildcard is of a text in which * stands for any characters; \* and \\ for * and \.
func wildcard(want string) (func(string) bool, error) {
	parts := []string{""}
	for i := 0; i < len(want); i++ {
		last := &parts[len(parts)-1]
		switch c := want[i]; {
		case c == '\\':
			if i++; i == len(want) || want[i] != '*' && want[i] != '\\' {
				return nil, errors.New(`behind a \ there must be * or another \`)
			}
			*last += want[i : i+1]
		case c == '*':
			if i > 0 && want[i-1] == '*' && *last == "" && len(parts) > 1 {
				return nil, errors.New("two * must not be side by side")
			}
			parts = append(parts, "")
		default:
			*last += want[i : i+1]
		}
	}
	return func(s string) bool {
		if len(parts) == 1 {
			return s == parts[0]
		}
		first, last := parts[0], parts[len(parts)-1]
		if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
			return false
		}
		s = s[len(first) : len(s)-len(last)]
		for _, part := range parts[1 : len(parts)-1] {
			i := strings.Index(s, part)
			if i < 0 {
				return false
			}
			s = s[i+len(part):]
		}
		return true
	}, nil
}

// numeric is of pairs of a sign and a number, of which all must hold.
func numeric(arg any) (matcher, error) {
	pairs, ok := arg.([]any)
	if !ok || len(pairs) == 0 || len(pairs)%2 != 0 {
		return nil, errors.New(`it must be pairs of a sign and a number, such as [">", 0, "<=", 5]`)
	}
	var tests []func(float64) bool
	for i := 0; i < len(pairs); i += 2 {
		sign, _ := pairs[i].(string)
		bound, ok := number(pairs[i+1])
		if !ok {
			return nil, errors.New("behind a sign there must be a number")
		}
		var test func(cmp int) bool
		switch sign {
		case "=":
			test = func(cmp int) bool { return cmp == 0 }
		case "<":
			test = func(cmp int) bool { return cmp < 0 }
		case "<=":
			test = func(cmp int) bool { return cmp <= 0 }
		case ">":
			test = func(cmp int) bool { return cmp > 0 }
		case ">=":
			test = func(cmp int) bool { return cmp >= 0 }
		default:
			return nil, errors.New("a sign must be one of = < <= > >=")
		}
		tests = append(tests, func(n float64) bool { return test(cmp.Compare(n, bound)) })
	}
	return func(v any, _ bool) bool {
		n, ok := number(v)
		for _, test := range tests {
			ok = ok && test(n)
		}
		return ok
	}, nil
}

// number is the value of a JSON number.
func number(v any) (float64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	return f, err == nil
}

// anythingBut is of a value, several, or one of the comparisons of texts with one or several.
// It matches what is there and is none of them.
func anythingBut(arg any) (matcher, error) {
	var not []matcher
	add := func(m matcher, err error) error {
		not = append(not, m)
		return err
	}
	items := func(v any) []any {
		if list, ok := v.([]any); ok {
			return list
		}
		return []any{v}
	}
	if object, ok := arg.(map[string]any); ok {
		for name, arg := range object {
			switch name {
			case "prefix", "suffix", "equals-ignore-case", "wildcard":
			default:
				return nil, fmt.Errorf("there is no %s in it; there are prefix, suffix, equals-ignore-case and wildcard", name)
			}
			for _, item := range items(arg) {
				if err := add(parseComparison(name, item)); err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
			}
		}
		if len(object) != 1 {
			return nil, errors.New("its object must have one member")
		}
	} else {
		for _, item := range items(arg) {
			switch item.(type) {
			case string, json.Number, bool, nil:
			default:
				return nil, errors.New("its values must be strings, numbers, booleans or null")
			}
			if err := add(equals(item)); err != nil {
				return nil, err
			}
		}
	}
	if len(not) == 0 {
		return nil, errors.New("it must not be empty")
	}
	return func(v any, present bool) bool {
		for _, m := range not {
			if m(v, present) {
				return false
			}
		}
		return present
	}, nil
}

// Match tells whether an event matches. It is as Decode gives it, but any part of it can be a
// json.RawMessage too, of which no more is read than is needed.
func (p *Pattern) Match(event any) bool { return p.root.match(event) }

// May tells whether events can match that have that value in a member of theirs.
func (p *Pattern) May(member string, value any) bool {
	return p.root.may(member, value)
}

func (f *fields) may(member string, value any) bool {
	if n := f.named[member]; n != nil && !n.match(value, true) {
		return false
	}
	for _, or := range f.or {
		if or.may(member, value) {
			return true
		}
	}
	return len(f.or) == 0
}

// match holds the fields against a value. Of an array one item must match as a whole; a
// value that is no object has no members.
func (f *fields) match(v any) bool {
	if raw, ok := v.(json.RawMessage); ok {
		return f.matchRaw(raw)
	}
	if list, ok := v.([]any); ok {
		for _, item := range list {
			if f.match(item) {
				return true
			}
		}
		return len(list) == 0 && f.match(nil)
	}
	object, _ := v.(map[string]any)
	for name, n := range f.named {
		value, present := object[name]
		if !n.match(value, present) {
			return false
		}
	}
	for _, or := range f.or {
		if or.match(v) {
			return true
		}
	}
	return len(f.or) == 0
}

// matchRaw is match for JSON that is not decoded.
func (f *fields) matchRaw(raw json.RawMessage) bool {
	d := newDecoder(raw)
	kind := d.PeekKind()
	if kind != '{' && kind != '[' {
		return f.match(nil)
	}
	if _, err := d.ReadToken(); err != nil {
		return false
	}
	if kind == '[' {
		empty := true
		for d.PeekKind() != ']' {
			item, err := d.ReadValue()
			if err != nil {
				return false
			}
			if f.matchRaw(json.RawMessage(item)) {
				return true
			}
			empty = false
		}
		return empty && f.match(nil)
	}
	var seen []*node // few
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return false
		}
		n := f.named[name.String()]
		if n == nil {
			if d.SkipValue() != nil {
				return false
			}
			continue
		}
		value, err := d.ReadValue()
		if err != nil || !n.match(json.RawMessage(value), true) {
			return false
		}
		seen = append(seen, n)
	}
	for _, n := range f.named {
		if !slices.Contains(seen, n) && !n.match(nil, false) {
			return false
		}
	}
	for _, or := range f.or {
		if or.matchRaw(raw) {
			return true
		}
	}
	return len(f.or) == 0
}

func (n *node) match(v any, present bool) bool {
	if n.fields != nil {
		return n.fields.match(v)
	}
	if raw, ok := v.(json.RawMessage); ok {
		var err error
		if v, err = Decode(raw); err != nil {
			return false
		}
	}
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if n.match(item, true) {
				return true
			}
		}
		present = false
		if len(v) > 0 {
			return false
		}
	case map[string]any:
		present = false // only what has no parts is a value
	}
	if !present {
		v = nil
	}
	for _, m := range n.any {
		if m(v, present) {
			return true
		}
	}
	return false
}
