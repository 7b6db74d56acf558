package server

import (
	"context"

	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/organizations"
	"github.com/kagimori/kagimori/internal/sigv4"
	"github.com/kagimori/kagimori/internal/sts"
)

// directory is the authz.Directory of a deployment.
type directory struct {
	*iam.Directory
	organization *organizations.Directory
}

// Membership implements authz.Directory.
func (d directory) Membership(ctx context.Context, account string) (*authz.Membership, error) {
	return d.organization.Membership(ctx, account)
}

// lookup is the sigv4.Lookup of a deployment: long-term credentials are IAM's,
// temporary ones the STS's. Those of closed accounts are unknown.
func (d directory) lookup(tokens *sts.Service) sigv4.Lookup {
	return func(accessKeyID, sessionToken string) (c sigv4.Credential, err error) {
		if sessionToken == "" {
			c, err = d.Lookup(accessKeyID)
		} else {
			c, err = tokens.Lookup(accessKeyID, sessionToken)
		}
		if err != nil {
			return sigv4.Credential{}, err
		}
		member, err := d.Membership(context.Background(), c.Principal.Account)
		if err != nil {
			return sigv4.Credential{}, err
		}
		if member.Suspended {
			return sigv4.Credential{}, sigv4.ErrUnknownKey
		}
		return c, nil
	}
}
