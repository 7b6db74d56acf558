package server

import (
	"context"

	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/organizations"
)

// directory is the authz.Directory of a deployment.
type directory struct {
	*iam.Directory
	organization organizations.Directory
}

// Membership implements authz.Directory.
func (d directory) Membership(ctx context.Context, account string) (*authz.Membership, error) {
	return d.organization.Membership(ctx, account)
}
