package policy

import (
	"fmt"
	"strings"
)

// Quantifier says how the values of a multi-valued key count.
type Quantifier string

const (
	// Single is no quantifier: the key has one value. Of several values one must
	// match; for negated operators none may.
	Single       Quantifier = ""
	ForAllValues Quantifier = "ForAllValues"
	ForAnyValue  Quantifier = "ForAnyValue"
)

// Condition is one key under one operator.
type Condition struct {
	Line     int
	Operator string // as written: ForAnyValue:StringLikeIfExists
	// Base is the operator without quantifier and IfExists: StringLike.
	Base       string
	Quantifier Quantifier
	IfExists   bool
	Key        ConditionKey
	Written    string   // the key as the author wrote it
	Values     []string // as written

	op       *operator
	operands []operand
}

// Negated tells of an operator that holds when nothing matches.
func (c *Condition) Negated() bool { return c.op.negated }

// operator is one row of the table of operators.
type operator struct {
	family  family
	negated bool
	// order is for families that have one: what comparing the value of the
	// request with that of the policy must give.
	order func(int) bool
	// wildcards and fold are for strings.
	wildcards, fold bool
}

// operators are those of the policy language.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
var operators = map[string]*operator{
	"StringEquals":              {family: strs},
	"StringNotEquals":           {family: strs, negated: true},
	"StringEqualsIgnoreCase":    {family: strs, fold: true},
	"StringNotEqualsIgnoreCase": {family: strs, fold: true, negated: true},
	"StringLike":                {family: strs, wildcards: true},
	"StringNotLike":             {family: strs, wildcards: true, negated: true},

	"NumericEquals":            {family: nums, order: equal},
	"NumericNotEquals":         {family: nums, order: equal, negated: true},
	"NumericLessThan":          {family: nums, order: less},
	"NumericLessThanEquals":    {family: nums, order: lessOrEqual},
	"NumericGreaterThan":       {family: nums, order: greater},
	"NumericGreaterThanEquals": {family: nums, order: greaterOrEqual},

	"DateEquals":            {family: dates, order: equal},
	"DateNotEquals":         {family: dates, order: equal, negated: true},
	"DateLessThan":          {family: dates, order: less},
	"DateLessThanEquals":    {family: dates, order: lessOrEqual},
	"DateGreaterThan":       {family: dates, order: greater},
	"DateGreaterThanEquals": {family: dates, order: greaterOrEqual},

	"Bool":         {family: bools},
	"BinaryEquals": {family: binary},
	"IpAddress":    {family: ips},
	"NotIpAddress": {family: ips, negated: true},

	"ArnEquals":    {family: arns},
	"ArnLike":      {family: arns},
	"ArnNotEquals": {family: arns, negated: true},
	"ArnNotLike":   {family: arns, negated: true},

	"Null": {family: nulls},
}

func equal(c int) bool          { return c == 0 }
func less(c int) bool           { return c < 0 }
func lessOrEqual(c int) bool    { return c <= 0 }
func greater(c int) bool        { return c > 0 }
func greaterOrEqual(c int) bool { return c >= 0 }

// setOperator reads the name of an operator into c.
func (c *Condition) setOperator(name string) bool {
	c.Operator, c.Base = name, name
	if q, base, ok := strings.Cut(name, ":"); ok {
		c.Quantifier, c.Base = Quantifier(q), base
		if c.Quantifier != ForAllValues && c.Quantifier != ForAnyValue {
			return false
		}
	}
	c.Base, c.IfExists = strings.CutSuffix(c.Base, "IfExists")
	c.op = operators[c.Base]
	if c.op == nil {
		return false
	}
	return c.op.family != nulls || !c.IfExists && c.Quantifier == Single
}

// compile reads a value; variables tells whether the document has them.
func (c *Condition) compile(value string, variables bool) error {
	o, ok, err := c.op.parse(value, variables)
	if err == nil && !ok {
		err = fmt.Errorf("%q is not %s, which %s needs", value, c.op.family, c.Operator)
	}
	c.operands = append(c.operands, o)
	return err
}

// holds evaluates the condition for the value that the key has in the request.
func (c *Condition) holds(v *Value, ctx Context) bool {
	missing := v.kind == absent || v.kind == isTexts && len(v.texts) == 0
	if c.op.family == nulls {
		for i := range c.operands {
			if c.operands[i].null == missing {
				return true
			}
		}
		return false
	}
	if missing {
		switch {
		case c.IfExists || c.Quantifier == ForAllValues:
			return true
		case c.Quantifier == ForAnyValue:
			return false
		}
		return c.op.negated
	}
	if v.kind != isTexts {
		return c.matchOne(v, ctx)
	}
	all := c.Quantifier == ForAllValues || c.Quantifier == Single && c.op.negated
	for _, s := range v.texts {
		one := Text(s)
		if c.matchOne(&one, ctx) != all {
			return !all
		}
	}
	return all
}

// matchOne compares one value of the request with those of the policy: one must
// match; for negated operators none may.
func (c *Condition) matchOne(v *Value, ctx Context) bool {
	for i := range c.operands {
		if c.op.match(&c.operands[i], v, ctx) {
			return !c.op.negated
		}
	}
	return c.op.negated
}
