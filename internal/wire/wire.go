// Package wire is the AWS protocols that Kagimori speaks: JSON 1.1 (KMS,
// Organizations) and Query with XML answers (IAM, STS). It is the tables of
// operations, request bodies to the SDK's input types, the SDK's output types to
// answer bodies, and error values to error bodies.
//
// It promises that what is decoded keeps every constraint of AWS's service models,
// that what it refuses is answered as AWS would, and that no body makes it panic
// or use memory out of proportion to the body's size. Limiting that size is the
// caller's part, and so are the documented rules that are not in the models. It
// must not know about HTTP, keys or callers.
//
// https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
// https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
package wire

import (
	"reflect"
	"strings"

	"github.com/kagimori/kagimori/internal/awserr"
)

// Operation is one row of an operation table.
type Operation struct {
	Service *Service
	// Name is the operation as AWS writes it: Encrypt.
	Name string
	// Action is the IAM action: kms:Encrypt. ReEncrypt, which needs one action
	// on each of its two keys, has kms:ReEncryptFrom here; its handler asks for
	// kms:ReEncryptTo as well.
	Action string
	// ReadOnly is CloudTrail's readOnly.
	ReadOnly bool
	// Unsigned tells that requests need no signature: the operation itself finds
	// out who calls.
	Unsigned bool

	input *shape // nil if this version does not know the operation's types
}

// row is an operation as the tables have it. in and out are nil pointers of the
// SDK's types.
type row struct {
	name     string
	in, out  any
	readOnly bool
}

// reads and writes say what CloudTrail's readOnly is for an operation.
const (
	reads  = true
	writes = false
)

// newOperations makes the operations of a table.
func newOperations(s *Service, rows []row) []*Operation {
	table := make([]*Operation, len(rows))
	for i, r := range rows {
		facts, ok := s.model().Operations[r.name]
		if !ok {
			panic("wire: the model lacks " + r.name)
		}
		in := reflect.TypeOf(r.in)
		op := &Operation{
			Service:  s,
			Name:     r.name,
			Action:   s.Name + ":" + r.name,
			ReadOnly: r.readOnly,
			Unsigned: s == STS && r.name == "AssumeRoleWithWebIdentity",
			input:    newShape(in, s.model(), facts.Input, false),
		}
		if s == KMS && r.name == "ReEncrypt" {
			op.Action = "kms:ReEncryptFrom"
		}
		shapeOf(reflect.TypeOf(r.out)).noBody = facts.NoBody
		table[i] = op
	}
	return table
}

// unsupported is an operation of the model that is not in the table.
func unsupported(s *Service, name string) *Operation {
	op := &Operation{Service: s, Name: name, Action: s.Name + ":" + name}
	for _, verb := range []string{"Describe", "Get", "List", "Simulate"} {
		op.ReadOnly = op.ReadOnly || strings.HasPrefix(name, verb)
	}
	return op
}

// Unsupported is the error for an operation that this version does not have.
func (o *Operation) Unsupported() *awserr.Error {
	return awserr.New(awserr.UnsupportedOperation, "The operation %s is not supported by this version of Kagimori.", o.Name)
}

// NewInput makes an empty input of the operation, a *kms.EncryptInput for Encrypt.
func (o *Operation) NewInput() any {
	return reflect.New(o.input.typ).Interface()
}

// maxEcho is how many characters of a caller's text an error message repeats.
const maxEcho = 256

// truncate shortens s to what an error message may repeat.
func truncate(s string) string {
	n := 0
	for i := range s {
		if n == maxEcho {
			return s[:i] + "..."
		}
		n++
	}
	return s
}
