package policy

import (
	"maps"
	"slices"
)

// Operators are the names of the condition operators, sorted.
var Operators = slices.Sorted(maps.Keys(operators))
