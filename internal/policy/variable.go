package policy

import (
	"errors"
	"strings"
)

// parseVariable reads a policy variable from the start of text:
// ${key}, ${key, 'default'}, or one of ${*} ${?} ${$}, which are the characters.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
func parseVariable(text string) (t token, rest string, err error) {
	malformed := errors.New("has a policy variable that is none: write ${KEY} or ${KEY, 'DEFAULT'} with a condition key, and ${$} for a dollar sign")
	body := text[len("${"):]
	n := strings.IndexAny(body, ",'}")
	if n < 0 {
		return token{}, "", malformed
	}
	name := strings.TrimSpace(body[:n])
	if body[n] == ',' {
		after, ok := strings.CutPrefix(strings.TrimLeft(body[n+1:], " "), "'")
		end := strings.IndexByte(after, '\'')
		if !ok || end < 0 {
			return token{}, "", malformed
		}
		t.def, t.hasDef = after[:end], true
		body = strings.TrimLeft(after[end+1:], " ")
		n = 0
	}
	if n >= len(body) || body[n] != '}' {
		return token{}, "", malformed
	}
	rest = body[n+1:]
	switch name {
	case "*", "?", "$":
		if t.hasDef {
			return token{}, "", malformed
		}
		return token{text: name}, rest, nil
	}
	key, err := ParseConditionKey(name)
	if err != nil || strings.Contains(name, "${") { // variables do not nest
		return token{}, "", malformed
	}
	t.kind, t.key = variable, key
	return t, rest, nil
}

// value is what a variable stands for. Multi-valued keys cannot be variables.
func (t *token) value(ctx Context) (string, bool) {
	v := lookUp(ctx, &t.key)
	if v.kind == absent || v.kind == isTexts {
		return t.def, t.hasDef
	}
	return v.String(), true
}

// lookUp is a value of the context, which may be nil.
func lookUp(ctx Context, key *ConditionKey) Value {
	if ctx == nil {
		return Absent
	}
	return ctx.Value(key)
}
