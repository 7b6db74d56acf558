// Package wire is the AWS JSON 1.1 protocol of KMS: the table of operations,
// request bodies to the SDK's input types, the SDK's output types to answer
// bodies, and error values to error bodies.
//
// It promises that what Decode accepts keeps every constraint of AWS's service
// model, that what it refuses is answered as AWS would, and that no body makes
// it panic or use memory out of proportion to the body's size. Limiting that
// size is the caller's part, and so are the documented rules that are not in the
// model. It must not know about HTTP, keys or callers.
//
// https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
package wire

import (
	"reflect"

	"github.com/kagimori/kagimori/internal/awserr"
)

// Operation is one row of the operation table.
type Operation struct {
	// Name is the operation as AWS writes it: Encrypt.
	Name string
	// Action is the IAM action: kms:Encrypt. ReEncrypt, which needs one action
	// on each of its two keys, has kms:ReEncryptFrom here; its handler asks for
	// kms:ReEncryptTo as well.
	Action string
	// ReadOnly is CloudTrail's readOnly.
	ReadOnly bool

	input *shape
}

// KMS is the operation table of the KMS API: all operations, in name order.
var KMS = newTable()

var byTarget = func() map[string]*Operation {
	m := make(map[string]*Operation, len(KMS))
	for _, op := range KMS {
		m["TrentService."+op.Name] = op
	}
	return m
}()

func newTable() []*Operation {
	table := make([]*Operation, len(operations))
	for i, row := range operations {
		facts, ok := model.Operations[row.name]
		if !ok {
			panic("wire: the model lacks " + row.name)
		}
		op := &Operation{
			Name:     row.name,
			Action:   "kms:" + row.name,
			ReadOnly: row.readOnly,
			input:    newShape(reflect.TypeOf(row.in), facts.Input, false),
		}
		if op.Name == "ReEncrypt" {
			op.Action = "kms:ReEncryptFrom"
		}
		shapeOf(reflect.TypeOf(row.out)).noBody = facts.NoBody
		table[i] = op
	}
	return table
}

// Lookup finds the operation that an X-Amz-Target header names, such as
// "TrentService.Encrypt". Any other target, and an empty one, is an
// UnknownOperationException.
func Lookup(target string) (*Operation, error) {
	if op := byTarget[target]; op != nil {
		return op, nil
	}
	if target == "" {
		return nil, awserr.New(awserr.UnknownOperation,
			"The X-Amz-Target header is missing. It names the operation: TrentService.Encrypt, for example.")
	}
	return nil, awserr.New(awserr.UnknownOperation, "Unknown operation: %s.", truncate(target))
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
