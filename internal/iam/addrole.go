package iam

import (
	"fmt"
	"time"

	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// AdministratorAccess is the ARN of the managed policy of AWS that allows
// everything.
const AdministratorAccess = "arn:aws:iam::aws:policy/AdministratorAccess"

// NewRole is a role that another package makes. Its path is /.
type NewRole struct {
	Account, Name string
	Trust         string   // the trust policy
	Attached      []string // ARNs of managed policies
}

// AddRole makes a role as part of a transaction of another package. The account
// has no role of that name yet.
func AddRole(tx store.Tx, role NewRole, now time.Time) error {
	trust, err := policy.Parse(policy.Trust, "trust policy of "+role.Name, role.Trust)
	if err != nil {
		return fmt.Errorf("the trust policy of role %s: %w", role.Name, err)
	}
	ids, err := resolve(tx, trust.Principals())
	if err != nil {
		return err
	}
	e := &entity{kind: roleKind, account: role.Account, id: newID(rolePrefix), entityRecord: entityRecord{
		Name: role.Name, Path: "/", Created: now, Attached: role.Attached,
		Trust: role.Trust, TrustIDs: ids, MaxSession: 3600,
	}}
	return e.write(tx)
}
