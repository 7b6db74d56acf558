// Command modelgen turns facts about AWS's APIs into the constraints that package
// wire embeds. It is run by hand when AWS adds to an API:
//
//	KMS_FACTS=DIR BOTOCORE=DIR go generate ./internal/wire
//
// KMS_FACTS/validation.json lists, for every operation of KMS, the members of its
// input with shape, length or range, pattern, enum and sensitivity, as AWS's public
// service model of KMS (2014-11-01) has them. BOTOCORE is the data folder of
// botocore (Apache License 2.0), which test/setup installs:
// test/.tools/python/lib/python3.11/site-packages/awscli/botocore/data. It holds the
// service models of the other services.
//
// Constraints belong to shapes, so the output names each shape once, one to a line.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// facts is what is read.
type facts struct {
	Enums      map[string][]string          `json:"enums"`
	Structures map[string]map[string]member `json:"structures"`
	Operations map[string]struct {
		InputShape  string            `json:"input_shape"`
		Input       map[string]member `json:"input"`
		OutputShape *string           `json:"output_shape"`
		Output      map[string]member `json:"output"`
	} `json:"operations"`
}

type member struct {
	Shape     string  `json:"shape"`
	Required  bool    `json:"required"`
	Min       *int64  `json:"min"`
	Max       *int64  `json:"max"`
	Pattern   string  `json:"pattern"`
	Enum      string  `json:"enum"`
	Sensitive bool    `json:"sensitive"`
	Structure string  `json:"structure"`
	Items     *member `json:"items"`
	Key       *member `json:"key"`
	Value     *member `json:"value"`
}

// shape is what is written; package wire reads it.
type shape struct {
	Range    *[2]int64         `json:"range,omitempty"`
	Pattern  string            `json:"pattern,omitempty"`
	Enum     []string          `json:"enum,omitempty"`
	Item     string            `json:"item,omitempty"` // of a list, or the values of a map
	Key      string            `json:"key,omitempty"`  // of a map
	Members  map[string]string `json:"members,omitempty"`
	Required []string          `json:"required,omitempty"`
}

type operation struct {
	Input  string `json:"input,omitempty"`  // shape of the request
	NoBody bool   `json:"noBody,omitempty"` // the answer has an empty body
}

// model is the whole of what is written.
type model struct {
	operations map[string]operation
	sensitive  []string          // MEMBER, or STRUCTURE.MEMBER with the SDK's names
	names      map[string]string // where they are not the SDK's: STRUCTURE.MEMBER to the name on the wire
	shapes     map[string]shape
}

func (m *model) encode() []byte {
	var b bytes.Buffer
	b.WriteString("{\n\"operations\": {")
	lines(&b, m.operations)
	b.WriteString("},\n\"sensitive\": ")
	sensitive, err := json.Marshal(m.sensitive)
	if err != nil {
		panic(err) // strings always encode
	}
	b.Write(sensitive)
	if len(m.names) > 0 {
		b.WriteString(",\n\"names\": {")
		lines(&b, m.names)
		b.WriteString("}")
	}
	b.WriteString(",\n\"shapes\": {")
	lines(&b, m.shapes)
	b.WriteString("}\n}\n")
	return b.Bytes()
}

// generator collects what the inputs reach.
type generator struct {
	facts     facts
	shapes    map[string]shape
	sensitive map[string]bool
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("modelgen: ")
	if len(os.Args) != 3 {
		log.Fatal("usage: modelgen validation.json|service-2.json OUTPUT")
	}
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	generate := fromFacts
	if filepath.Base(os.Args[1]) == "service-2.json" {
		generate = fromServiceModel
	}
	out, err := generate(text)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(os.Args[2], out.encode(), 0o644); err != nil {
		log.Fatal(err)
	}
}

func fromFacts(text []byte) (*model, error) {
	g := generator{shapes: map[string]shape{}, sensitive: map[string]bool{}}
	if err := json.Unmarshal(text, &g.facts); err != nil {
		return nil, err
	}
	operations := map[string]operation{}
	for name, op := range g.facts.Operations {
		operations[name] = operation{Input: op.InputShape, NoBody: op.OutputShape == nil}
		if err := g.structure(op.InputShape, op.Input); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		g.noteSensitive(op.Output)
	}
	for _, members := range g.facts.Structures {
		g.noteSensitive(members)
	}
	return &model{operations: operations, sensitive: slices.Sorted(maps.Keys(g.sensitive)), shapes: g.shapes}, nil
}

// lines writes the members of a JSON object, one to a line, in name order.
func lines[T any](b *bytes.Buffer, values map[string]T) {
	separator := "\n"
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value, err := json.Marshal(values[name])
		if err != nil {
			panic(err) // shapes and operations always encode
		}
		fmt.Fprintf(b, "%s%q: %s", separator, name, value)
		separator = ",\n"
	}
	b.WriteString("\n")
}

func (g *generator) structure(name string, members map[string]member) error {
	s := shape{Members: map[string]string{}}
	for _, m := range slices.Sorted(maps.Keys(members)) {
		s.Members[m] = members[m].Shape
		if members[m].Required {
			s.Required = append(s.Required, m)
		}
		if err := g.member(members[m]); err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
	}
	g.shapes[name] = s
	g.noteSensitive(members)
	return nil
}

func (g *generator) member(m member) error {
	s := shape{Pattern: m.Pattern, Enum: g.facts.Enums[m.Enum]}
	if m.Min != nil && m.Max != nil {
		s.Range = &[2]int64{*m.Min, *m.Max}
	}
	switch {
	case m.Structure != "":
		return g.structure(m.Shape, g.facts.Structures[m.Structure])
	case m.Items != nil:
		s.Item = m.Items.Shape
		if err := g.member(*m.Items); err != nil {
			return err
		}
	case m.Key != nil:
		// KMS constrains no map. If that changes, the decoder must learn it.
		for _, part := range []*member{m.Key, m.Value} {
			if part.Min != nil || part.Max != nil || part.Pattern != "" || part.Enum != "" {
				return errors.New("constrained map keys or values are not supported")
			}
		}
	}
	g.shapes[m.Shape] = s
	return nil
}

func (g *generator) noteSensitive(members map[string]member) {
	for name, m := range members {
		if m.Sensitive {
			g.sensitive[name] = true
		}
	}
}
