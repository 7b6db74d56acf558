package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// tokenKind is what a token of a pattern stands for.
type tokenKind uint8

const (
	literal  tokenKind = iota
	anyRun             // *
	anyOne             // ?
	variable           // ${key}
)

// token is a piece of a pattern.
type token struct {
	kind   tokenKind
	text   string       // of a literal
	key    ConditionKey // of a variable
	def    string       // what it stands for without a value, if hasDef
	hasDef bool
}

// pattern is a text with wildcards and variables, ready to be matched.
type pattern struct {
	tokens []token
	// plain is the only literal, if isPlain.
	plain   string
	isPlain bool
	vars    int // how many variables there are
}

// syntaxOf says what is special in a text.
type syntaxOf struct{ wildcards, variables bool }

// compile makes a pattern of a text. It fails on malformed variables.
func compile(text string, s syntaxOf) (pattern, error) {
	var tokens []token
	var run strings.Builder // of literals
	add := func(t token) {
		if t.kind == literal {
			run.WriteString(t.text)
			return
		}
		tokens = endRun(tokens, &run)
		if last := len(tokens) - 1; t.kind != anyRun || last < 0 || tokens[last].kind != anyRun {
			tokens = append(tokens, t)
		}
	}
	for len(text) > 0 {
		n := strings.IndexAny(text, "$*?")
		if n < 0 {
			n = len(text)
		}
		if n > 0 {
			add(token{text: text[:n]})
			text = text[n:]
			continue
		}
		switch {
		case text[0] == '*' && s.wildcards:
			add(token{kind: anyRun})
		case text[0] == '?' && s.wildcards:
			add(token{kind: anyOne})
		case s.variables && strings.HasPrefix(text, "${"):
			t, rest, err := parseVariable(text)
			if err != nil {
				return pattern{}, err
			}
			add(t)
			text = rest
			continue
		default:
			add(token{text: text[:1]})
		}
		text = text[1:]
	}
	return newPattern(endRun(tokens, &run)), nil
}

// endRun appends the literal that a run of literals makes, if there is one.
func endRun(tokens []token, run *strings.Builder) []token {
	if run.Len() > 0 {
		tokens = append(tokens, token{text: run.String()})
		run.Reset()
	}
	return tokens
}

func newPattern(tokens []token) pattern {
	p := pattern{tokens: tokens, isPlain: len(tokens) <= 1, vars: variables(tokens)}
	for i := range tokens {
		if tokens[i].kind != literal {
			p.isPlain = false
		}
	}
	if p.isPlain && len(tokens) > 0 {
		p.plain = tokens[0].text
	}
	return p
}

// match tells whether the pattern matches the whole of s. The variables of the
// pattern are looked up in ctx; one without a value matches nothing. What they
// stand for has no wildcards. Time is bounded by the product of the lengths.
func (p *pattern) match(s string, ctx Context, fold bool) bool {
	if p.isPlain {
		if fold {
			return strings.EqualFold(p.plain, s)
		}
		return p.plain == s
	}
	if p.vars == 0 {
		return matchTokens(p.tokens, s, nil, fold)
	}
	var few [4]string
	values, ok := p.values(few[:0], ctx)
	return ok && matchTokens(p.tokens, s, values, fold)
}

// values appends what the variables stand for, in order.
func (p *pattern) values(dst []string, ctx Context) ([]string, bool) {
	for i := range p.tokens {
		if t := &p.tokens[i]; t.kind == variable {
			v, ok := t.value(ctx)
			if !ok {
				return nil, false
			}
			dst = append(dst, v)
		}
	}
	return dst, true
}

// matchTokens matches what stands before the first run (*) at the start, what
// stands behind the last at the end, and what stands between as early as possible,
// which is enough.
func matchTokens(tokens []token, s string, values []string, fold bool) bool {
	chunk, tokens, more := cutRun(tokens)
	s, ok := cutChunk(chunk, s, values, fold)
	if !ok || !more {
		return ok && s == ""
	}
	for more {
		values = values[variables(chunk):]
		chunk, tokens, more = cutRun(tokens)
		if !more && len(chunk) == 0 {
			return true
		}
		for {
			if rest, ok := cutChunk(chunk, s, values, fold); ok && (more || rest == "") {
				s = rest
				break
			}
			if s == "" {
				return false
			}
			s = s[skip(chunk, s, fold):]
		}
	}
	return true
}

// cutRun divides tokens around the first run.
func cutRun(tokens []token) (chunk, rest []token, found bool) {
	for i := range tokens {
		if tokens[i].kind == anyRun {
			return tokens[:i], tokens[i+1:], true
		}
	}
	return tokens, nil, false
}

// skip is how far the start of a chunk may be moved after it did not match here.
func skip(chunk []token, s string, fold bool) int {
	_, size := utf8.DecodeRuneInString(s)
	if !fold && len(chunk) > 0 && chunk[0].kind == literal {
		if n := strings.Index(s[size:], chunk[0].text); n >= 0 {
			return size + n
		}
		return len(s)
	}
	return size
}

func variables(chunk []token) (n int) {
	for i := range chunk {
		if chunk[i].kind == variable {
			n++
		}
	}
	return n
}

// cutChunk removes what a chunk matches from the start of s.
func cutChunk(chunk []token, s string, values []string, fold bool) (rest string, ok bool) {
	for i := range chunk {
		t := &chunk[i]
		text := t.text
		switch t.kind {
		case anyOne:
			if s == "" {
				return "", false
			}
			_, size := utf8.DecodeRuneInString(s)
			s = s[size:]
			continue
		case variable:
			text, values = values[0], values[1:]
		}
		if fold {
			s, ok = cutPrefixFold(s, text)
		} else {
			s, ok = strings.CutPrefix(s, text)
		}
		if !ok {
			return "", false
		}
	}
	return s, true
}

// cutPrefixFold is strings.CutPrefix without regard to case.
func cutPrefixFold(s, prefix string) (rest string, ok bool) {
	for len(prefix) > 0 {
		if s == "" {
			return "", false
		}
		a, n := utf8.DecodeRuneInString(s)
		b, m := utf8.DecodeRuneInString(prefix)
		if a != b && !sameFold(a, b) {
			return "", false
		}
		s, prefix = s[n:], prefix[m:]
	}
	return s, true
}

func sameFold(a, b rune) bool {
	if a < utf8.RuneSelf && b < utf8.RuneSelf {
		return lower(byte(a)) == lower(byte(b))
	}
	for r := unicode.SimpleFold(a); r != a; r = unicode.SimpleFold(r) {
		if r == b {
			return true
		}
	}
	return false
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// equalFold is strings.EqualFold for an ASCII text in lower case.
func equalFold(low, s string) bool {
	if len(low) != len(s) {
		return false
	}
	for i := range len(s) {
		if low[i] != lower(s[i]) {
			return false
		}
	}
	return true
}
