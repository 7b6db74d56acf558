package wire

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/smithy-go/middleware"
)

// kms.json holds the constraints of AWS's service model. It is generated; see
// modelgen for how and from what.
//
//go:generate go run ./modelgen $KMS_FACTS/validation.json kms.json
//go:embed kms.json
var modelText []byte

// model is the content of kms.json.
var model = func() (m struct {
	Operations map[string]struct {
		Input  string // name of a shape
		NoBody bool   // the answer has an empty body
	}
	Sensitive []string // member names that AWS marks as sensitive
	Shapes    map[string]struct {
		Range    *[2]int64
		Pattern  string
		Enum     []string
		Item     string            // shape of a list's items
		Members  map[string]string // member name to shape
		Required []string          // member names
	}
}) {
	if err := json.Unmarshal(modelText, &m); err != nil {
		panic("wire: kms.json: " + err.Error())
	}
	return m
}()

// secret holds the member names whose values are repeated neither in an error
// message nor in an audit record: what the model marks as sensitive, and grant
// tokens, since whoever has one can use its grant. Blobs are left out anyway.
var secret = func() map[string]bool {
	m := map[string]bool{
		"GrantToken":                       true,
		"GrantTokens":                      true,
		"XksProxyAuthenticationCredential": true,
	}
	for _, name := range model.Sensitive {
		m[name] = true
	}
	return m
}()

// kind is what a value is on the wire.
type kind int

const (
	text      kind = iota // JSON string
	boolean               // true, false
	integer               // JSON number, 32 bits, signed
	timestamp             // JSON number, epoch seconds
	blob                  // JSON string, base64
	list                  // JSON array
	mapping               // JSON object, any names, text values
	structure             // JSON object, known members
)

// shape is how one Go type looks on the wire. The shape of a request also holds
// the model's constraints.
type shape struct {
	kind    kind
	typ     reflect.Type // without the pointer
	pointer bool         // the Go value is a *typ
	secret  bool         // see secret; goes for all that is within
	noBody  bool         // as an answer: the body is empty

	rule    *rule // nil if there is nothing to check
	item    *shape
	members []member       // of a structure, in the order of the Go type
	byName  map[string]int // index into members
}

// member is one member of a structure.
type member struct {
	name     string // KeyId
	lower    string // keyId, as messages and records have it
	wireName string // "KeyId":
	recName  string // "keyId":
	field    int    // index of the Go field
	required bool
	shape    *shape
}

// rule is what the model asks of a value beyond its type.
type rule struct {
	limited  bool // min and max hold
	min, max int64

	pattern     *regexp.Regexp
	patternText string // as the model writes it

	enum     []string
	enumText string // as messages list it: [A, B]
}

var (
	bytesType    = reflect.TypeFor[[]byte]()
	timeType     = reflect.TypeFor[time.Time]()
	textMapType  = reflect.TypeFor[map[string]string]()
	metadataType = reflect.TypeFor[middleware.Metadata]()
)

// newShape makes the shape of a Go type. constraints names a shape of the model;
// empty means none. A type that the protocol does not have, or one that the model
// does not fit, is a programming error and panics.
func newShape(t reflect.Type, constraints string, secret bool) *shape {
	s := &shape{typ: t, secret: secret}
	if t.Kind() == reflect.Pointer {
		s.pointer, s.typ = true, t.Elem()
	}
	facts, ok := model.Shapes[constraints]
	if constraints != "" && !ok {
		panic("wire: the model lacks " + constraints)
	}
	if facts.Range != nil || facts.Pattern != "" || facts.Enum != nil {
		s.rule = &rule{
			patternText: facts.Pattern,
			enum:        facts.Enum,
			enumText:    "[" + strings.Join(facts.Enum, ", ") + "]",
		}
		if facts.Range != nil {
			s.rule.limited, s.rule.min, s.rule.max = true, facts.Range[0], facts.Range[1]
		}
		if facts.Pattern != "" {
			s.rule.pattern = compilePattern(facts.Pattern)
		}
	}
	switch k := s.typ.Kind(); {
	case s.typ == timeType:
		s.kind = timestamp
	case s.typ == bytesType:
		s.kind = blob
	case s.typ == textMapType:
		s.kind = mapping
	case k == reflect.String:
		s.kind = text
	case k == reflect.Bool:
		s.kind = boolean
	case k == reflect.Int32:
		s.kind = integer
	case k == reflect.Slice:
		s.kind = list
		s.item = newShape(s.typ.Elem(), facts.Item, secret)
	case k == reflect.Struct:
		s.kind = structure
		s.addMembers(constraints)
	default:
		panic(fmt.Sprintf("wire: type %v has no form on the wire", t))
	}
	return s
}

func (s *shape) addMembers(constraints string) {
	facts := model.Shapes[constraints]
	required := map[string]bool{}
	for _, name := range facts.Required {
		required[name] = true
	}
	s.byName = map[string]int{}
	for i := range s.typ.NumField() {
		f := s.typ.Field(i)
		if !f.IsExported() || f.Type == metadataType {
			continue
		}
		of, ok := facts.Members[f.Name]
		if constraints != "" && !ok {
			panic(fmt.Sprintf("wire: the model lacks %s.%s", constraints, f.Name))
		}
		lower := lowerCamel(f.Name)
		s.byName[f.Name] = len(s.members)
		s.members = append(s.members, member{
			name:     f.Name,
			lower:    lower,
			wireName: strconv.Quote(f.Name) + ":",
			recName:  strconv.Quote(lower) + ":",
			field:    i,
			required: required[f.Name],
			shape:    newShape(f.Type, of, s.secret || secret[f.Name]),
		})
	}
	if len(s.members) > 64 {
		panic(fmt.Sprintf("wire: %v has more members than the decoder can tick off", s.typ))
	}
}

// compilePattern makes a Go expression of one written for Java, which AWS matches
// against the whole value.
func compilePattern(java string) *regexp.Regexp {
	expr := unicodeEscape.ReplaceAllString(java, `\x{$1}`)
	// Java's \s has the vertical tab. The model uses \s only within brackets.
	expr = strings.ReplaceAll(expr, `\s`, `\s\x0B`)
	return regexp.MustCompile(`^(?:` + expr + `)$`)
}

var unicodeEscape = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)

// lowerCamel is the name of a member in messages and records: keyId for KeyId.
// CloudTrail leaves AWSAccountId as it is.
func lowerCamel(name string) string {
	if strings.HasPrefix(name, "AWS") {
		return name
	}
	return strings.ToLower(name[:1]) + name[1:]
}

// shapes caches what shapeOf made, by reflect.Type.
var shapes sync.Map

// shapeOf is the shape of a type without constraints, for writing.
func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	s, _ := shapes.LoadOrStore(t, newShape(t, "", false))
	return s.(*shape)
}
