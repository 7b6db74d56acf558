package wire

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kagimori/kagimori/internal/awserr"
)

// maxViolations is how many broken constraints a message spells out. All are
// counted.
const maxViolations = 16

// validator holds the values of one request against their rules while a decoder
// reads them.
type validator struct {
	path       []byte // of the value being read, as messages have it: tags.1.member.tagKey
	violations int
	messages   []string // of the first maxViolations
	reason     string   // of the first, as Organizations calls it
}

func (v *validator) reset() {
	*v = validator{path: v.path[:0]}
}

// enter makes the path of a member, where mark is the end of its parent's path.
func (v *validator) enter(mark int, name string) {
	v.path = v.path[:mark]
	if mark > 0 {
		v.path = append(v.path, '.')
	}
	v.path = append(v.path, name...)
}

// enterItem makes the path of the item of a list, counted from 0.
func (v *validator) enterItem(mark, n int) {
	v.path = strconv.AppendInt(append(v.path[:mark], '.'), int64(n+1), 10)
	v.path = append(v.path, ".member"...)
}

// check holds a value against its rule. n is what min and max count: characters,
// bytes, items, or the number itself; str is the value of a text.
func (v *validator) check(s *shape, n int64, str string) {
	r := s.rule
	if r == nil {
		return
	}
	if r.limited && (n < r.min || n > r.max) {
		what, limit, bound, reason := "have length ", "greater than or equal to ", r.min, "MIN_"
		if n > r.max {
			limit, bound, reason = "less than or equal to ", r.max, "MAX_"
		}
		if s.kind == integer {
			what, str, reason = "have value ", strconv.FormatInt(n, 10), reason+"VALUE_EXCEEDED"
		} else {
			reason += "LENGTH_EXCEEDED"
		}
		v.violated(s.echo(str), what+limit+strconv.FormatInt(bound, 10), reason)
		if n > r.max {
			return // and do not match a pattern against a value of any size
		}
	}
	if r.pattern != nil && !r.pattern.MatchString(str) {
		v.violated(s.echo(str), "satisfy regular expression pattern: "+r.patternText, invalidPattern)
	}
	if r.enum != nil && !slices.Contains(r.enum, str) {
		v.violated(s.echo(str), "satisfy enum value set: "+r.enumText, "INVALID_ENUM")
	}
}

// missing notes that what must be at the present path is not there.
func (v *validator) missing() { v.violated("Value null", "not be null", "INPUT_REQUIRED") }

// echo is how a message names a value. Secrets, blobs and lists are not repeated.
func (s *shape) echo(str string) string {
	if s.secret || s.kind != text && s.kind != integer {
		return "Value"
	}
	return "Value '" + truncate(str) + "'"
}

// violated notes that the value at the present path breaks a constraint.
func (v *validator) violated(value, constraint, reason string) {
	if v.violations++; v.violations == 1 {
		v.reason = reason
	}
	if v.violations <= maxViolations {
		v.messages = append(v.messages, fmt.Sprintf("%s at '%s' failed to satisfy constraint: Member must %s", value, v.path, constraint))
	}
}

// err is the error of all violations, with the message of AWS; nil if there are
// none.
func (v *validator) err() error {
	if v.violations == 0 {
		return nil
	}
	plural := "s"
	if v.violations == 1 {
		plural = ""
	}
	return awserr.New(awserr.Validation, "%d validation error%s detected: %s", v.violations, plural, strings.Join(v.messages, "; ")).With(v.reason)
}

// invalidPattern is the one reason for which Organizations' words are known.
const invalidPattern = "INVALID_PATTERN"
