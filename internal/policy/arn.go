package policy

import "strings"

// arnPattern is a pattern of an ARN: six parts, each matched for itself.
type arnPattern struct {
	whole pattern
	parts [6]pattern
	valid bool // there are six parts
	// early tells of variables before the sixth part.
	early bool
}

// newARNPattern splits a pattern at the first five colons of its literals.
func newARNPattern(whole pattern) arnPattern {
	a := arnPattern{whole: whole}
	part, start := 0, 0
	var tokens []token
	for _, t := range whole.tokens {
		if t.kind == variable && part < 5 {
			a.early = true
		}
		for t.kind == literal && part < 5 {
			before, after, ok := strings.Cut(t.text, ":")
			if !ok {
				break
			}
			if before != "" {
				tokens = append(tokens, token{text: before})
			}
			a.parts[part] = newPattern(tokens[start:len(tokens):len(tokens)])
			part, start = part+1, len(tokens)
			t.text = after
		}
		if t.kind != literal || t.text != "" {
			tokens = append(tokens, t)
		}
	}
	a.parts[part] = newPattern(tokens[start:])
	a.valid = part == 5
	return a
}

// match tells whether the pattern matches an ARN. Wildcards do not reach beyond
// the part in which they stand; the last part takes colons.
func (a *arnPattern) match(arn string, ctx Context) bool {
	if a.early {
		return a.matchExpanded(arn, ctx)
	}
	if !a.valid {
		return false
	}
	for i := range a.parts[:5] {
		n := strings.IndexByte(arn, ':')
		if n < 0 || !a.parts[i].match(arn[:n], nil, false) {
			return false
		}
		arn = arn[n+1:]
	}
	return a.parts[5].match(arn, ctx, false)
}

// matchExpanded is match for variables before the last part. Their values may hold
// colons, so they go in before the text is split.
func (a *arnPattern) matchExpanded(arn string, ctx Context) bool {
	var few [16]token
	part, tokens := 0, few[:0]
	for i := range a.whole.tokens {
		t := a.whole.tokens[i]
		if t.kind == variable {
			v, ok := a.whole.tokens[i].value(ctx)
			if !ok {
				return false
			}
			t = token{text: v}
		}
		for t.kind == literal && part < 5 {
			before, after, ok := strings.Cut(t.text, ":")
			if !ok {
				break
			}
			of, rest, ok := strings.Cut(arn, ":")
			if !ok || !matchTokens(append(tokens, token{text: before}), of, nil, false) {
				return false
			}
			part, tokens, t.text, arn = part+1, few[:0], after, rest
		}
		tokens = append(tokens, t)
	}
	return part == 5 && matchTokens(tokens, arn, nil, false)
}
