package policy

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxBytes bounds a document. The longest that AWS takes are key policies of
	// 32,768 bytes.
	maxBytes = 64 << 10
	// maxStatements bounds the statements of a document.
	maxStatements = 512
	// maxDepth is how deep arrays and objects may nest; the language needs six levels.
	maxDepth = 8
)

// node is a JSON value with its place.
type node struct {
	kind    jsontext.Kind // 'n', 't', '"', '0', '{' or '['; false is 't' as well
	text    string        // of a string; of a number or boolean as written
	members []member      // of an object, no name twice
	items   []node        // of an array
	offset  int           // in bytes
	place   *place
}

// place is where a value stands; nil is the whole document. It is put in words
// only for an error: names can be long, and what stands below them much.
type place struct {
	in    *place
	name  string // of a member of an object
	index int    // of an item of an array, -1 for a member
}

// String is such as Statement[2].Condition.
func (p *place) String() string {
	switch {
	case p == nil:
		return ""
	case p.index >= 0:
		return fmt.Sprintf("%s[%d]", p.in.String(), p.index)
	case p.in == nil:
		return p.name
	}
	return p.in.String() + "." + p.name
}

type member struct {
	name  string
	value node
}

// reader turns text into nodes.
type reader struct {
	text string
	json *jsontext.Decoder
}

// readJSON reads the one JSON object that text must be.
func readJSON(text string) (*node, error) {
	r := &reader{text: text}
	if len(text) > maxBytes {
		return nil, r.fail(0, nil, fmt.Sprintf("The document has %d bytes; at most %d are allowed", len(text), maxBytes))
	}
	r.json = jsontext.NewDecoder(strings.NewReader(text), jsontext.AllowDuplicateNames(true))
	root, err := r.value(nil, 0)
	if err != nil {
		return nil, err
	}
	if root.kind != '{' {
		return nil, r.fail(root.offset, nil, "The document must be a JSON object, { to }")
	}
	if end := r.next(); end < len(text) {
		return nil, r.fail(end, nil, "The document must end after its JSON object")
	}
	return root, nil
}

// next is the offset of the next token.
func (r *reader) next() int {
	at := int(r.json.InputOffset())
	return at + len(r.text[at:]) - len(strings.TrimLeft(r.text[at:], " \t\r\n,:"))
}

// value reads the next value.
func (r *reader) value(at *place, depth int) (*node, error) {
	n := &node{offset: r.next(), place: at}
	if depth == maxDepth {
		return nil, r.fail(n.offset, at, "Arrays and objects are nested too deep")
	}
	t, err := r.json.ReadToken()
	if err != nil {
		return nil, r.syntax(err, at)
	}
	switch n.kind = t.Kind(); n.kind {
	case 'f':
		n.kind = 't'
		fallthrough
	case '"', '0', 't':
		n.text = t.String()
	case '{':
		names := map[string]bool{}
		for r.json.PeekKind() != '}' {
			offset := r.next()
			t, err := r.json.ReadToken()
			if err != nil {
				return nil, r.syntax(err, at)
			}
			name := t.String()
			if names[name] {
				return nil, r.fail(offset, at, fmt.Sprintf("%q is there twice; keep one of them", name))
			}
			names[name] = true
			v, err := r.value(&place{at, name, -1}, depth+1)
			if err != nil {
				return nil, err
			}
			n.members = append(n.members, member{name, *v})
		}
		_, err = r.json.ReadToken()
	case '[':
		for r.json.PeekKind() != ']' {
			v, err := r.value(&place{in: at, index: len(n.items)}, depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, *v)
		}
		_, err = r.json.ReadToken()
	}
	if err != nil {
		return nil, r.syntax(err, at)
	}
	return n, nil
}

// syntax words an error of the JSON decoder.
func (r *reader) syntax(err error, in *place) *SyntaxError {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.fail(len(r.text), in, "The document ends too early")
	}
	var at *jsontext.SyntacticError
	if errors.As(err, &at) {
		return r.fail(int(at.ByteOffset), in, "The document is not JSON: "+at.Err.Error())
	}
	return r.fail(int(r.json.InputOffset()), in, "The document is not JSON: "+err.Error())
}

// line is that of an offset, from 1.
func (r *reader) line(offset int) int { return strings.Count(r.text[:offset], "\n") + 1 }

// fail is an error at an offset.
func (r *reader) fail(offset int, at *place, reason string) *SyntaxError {
	before := r.text[:min(offset, len(r.text))]
	line := strings.LastIndexByte(before, '\n') + 1
	return &SyntaxError{
		Line: r.line(len(before)), Column: utf8.RuneCountInString(before[line:]) + 1,
		Path: at.String(), Reason: reason,
	}
}
