package wire

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kagimori/kagimori/internal/awserr"
)

const (
	// maxParams is how many parameters a Query request has at most. A simulation
	// of many actions over many resources needs some thousands.
	maxParams = 10_000
	// maxIndex is how many digits the number of a list item or map entry has at
	// most. Numbers only give the order, so a large one costs nothing.
	maxIndex = 9
)

// Form is the parameters of a Query request, in the order of the structure that
// they write down: by the parts of their names, numbers by value.
type Form struct{ params []param }

type param struct{ name, value string }

// ParseForm reads parameters in the encoding of HTML forms, from a body or the
// query of a URL. The error is a Serialization, MalformedInput in the protocol: too
// many parameters, one that is there twice, an escape or text that is not valid.
func ParseForm(text []byte) (*Form, error) {
	n := bytes.Count(text, []byte("&")) + 1
	if n > maxParams {
		return nil, awserr.New(awserr.Serialization, "The request has %d parameters; at most %d are accepted.", n, maxParams)
	}
	f := &Form{make([]param, 0, n)}
	for pair := range bytes.SplitSeq(text, []byte("&")) {
		if len(pair) == 0 {
			continue
		}
		rawName, rawValue, _ := bytes.Cut(pair, []byte("="))
		name, err := url.QueryUnescape(string(rawName))
		if err != nil {
			return nil, serialization("The name of a parameter has an invalid escape.")
		}
		value, err := url.QueryUnescape(string(rawValue))
		if err != nil || !utf8.ValidString(name) || !utf8.ValidString(value) {
			return nil, serialization("The parameter " + printable(name) + " is not valid UTF-8, or has an invalid escape.")
		}
		f.params = append(f.params, param{name, value})
	}
	slices.SortFunc(f.params, func(a, b param) int { return compareNames(a.name, b.name) })
	for i := 1; i < len(f.params); i++ {
		if name := f.params[i].name; name == f.params[i-1].name {
			return nil, serialization("The request has the parameter " + printable(name) + " twice.")
		}
	}
	return f, nil
}

func printable(name string) string { return strings.ToValidUTF8(truncate(name), "\uFFFD") }

// Get is the value of a parameter, empty if there is none.
func (f *Form) Get(name string) string {
	i, ok := slices.BinarySearchFunc(f.params, name, func(p param, name string) int { return compareNames(p.name, name) })
	if !ok {
		return ""
	}
	return f.params[i].value
}

// compareNames orders names by their parts, so that what belongs together stands
// together. Numbers go first, by value.
func compareNames(a, b string) int {
	for {
		partA, restA, moreA := strings.Cut(a, ".")
		partB, restB, moreB := strings.Cut(b, ".")
		if c := compareParts(partA, partB); c != 0 {
			return c
		}
		if !moreA || !moreB {
			return cmp.Compare(len(a), len(b)) // the shorter one is the other's beginning
		}
		a, b = restA, restB
	}
}

func compareParts(a, b string) int {
	numA, numB := isNumber(a), isNumber(b)
	switch {
	case numA && numB:
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	case numA:
		return -1
	case numB:
		return 1
	}
	return strings.Compare(a, b)
}

// isNumber tells the number of a list item or map entry: from 1, without leading
// zeros.
func isNumber(s string) bool {
	if s == "" || s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// DecodeForm is Decode for a Query request. Parameters that the operation does not
// have are ignored. What is not such an input is a Serialization, MalformedInput
// in the protocol; broken constraints are a Validation, ValidationError there.
func (o *Operation) DecodeForm(f *Form, in any) error {
	v := o.structure(in)
	var d formDecoder
	if err := d.members(o.input, v, f.params, 0); err != nil {
		return err
	}
	return d.err()
}

// formDecoder reads one form. Its methods are given the parameters of one value,
// whose names agree in their first at bytes. How deep they go is the shape's
// matter, not the request's.
type formDecoder struct{ validator }

// next splits off the parameters that have the same next part in their names.
func next(params []param, at int) (part string, group, others []param) {
	part, _, _ = strings.Cut(params[0].name[at:], ".")
	n := 1
	for n < len(params) {
		if other, _, _ := strings.Cut(params[n].name[at:], "."); other != part {
			break
		}
		n++
	}
	return part, params[:n], params[n:]
}

// value reads what params say into v.
func (d *formDecoder) value(s *shape, v reflect.Value, params []param, at int) error {
	if s.pointer {
		p := reflect.New(s.typ)
		v.Set(p)
		v = p.Elem()
	}
	// A name that ends here says the value itself. It stands first, and for a list,
	// map or structure must be empty, which says that it is.
	whole := len(params[0].name) < at
	simple := s.kind != list && s.kind != mapping && s.kind != structure && s.kind != union
	switch {
	case simple && !(whole && len(params) == 1):
		return serialization("The parameter " + truncate(params[len(params)-1].name) + " does not belong to a value that is " + kindNames[s.kind] + ".")
	case !simple && whole && (params[0].value != "" || len(params) > 1):
		return serialization("The parameter " + truncate(params[0].name) + " cannot have a value of its own.")
	case whole && !simple:
		params = nil
	}
	switch s.kind {
	case list:
		return d.list(s, v, params, at)
	case mapping:
		return d.mapping(s, v, params, at)
	case structure:
		return d.members(s, v, params, at)
	case union:
		return d.union(s, v, params, at)
	}
	return d.scalar(s, v, params[0].value)
}

// scalar reads a value that one parameter says.
func (d *formDecoder) scalar(s *shape, v reflect.Value, str string) error {
	wrong := func() error { return serialization("STRING_VALUE can not be converted to " + kindNames[s.kind]) }
	switch s.kind {
	case boolean:
		if str != "true" && str != "false" {
			return wrong()
		}
		v.SetBool(str == "true")
	case integer:
		n, err := strconv.ParseInt(str, 10, 32)
		if err != nil {
			return wrong()
		}
		v.SetInt(n)
		d.check(s, n, "")
	case timestamp:
		t, err := time.Parse(time.RFC3339Nano, str)
		if err != nil {
			return wrong()
		}
		v.Set(reflect.ValueOf(t.UTC()))
	case blob:
		data, err := base64.StdEncoding.DecodeString(str)
		if err != nil {
			return notBase64(d.path)
		}
		v.SetBytes(data)
		d.check(s, int64(len(data)), "")
	case text:
		v.SetString(str)
		d.check(s, int64(utf8.RuneCountInString(str)), str)
	}
	return nil
}

// members reads NAME… into the structure v.
func (d *formDecoder) members(s *shape, v reflect.Value, params []param, at int) error {
	var seen uint64 // bit i: member i is there
	mark := len(d.path)
	for len(params) > 0 {
		var name string
		var group []param
		name, group, params = next(params, at)
		i, known := s.byName[name]
		if !known {
			continue
		}
		m := &s.members[i]
		seen |= 1 << i
		d.enter(mark, m.lower)
		if err := d.value(m.shape, v.Field(m.field), group, at+len(name)+1); err != nil {
			return err
		}
	}
	for i := range s.members {
		if m := &s.members[i]; m.required && seen&(1<<i) == 0 {
			d.enter(mark, m.lower)
			d.missing()
		}
	}
	d.path = d.path[:mark]
	return nil
}

// union reads NAME… into the interface v.
func (d *formDecoder) union(s *shape, v reflect.Value, params []param, at int) error {
	if len(params) > 0 {
		name, group, others := next(params, at)
		if i, known := s.byName[name]; known && len(others) == 0 {
			m := &s.members[i]
			variant := reflect.New(m.variant)
			v.Set(variant)
			d.enter(len(d.path), m.lower)
			return d.value(m.shape, variant.Elem().Field(0), group, at+len(name)+1)
		}
	}
	return serialization("The value at '" + string(d.path) + "' must have exactly one member of those there are.")
}

// numbered splits what KEYWORD.N… says into the groups of one N each, by N.
func (d *formDecoder) numbered(keyword string, params []param, at int) (groups [][]param, begins []int, err error) {
	for len(params) > 0 {
		part, group, others := next(params, at)
		if part != keyword || len(group[0].name) < at+len(part)+1 {
			return nil, nil, d.notNumbered(keyword, group[0])
		}
		params = others
		for at := at + len(part) + 1; len(group) > 0; {
			var number string
			var item []param
			number, item, group = next(group, at)
			if !isNumber(number) || len(number) > maxIndex {
				return nil, nil, d.notNumbered(keyword, item[0])
			}
			groups, begins = append(groups, item), append(begins, at+len(number)+1)
		}
	}
	return groups, begins, nil
}

func (d *formDecoder) notNumbered(keyword string, p param) error {
	return serialization("The parameter " + truncate(p.name) + " is not of the form NAME." + keyword + ".N, where N is a number from 1 to 999999999.")
}

// list reads member.N… into the slice v. Numbers that are left out are not missed.
func (d *formDecoder) list(s *shape, v reflect.Value, params []param, at int) error {
	groups, begins, err := d.numbered("member", params, at)
	if err != nil {
		return err
	}
	v.Set(reflect.MakeSlice(s.typ, len(groups), len(groups))) // an empty list is not an absent one
	mark := len(d.path)
	for i, group := range groups {
		d.enterItem(mark, i)
		if err := d.value(s.item, v.Index(i), group, begins[i]); err != nil {
			return err
		}
	}
	d.path = d.path[:mark]
	d.check(s, int64(v.Len()), "")
	return nil
}

// mapping reads entry.N.key and entry.N.value into the map v.
func (d *formDecoder) mapping(s *shape, v reflect.Value, params []param, at int) error {
	groups, begins, err := d.numbered("entry", params, at)
	if err != nil {
		return err
	}
	v.Set(reflect.MakeMapWithSize(s.typ, len(groups)))
	mark := len(d.path)
	for i, group := range groups {
		begin := begins[i]
		if len(group) != 2 || len(group[0].name) < begin || group[0].name[begin:] != "key" || group[1].name[begin:] != "value" {
			return serialization("The entry of " + truncate(group[0].name) + " must have a key and a value, and nothing else.")
		}
		key, value := reflect.ValueOf(group[0].value).Convert(s.typ.Key()), reflect.New(s.typ.Elem()).Elem()
		if v.MapIndex(key).IsValid() {
			return serialization("The map at " + truncate(group[0].name) + " has the key " + truncate(group[0].value) + " twice.")
		}
		d.check(s.key, int64(utf8.RuneCountInString(group[0].value)), group[0].value)
		d.enter(mark, truncate(group[0].value))
		if err := d.value(s.item, value, group[1:], begin+len("value")+1); err != nil {
			return err
		}
		v.SetMapIndex(key, value)
	}
	d.path = d.path[:mark]
	return nil
}
