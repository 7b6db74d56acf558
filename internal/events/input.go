package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

// input makes what a target gets of an event.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
type input struct {
	constant string   // JSON
	path     jsonPath // of a part of the event; nil for all of it
	template []part   // nil if there is none
	paths    map[string]jsonPath
	inJSON   bool // the template is JSON
}

// part is a piece of a template: text, or the name of a variable.
type part struct {
	text, variable string
	quoted         bool // the variable stands within a string of JSON
}

// newInput reads what a target says of its input. The error is for callers.
func newInput(t *types.Target) (*input, error) {
	in := new(input)
	given := 0
	if t.Input != nil {
		given++
		if !json.Valid([]byte(*t.Input)) {
			return nil, invalid("JSON syntax error in input for target %s.", *t.Id)
		}
		in.constant = *t.Input
	}
	if t.InputPath != nil && *t.InputPath != "" {
		given++
		var err error
		if in.path, err = parsePath(*t.InputPath); err != nil {
			return nil, invalid("Invalid InputPath for target %s: %v.", *t.Id, err)
		}
	}
	if x := t.InputTransformer; x != nil {
		given++
		in.paths = map[string]jsonPath{}
		for name, text := range x.InputPathsMap {
			p, err := parsePath(text)
			if err != nil {
				return nil, invalid("Invalid InputPathsMap for target %s: %s: %v.", *t.Id, name, err)
			}
			if strings.HasPrefix(strings.ToLower(name), "aws") {
				return nil, invalid("Invalid InputPathsMap for target %s: names must not begin with AWS.", *t.Id)
			}
			in.paths[name] = p
		}
		if err := in.parseTemplate(*x.InputTemplate); err != nil {
			return nil, invalid("Invalid InputTemplate for target %s : %v.", *t.Id, err)
		}
	}
	if given > 1 {
		return nil, invalid("Only one of Input, InputPath, or InputTransformer must be provided for target %s.", *t.Id)
	}
	return in, nil
}

// reserved are the variables that there are without a path.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html#eb-transform-input-predefined
const (
	ruleARNVariable   = "aws.events.rule-arn"
	ruleNameVariable  = "aws.events.rule-name"
	ingestionVariable = "aws.events.event.ingestion-time"
	eventVariable     = "aws.events.event"
	eventJSONVariable = "aws.events.event.json"
)

var variableForm = regexp.MustCompile(`<([A-Za-z0-9._-]+)>`)

func (in *input) parseTemplate(text string) error {
	// It is JSON if it is with a value for each variable.
	filled := func(value string) bool { return json.Valid([]byte(variableForm.ReplaceAllString(text, value))) }
	in.inJSON = filled("0")
	quoted := false
	add := func(t string) {
		if t == "" {
			return
		}
		in.template = append(in.template, part{text: t})
		for i := 0; i < len(t); i++ {
			switch t[i] {
			case '"':
				quoted = !quoted
			case '\\':
				i++
			}
		}
	}
	end := 0
	for _, m := range variableForm.FindAllStringSubmatchIndex(text, -1) {
		add(text[end:m[0]])
		end = m[1]
		name := text[m[2]:m[3]]
		switch name {
		case ruleARNVariable, ruleNameVariable, ingestionVariable, eventVariable, eventJSONVariable:
		default:
			if _, ok := in.paths[name]; !ok {
				return errors.New("InputPathsMap has no " + name)
			}
		}
		in.template = append(in.template, part{variable: name, quoted: quoted})
	}
	add(text[end:])
	return nil
}

// of is what the target gets of an event. What is not there is null.
func (in *input) of(e *event, r *rule) []byte {
	switch {
	case in.constant != "":
		return []byte(in.constant)
	case in.path != nil:
		return encode(in.path.find(e.value))
	case in.template == nil:
		return e.text
	}
	var b bytes.Buffer
	for _, p := range in.template {
		if p.variable == "" {
			b.WriteString(p.text)
			continue
		}
		v := in.variable(p.variable, e, r)
		s, isText := v.(string)
		switch {
		case !in.inJSON && isText:
			b.WriteString(s)
		case in.inJSON && p.quoted:
			if !isText && v != nil {
				s = string(encode(v))
			}
			q := encode(s)
			b.Write(q[1 : len(q)-1])
		case !in.inJSON && v == nil:
		default:
			b.Write(encode(v))
		}
	}
	return b.Bytes()
}

func (in *input) variable(name string, e *event, r *rule) any {
	switch name {
	case ruleARNVariable:
		return ruleARN(r.place)
	case ruleNameVariable:
		return r.place.ID
	case ingestionVariable:
		return e.ingested.UTC().Format(time.RFC3339)
	case eventVariable, eventJSONVariable:
		return json.RawMessage(e.text)
	}
	return in.paths[name].find(e.value)
}

// encode is v as JSON, as it was read.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // what was JSON is
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// jsonPath leads to a part of a JSON value: names of members and numbers of items.
type jsonPath []any

var stepForm = regexp.MustCompile(`^(?:\.([^.\[\]]+)|\[(\d{1,6})\]|\['([^']+)'\])`)

func parsePath(text string) (jsonPath, error) {
	rest, ok := strings.CutPrefix(text, "$")
	if !ok {
		return nil, errors.New("a path begins with $")
	}
	p := jsonPath{}
	for rest != "" {
		m := stepForm.FindStringSubmatch(rest)
		if m == nil {
			return nil, errors.New("a path has the form $.detail.resources[0].ARN")
		}
		rest = rest[len(m[0]):]
		if m[2] != "" {
			n, err := strconv.Atoi(m[2])
			if err != nil {
				return nil, err
			}
			p = append(p, n)
		} else {
			p = append(p, m[1]+m[3])
		}
	}
	return p, nil
}

// find is the part of v that p leads to, nil if there is none.
func (p jsonPath) find(v any) any {
	for _, step := range p {
		switch step := step.(type) {
		case string:
			object, _ := v.(map[string]any)
			v = object[step]
		case int:
			list, _ := v.([]any)
			if step >= len(list) {
				return nil
			}
			v = list[step]
		}
	}
	return v
}
