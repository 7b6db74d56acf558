// Package organizations owns the organization: its accounts, their places in it,
// and the service control policies that bear on them.
//
// In this version there is none, and accounts belong to nothing.
package organizations

import (
	"context"

	"github.com/kagimori/kagimori/internal/authz"
)

// Directory answers what an account has from the organization. It is safe for
// concurrent use.
type Directory struct{}

// Membership is the authz.Directory's.
func (Directory) Membership(context.Context, string) (*authz.Membership, error) {
	return &noMembership, nil
}

var noMembership authz.Membership
