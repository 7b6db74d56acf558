package wire

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kagimori/kagimori/internal/awserr"
)

const (
	// maxDepth is how deep arrays and objects may nest. The inputs of KMS need
	// three levels; the rest is for members that AWS may add.
	maxDepth = 16
	// maxSeconds bounds times to the years that have four digits.
	maxSeconds = 253402300799
)

// Decode reads the JSON body of a request into in, which NewInput made, and checks it
// against the constraints of the model. An empty body is an empty object, null
// members count as absent, and members that the operation does not have are
// ignored.
//
// The error is an *awserr.Error: SerializationException if the body is not the
// JSON of such an input, else ValidationException naming every constraint that is
// not kept. in is then of no use.
func (o *Operation) Decode(body []byte, in any) error {
	v := o.structure(in)
	d := decoders.Get().(*decoder)
	defer d.release()
	if err := d.decode(body, o.input, v); err != nil {
		return err
	}
	return d.err()
}

// structure is what in, which must be an input of the operation, points to.
func (o *Operation) structure(in any) reflect.Value {
	v := reflect.ValueOf(in).Elem()
	if v.Type() != o.input.typ {
		panic(fmt.Sprintf("wire: %T is not the input of %s", in, o.Name))
	}
	return v
}

// decoder reads one body. It is made for the pool.
type decoder struct {
	src  bytes.Buffer
	json jsontext.Decoder
	validator
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// release puts d back without the body, which may hold plaintext.
func (d *decoder) release() {
	d.src = bytes.Buffer{}
	d.json.Reset(&d.src)
	d.reset()
	decoders.Put(d)
}

// decode reads all of body into the structure v. Its errors are *awserr.Error;
// broken constraints are collected in d.
func (d *decoder) decode(body []byte, s *shape, v reflect.Value) error {
	if len(body) == 0 {
		body = []byte("{}")
	}
	d.src = *bytes.NewBuffer(body)
	d.json.Reset(&d.src)
	err := d.document(s, v)
	if e := (*awserr.Error)(nil); err == nil || errors.As(err, &e) {
		return err
	}
	return malformed(err)
}

func (d *decoder) document(s *shape, v reflect.Value) error {
	switch d.json.PeekKind() {
	case '{':
		if err := d.members(s, v); err != nil {
			return err
		}
	case '[':
		return serialization(unexpectedList)
	case 0: // the read gives the reason
		_, err := d.json.ReadToken()
		return err
	default:
		return serialization("The request body must be a JSON object.")
	}
	switch _, err := d.json.ReadToken(); err {
	case io.EOF:
		return nil
	case nil:
		return serialization("The request body goes on after the JSON object.")
	default:
		return err
	}
}

// expect checks that the next value, which is not null, can be of the kind.
func (d *decoder) expect(k kind) error {
	switch found := d.json.PeekKind(); {
	case found == k.token(), k == boolean && found == 'f':
		return nil
	case found == 0, found == '}', found == ']':
		_, err := d.json.ReadToken() // gives the reason
		return err
	case found == '[':
		return serialization(unexpectedList)
	case found == '{':
		return serialization(unexpectedObject)
	case k == list:
		return serialization("Expected list or null")
	case k == mapping, k == structure:
		return serialization("Expected null")
	default:
		return serialization(tokenNames[found] + " can not be converted to " + kindNames[k])
	}
}

// value reads the next value, which is not null, into v.
func (d *decoder) value(s *shape, v reflect.Value) error {
	if err := d.expect(s.kind); err != nil {
		return err
	}
	if s.pointer {
		p := reflect.New(s.typ)
		v.Set(p)
		v = p.Elem()
	}
	switch s.kind {
	case list:
		return d.list(s, v)
	case mapping:
		return d.mapping(s, v)
	case structure:
		return d.members(s, v)
	}
	raw, err := d.json.ReadValue()
	if err != nil {
		return err
	}
	switch s.kind {
	case boolean:
		v.SetBool(raw[0] == 't')
	case integer:
		n, err := strconv.ParseInt(string(raw), 10, 32)
		if err != nil {
			return serialization(tokenNames['0'] + " can not be converted to " + kindNames[integer])
		}
		v.SetInt(n)
		d.check(s, n, "")
	case timestamp:
		seconds, err := strconv.ParseFloat(string(raw), 64)
		if err != nil || math.Abs(seconds) > maxSeconds {
			return serialization(tokenNames['0'] + " can not be converted to " + kindNames[timestamp])
		}
		v.Set(reflect.ValueOf(time.UnixMilli(int64(math.Round(seconds * 1000))).UTC()))
	case blob:
		encoded := unquote(raw)
		data, err := base64.StdEncoding.AppendDecode(make([]byte, 0, base64.StdEncoding.DecodedLen(len(encoded))), encoded)
		if err != nil {
			return notBase64(d.path)
		}
		v.SetBytes(data)
		d.check(s, int64(len(data)), "")
	case text:
		unquoted := unquote(raw)
		if s.rule != nil {
			for _, known := range s.rule.enum {
				if string(unquoted) == known {
					v.SetString(known) // and spare the copy
					return nil
				}
			}
		}
		str := string(unquoted)
		v.SetString(str)
		d.check(s, int64(utf8.RuneCountInString(str)), str)
	}
	return nil
}

// members reads an object into the structure v.
func (d *decoder) members(s *shape, v reflect.Value) error {
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	var seen uint64 // bit i: member i is there and not null
	mark := len(d.path)
	for d.json.PeekKind() == '"' {
		name, err := d.json.ReadValue()
		if err != nil {
			return err
		}
		i, known := s.byName[string(unquote(name))]
		if !known || d.json.PeekKind() == 'n' {
			if err := d.skip(); err != nil {
				return err
			}
			continue
		}
		m := &s.members[i]
		seen |= 1 << i
		d.enter(mark, m.lower)
		if err := d.value(m.shape, v.Field(m.field)); err != nil {
			return err
		}
	}
	if _, err := d.json.ReadToken(); err != nil { // }
		return err
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

// list reads an array into the slice v.
func (d *decoder) list(s *shape, v reflect.Value) error {
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	v.Set(reflect.MakeSlice(s.typ, 0, 0)) // an empty list is not an absent one
	mark := len(d.path)
	for n := 0; d.json.PeekKind() != ']'; n++ {
		d.enterItem(mark, n)
		if d.json.PeekKind() == 'n' {
			// Dropping it in silence would change what the caller asked for.
			d.missing()
			if err := d.skip(); err != nil {
				return err
			}
			continue
		}
		v.Grow(1)
		v.SetLen(v.Len() + 1)
		if err := d.value(s.item, v.Index(v.Len()-1)); err != nil {
			return err
		}
	}
	d.path = d.path[:mark]
	d.check(s, int64(v.Len()), "")
	_, err := d.json.ReadToken() // ]
	return err
}

// mapping reads an object into the map v, whose keys and values are texts.
func (d *decoder) mapping(s *shape, v reflect.Value) error {
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	m := map[string]string{}
	v.Set(reflect.ValueOf(m))
	mark := len(d.path)
	for d.json.PeekKind() == '"' {
		name, err := d.json.ReadValue()
		if err != nil {
			return err
		}
		key := string(unquote(name))
		d.check(s.key, int64(utf8.RuneCountInString(key)), key)
		d.enter(mark, truncate(key))
		if d.json.PeekKind() == 'n' { // as in a list
			d.missing()
			err = d.skip()
		} else {
			var value string
			err = d.value(s.item, reflect.ValueOf(&value).Elem())
			m[key] = value
		}
		if err != nil {
			return err
		}
		d.path = d.path[:mark]
	}
	d.check(s, int64(len(m)), "")
	_, err := d.json.ReadToken() // }
	return err
}

// skip reads the next value and forgets it.
func (d *decoder) skip() error {
	for depth := d.json.StackDepth(); ; {
		if _, err := d.json.ReadToken(); err != nil {
			return err
		}
		switch now := d.json.StackDepth(); {
		case now > maxDepth:
			return serialization("The request body nests arrays and objects too deeply.")
		case now <= depth:
			return nil
		}
	}
}

// token is what a value of the kind begins with; a boolean also with 'f'.
func (k kind) token() jsontext.Kind {
	switch k {
	case text, blob:
		return '"'
	case integer, timestamp:
		return '0'
	case list:
		return '['
	case mapping, structure:
		return '{'
	}
	return 't'
}

// The words of AWS for a value of the wrong type. AWS documents none of them;
// these are what its JSON services answer. Blob and Timestamp are our guess.
const (
	unexpectedList   = "Start of list found where not expected"
	unexpectedObject = "Start of structure or map found where not expected."
)

var (
	tokenNames = map[jsontext.Kind]string{
		'"': "STRING_VALUE",
		'0': "NUMBER_VALUE",
		't': "TRUE_VALUE",
		'f': "FALSE_VALUE",
	}
	kindNames = map[kind]string{
		text:      "a String",
		boolean:   "a Boolean",
		integer:   "an Integer",
		timestamp: "a Timestamp",
		blob:      "a Blob",
	}
)

func serialization(message string) *awserr.Error {
	return awserr.New(awserr.Serialization, "%s", message)
}

func notBase64(path []byte) *awserr.Error {
	return serialization(fmt.Sprintf("The value at '%s' is not valid Base64.", path))
}

// malformed is the answer to a body that is not JSON.
func malformed(err error) *awserr.Error {
	syntax := (*jsontext.SyntacticError)(nil)
	switch {
	case !errors.As(err, &syntax): // io.EOF: nothing but white space
		return serialization("The request body must be a JSON object.")
	case syntax.Err == jsontext.ErrDuplicateName:
		return serialization(fmt.Sprintf("The request body has the member %q twice.", truncate(syntax.JSONPointer.LastToken())))
	default:
		return serialization(fmt.Sprintf("The request body is not valid JSON: %v at byte %d.", syntax.Err, syntax.ByteOffset))
	}
}

// unquote is the content of a JSON string that the tokenizer has accepted.
func unquote(raw jsontext.Value) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	b, _ := jsontext.AppendUnquote(nil, raw)
	return b
}
