package wire

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	iam "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go/middleware"
)

// kind is what a value is on the wire, in JSON and in the Query protocol.
type kind int

const (
	text      kind = iota // JSON string
	boolean               // true, false
	integer               // number, 32 bits, signed
	timestamp             // JSON number, epoch seconds; ISO 8601
	blob                  // base64
	list                  // JSON array; NAME.member.N, <member>
	mapping               // JSON object, any names; NAME.entry.N.key and .value, <entry>
	structure             // JSON object, known members; NAME.MEMBER, <MEMBER>
	union                 // a structure with exactly one member; only Query reads it
)

// shape is how one Go type looks on the wire. The shape of a request also holds
// the model's constraints.
type shape struct {
	kind    kind
	typ     reflect.Type // without the pointer
	pointer bool         // the Go value is a *typ
	secret  bool         // see secrets; goes for all that is within
	noBody  bool         // as an answer: the body is empty, or has no result

	rule    *rule          // nil if there is nothing to check
	item    *shape         // of a list, or the values of a mapping
	key     *shape         // of a mapping
	members []member       // of a structure, in the order of the Go type, or of a union
	byName  map[string]int // index into members
}

// member is one member of a structure.
type member struct {
	name     string       // KeyId, as on the wire
	lower    string       // keyId, as messages and records have it
	wireName string       // "KeyId":
	recName  string       // "keyId":
	field    int          // index of the Go field
	variant  reflect.Type // of a union: the structure whose field it is
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
	metadataType = reflect.TypeFor[middleware.Metadata]()
)

// newShape makes the shape of a Go type. constraints names a shape of the model;
// empty means none. A type that the protocol does not have, or one that the model
// does not fit, is a programming error and panics.
func newShape(t reflect.Type, m *model, constraints string, secret bool) *shape {
	s := &shape{typ: t, secret: secret}
	if t.Kind() == reflect.Pointer {
		s.pointer, s.typ = true, t.Elem()
	}
	facts, ok := m.Shapes[constraints]
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
	case k == reflect.String:
		s.kind = text
	case k == reflect.Bool:
		s.kind = boolean
	case k == reflect.Int32:
		s.kind = integer
	case k == reflect.Slice:
		s.kind = list
		s.item = newShape(s.typ.Elem(), m, facts.Item, secret)
	case k == reflect.Map && s.typ.Key().Kind() == reflect.String:
		s.kind = mapping
		s.item = newShape(s.typ.Elem(), m, facts.Item, secret)
		s.key = newShape(s.typ.Key(), m, facts.Key, secret)
	case unions[s.typ] != nil:
		s.kind = union
		s.addVariants(m, constraints)
	case k == reflect.Struct:
		s.kind = structure
		s.addMembers(modelOf(s.typ), constraints)
	default:
		panic(fmt.Sprintf("wire: type %v has no form on the wire", t))
	}
	return s
}

func (s *shape) addMembers(m *model, constraints string) {
	facts := m.Shapes[constraints]
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
		name := m.wireName(s.typ, f.Name)
		of, ok := facts.Members[name]
		if limits, known := newer[name]; constraints != "" && !ok && !known {
			panic(fmt.Sprintf("wire: the model lacks %s.%s", constraints, name))
		} else if constraints != "" && !ok {
			of = name
			m.Shapes[name] = constraint{Range: &limits}
		}
		lower := lowerCamel(name)
		s.byName[name] = len(s.members)
		s.members = append(s.members, member{
			name:     name,
			lower:    lower,
			wireName: strconv.Quote(name) + ":",
			recName:  strconv.Quote(lower) + ":",
			field:    i,
			required: required[name],
			shape:    newShape(f.Type, m, of, s.secret || m.secret(s.typ, f.Name)),
		})
	}
	if len(s.members) > 64 {
		panic(fmt.Sprintf("wire: %v has more members than the decoder can tick off", s.typ))
	}
}

// unions are the interfaces of the SDK that stand for unions, with the structures
// that implement them: TYPEMemberNAME, with one field Value.
var unions = map[reflect.Type][]reflect.Type{
	reflect.TypeFor[iam.PolicyIdentifier](): {
		reflect.TypeFor[iam.PolicyIdentifierMemberInlinePolicyIdentifier](),
		reflect.TypeFor[iam.PolicyIdentifierMemberPolicyArn](),
		reflect.TypeFor[iam.PolicyIdentifierMemberPolicyType](),
	},
}

func (s *shape) addVariants(m *model, constraints string) {
	s.byName = map[string]int{}
	for i, t := range unions[s.typ] {
		name := strings.TrimPrefix(t.Name(), s.typ.Name()+"Member")
		s.byName[name] = i
		s.members = append(s.members, member{
			name:    name,
			lower:   lowerCamel(name),
			recName: strconv.Quote(lowerCamel(name)) + ":",
			variant: t,
			shape:   newShape(t.Field(0).Type, m, m.Shapes[constraints].Members[name], s.secret),
		})
	}
}

// compilePattern makes a Go expression of one written for Java, which AWS matches
// against the whole value.
func compilePattern(java string) *regexp.Regexp {
	if known, ok := patterns[java]; ok {
		return known
	}
	expr := unicodeEscape.ReplaceAllString(java, `\x{$1}`)
	// Java's \s has the vertical tab. The models use \s only within brackets.
	expr = strings.ReplaceAll(expr, `\s`, `\s\x0B`)
	if other, ok := rewritten[java]; ok {
		expr = other
	}
	patterns[java] = regexp.MustCompile(`^(?:` + expr + `)$`)
	return patterns[java]
}

var (
	unicodeEscape = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)

	// patterns has what was compiled. Shapes with constraints, and so patterns, are
	// made when the program starts only.
	patterns = map[string]*regexp.Regexp{}

	// rewritten has the patterns that look ahead, which Go's expressions cannot.
	rewritten = map[string]string{
		// An account alias: no hyphen at an end, nor two together. Its length is
		// checked beside it.
		`^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`: `[a-z0-9]+(-[a-z0-9]+)*`,
		// Not blank.
		`^(?!\s*$).+`: `.*[^\s\x0B].*`,
	}
)

// lowerCamel is the name of a member in messages and records: keyId for KeyId.
// CloudTrail leaves AWSAccountId as it is, but writes aWSServiceName.
func lowerCamel(name string) string {
	if name == "AWSAccountId" {
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
	s, _ := shapes.LoadOrStore(t, newShape(t, noModel, "", false))
	return s.(*shape)
}
