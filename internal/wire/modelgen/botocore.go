package main

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
)

// serviceModel is what is read of a service-2.json.
type serviceModel struct {
	Operations map[string]struct {
		Input, Output *reference
	}
	Shapes map[string]modelShape
}

type reference struct{ Shape string }

type modelShape struct {
	Type       string
	Min, Max   *int64
	Pattern    string
	Enum       []string
	Sensitive  bool
	Exception  bool
	Members    map[string]reference
	Required   []string
	Member     reference // of a list
	Key, Value reference // of a map
}

func fromServiceModel(text []byte) (*model, error) {
	var from serviceModel
	if err := json.Unmarshal(text, &from); err != nil {
		return nil, err
	}
	to := &model{operations: map[string]operation{}, sensitive: []string{}, names: map[string]string{}, shapes: map[string]shape{}}
	goNames := map[string]string{} // of structures
	for name := range from.Shapes {
		goNames[name] = exported(name)
	}
	for name, op := range from.Operations {
		row := operation{NoBody: op.Output == nil}
		if op.Input != nil {
			row.Input = op.Input.Shape
			goNames[row.Input] = name + "Input"
			from.add(to.shapes, row.Input)
		}
		if op.Output != nil {
			goNames[op.Output.Shape] = name + "Output"
		}
		to.operations[name] = row
	}
	for name, s := range from.Shapes {
		if s.Exception {
			continue
		}
		for member, ref := range s.Members {
			in := goNames[name] + "." + exported(member)
			if from.Shapes[ref.Shape].Sensitive {
				to.sensitive = append(to.sensitive, in)
			}
			if exported(member) != member {
				to.names[in] = member
			}
		}
	}
	slices.Sort(to.sensitive)
	return to, nil
}

// add puts the named shape, which a request reaches, and those within it into
// shapes.
func (m *serviceModel) add(shapes map[string]shape, name string) {
	if _, done := shapes[name]; done {
		return
	}
	from := m.Shapes[name]
	to := shape{Pattern: from.Pattern, Enum: from.Enum}
	if from.Min != nil || from.Max != nil {
		to.Range = &[2]int64{0, math.MaxInt32} // no request has values beyond that
		if from.Min != nil {
			to.Range[0] = *from.Min
		}
		if from.Max != nil {
			to.Range[1] = *from.Max
		}
	}
	var within []string
	switch from.Type {
	case "structure":
		to.Members, to.Required = map[string]string{}, slices.Sorted(slices.Values(from.Required))
		for member, ref := range from.Members {
			to.Members[member] = ref.Shape
		}
		within = slices.Collect(maps.Values(to.Members))
	case "list":
		to.Item = from.Member.Shape
		within = []string{to.Item}
	case "map":
		to.Key, to.Item = from.Key.Shape, from.Value.Shape
		within = []string{to.Key, to.Item}
	}
	shapes[name] = to
	for _, other := range within {
		m.add(shapes, other)
	}
}

// exported is the name that the SDK has for a name of the model.
func exported(name string) string { return strings.ToUpper(name[:1]) + name[1:] }
