package organizations

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
)

// Quotas of organizational units.
// https://docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html
const (
	maxUnits = 2000
	maxDepth = 5 // units below one another
)

// CreateOrganization refuses: there is one organization, and all are in it.
func (s *Service) CreateOrganization(ctx context.Context, call *api.Call, _ *sdk.CreateOrganizationInput) (*sdk.CreateOrganizationOutput, error) {
	if _, err := s.authorize(ctx, call, request{}); err != nil {
		return nil, err
	}
	return nil, fail(awserr.AlreadyInOrganization)
}

// DescribeOrganization shows the organization, to its members too.
func (s *Service) DescribeOrganization(ctx context.Context, call *api.Call, _ *sdk.DescribeOrganizationInput) (*sdk.DescribeOrganizationOutput, error) {
	at, err := s.authorize(ctx, call, request{})
	if err == nil && !at.member {
		err = fail(awserr.AWSOrganizationsNotInUse)
	}
	if err != nil {
		return nil, err
	}
	out := &sdk.DescribeOrganizationOutput{}
	return out, s.view(ctx, func(t *tree) error {
		m, err := t.find(t.Management, awserr.AccountNotFound, accountKind)
		if err != nil {
			return err
		}
		out.Organization = &types.Organization{
			Id: aws.String(t.ID), Arn: aws.String("arn:" + api.Partition + ":organizations::" + t.Management + ":organization/" + t.ID),
			FeatureSet:      types.OrganizationFeatureSetAll,
			MasterAccountId: aws.String(m.id), MasterAccountArn: aws.String(t.arn(m.id)), MasterAccountEmail: aws.String(m.Email),
			AvailablePolicyTypes: []types.PolicyTypeSummary{{Type: controlPolicy, Status: types.PolicyTypeStatusEnabled}},
		}
		return nil
	})
}

func (t *tree) root(e *element) *types.Root {
	root := &types.Root{Id: aws.String(e.id), Arn: aws.String(t.arn(e.id)), Name: aws.String(e.Name), PolicyTypes: []types.PolicyTypeSummary{}}
	if t.Control {
		root.PolicyTypes = append(root.PolicyTypes, types.PolicyTypeSummary{Type: controlPolicy, Status: types.PolicyTypeStatusEnabled})
	}
	return root
}

// ListRoots lists the one root.
func (s *Service) ListRoots(ctx context.Context, call *api.Call, in *sdk.ListRootsInput) (*sdk.ListRootsOutput, error) {
	pg, err := newPage[types.Root](in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, call, request{}, func(t *tree) error {
		e, err := t.find(t.Root, awserr.RootNotFound, rootKind)
		if err != nil || pg.after != "" {
			return err
		}
		return pg.add(e.id, *t.root(e))
	})
	return &sdk.ListRootsOutput{Roots: pg.items, NextToken: pg.next()}, err
}

// unit is an organizational unit as answers show it.
func (t *tree) unit(e *element) (*types.OrganizationalUnit, error) {
	path, err := t.pathOf(e)
	return &types.OrganizationalUnit{Id: aws.String(e.id), Arn: aws.String(t.arn(e.id)), Name: aws.String(e.Name), Path: aws.String(path)}, err
}

// checkUnitName refuses the name of another unit of the parent.
func (t *tree) checkUnitName(parent, name string) error {
	taken, err := t.any(unitStore, nameIndex, parent+"/"+name)
	if err == nil && taken {
		err = fail(awserr.DuplicateOrganizationalUnit)
	}
	return err
}

// CreateOrganizationalUnit makes a unit below the root or another unit.
func (s *Service) CreateOrganizationalUnit(ctx context.Context, call *api.Call, in *sdk.CreateOrganizationalUnitInput) (*sdk.CreateOrganizationalUnitOutput, error) {
	tags, err := newTags(in.Tags)
	if err == nil {
		err = checkName(in.Name)
	}
	if err != nil {
		return nil, err
	}
	out := &sdk.CreateOrganizationalUnitOutput{}
	return out, s.change(ctx, call, request{ids: []string{*in.ParentId}, tags: tags}, func(t *tree) error {
		parent, err := t.parent(*in.ParentId, awserr.ParentNotFound)
		if err != nil {
			return err
		}
		if err := t.checkUnitName(parent.id, *in.Name); err != nil {
			return err
		}
		line, err := t.line(parent)
		if err != nil {
			return err
		}
		if len(line) > maxDepth {
			return violation("OU_DEPTH_LIMIT_EXCEEDED", "You have exceeded the maximum depth of organizational units, which is five.")
		}
		if n, err := t.r.Count(unitStore, "", ""); err != nil {
			return err
		} else if n > maxUnits { // the root is one of them
			return violation("OU_NUMBER_LIMIT_EXCEEDED", "You have exceeded the number of organizational units that you can have in an organization.")
		}
		e, err := t.add(newID(unitKind.prefix+t.Root[len(rootKind.prefix):]+"-", 8), elementRecord{Name: *in.Name, Parent: parent.id, Tags: tags})
		if err != nil {
			return err
		}
		out.OrganizationalUnit, err = t.unit(e)
		call.Trail.Response = out
		return err
	})
}

// DescribeOrganizationalUnit shows a unit.
func (s *Service) DescribeOrganizationalUnit(ctx context.Context, call *api.Call, in *sdk.DescribeOrganizationalUnitInput) (*sdk.DescribeOrganizationalUnitOutput, error) {
	out := &sdk.DescribeOrganizationalUnitOutput{}
	return out, s.read(ctx, call, on(*in.OrganizationalUnitId), func(t *tree) error {
		e, err := t.find(*in.OrganizationalUnitId, awserr.OrganizationalUnitNotFound, unitKind)
		if err == nil {
			out.OrganizationalUnit, err = t.unit(e)
		}
		return err
	})
}

// UpdateOrganizationalUnit gives a unit another name.
func (s *Service) UpdateOrganizationalUnit(ctx context.Context, call *api.Call, in *sdk.UpdateOrganizationalUnitInput) (*sdk.UpdateOrganizationalUnitOutput, error) {
	if err := checkName(in.Name); err != nil {
		return nil, err
	}
	out := &sdk.UpdateOrganizationalUnitOutput{}
	return out, s.change(ctx, call, on(*in.OrganizationalUnitId), func(t *tree) error {
		e, err := t.find(*in.OrganizationalUnitId, awserr.OrganizationalUnitNotFound, unitKind)
		if err != nil {
			return err
		}
		if in.Name != nil && *in.Name != e.Name {
			if err := t.checkUnitName(e.Parent, *in.Name); err != nil {
				return err
			}
			e.Name = *in.Name
		}
		if out.OrganizationalUnit, err = t.unit(e); err != nil {
			return err
		}
		call.Trail.Response = out
		return t.writeElement(e)
	})
}

// DeleteOrganizationalUnit removes a unit that is empty.
func (s *Service) DeleteOrganizationalUnit(ctx context.Context, call *api.Call, in *sdk.DeleteOrganizationalUnitInput) (*sdk.DeleteOrganizationalUnitOutput, error) {
	return &sdk.DeleteOrganizationalUnitOutput{}, s.change(ctx, call, on(*in.OrganizationalUnitId), func(t *tree) error {
		e, err := t.find(*in.OrganizationalUnitId, awserr.OrganizationalUnitNotFound, unitKind)
		if err != nil {
			return err
		}
		for _, kind := range []string{unitStore, accountStore} {
			if full, err := t.any(kind, parentIndex, e.id); err != nil {
				return err
			} else if full {
				return fail(awserr.OrganizationalUnitNotEmpty)
			}
		}
		return t.tx.Delete(elementPlace(e.id), e.revision)
	})
}

// parent is the root or an organizational unit.
func (t *tree) parent(id, code string) (*element, error) {
	return t.find(id, code, rootKind, unitKind)
}

// listBelow lists the units or accounts right below a parent.
func listBelow[T any](ctx context.Context, s *Service, call *api.Call, parent, kind string, limit *int32, token *string, show func(*tree, *element) (T, error)) (*page[T], error) {
	pg, err := newPage[T](limit, token)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, call, on(parent), func(t *tree) error {
		if _, err := t.parent(parent, awserr.ParentNotFound); err != nil {
			return err
		}
		return t.each(kind, parentIndex, parent, pg.after, func(e *element) error {
			item, err := show(t, e)
			if err != nil {
				return err
			}
			return pg.add(e.id, item)
		})
	})
	return pg, ended(err)
}

// ListOrganizationalUnitsForParent lists the units right below a parent.
func (s *Service) ListOrganizationalUnitsForParent(ctx context.Context, call *api.Call, in *sdk.ListOrganizationalUnitsForParentInput) (*sdk.ListOrganizationalUnitsForParentOutput, error) {
	pg, err := listBelow(ctx, s, call, *in.ParentId, unitStore, in.MaxResults, in.NextToken, func(t *tree, e *element) (types.OrganizationalUnit, error) {
		u, err := t.unit(e)
		return *u, err
	})
	if err != nil {
		return nil, err
	}
	return &sdk.ListOrganizationalUnitsForParentOutput{OrganizationalUnits: pg.items, NextToken: pg.next()}, nil
}

// ListAccountsForParent lists the accounts right below a parent.
func (s *Service) ListAccountsForParent(ctx context.Context, call *api.Call, in *sdk.ListAccountsForParentInput) (*sdk.ListAccountsForParentOutput, error) {
	pg, err := listBelow(ctx, s, call, *in.ParentId, accountStore, in.MaxResults, in.NextToken, func(t *tree, e *element) (types.Account, error) {
		a, err := t.account(e)
		return *a, err
	})
	if err != nil {
		return nil, err
	}
	return &sdk.ListAccountsForParentOutput{Accounts: pg.items, NextToken: pg.next()}, nil
}

// ListChildren lists the ids of the units or accounts right below a parent.
func (s *Service) ListChildren(ctx context.Context, call *api.Call, in *sdk.ListChildrenInput) (*sdk.ListChildrenOutput, error) {
	kind := accountStore
	if in.ChildType == types.ChildTypeOrganizationalUnit {
		kind = unitStore
	}
	pg, err := listBelow(ctx, s, call, *in.ParentId, kind, in.MaxResults, in.NextToken, func(_ *tree, e *element) (types.Child, error) {
		return types.Child{Id: aws.String(e.id), Type: types.ChildType(e.kind.word)}, nil
	})
	if err != nil {
		return nil, err
	}
	return &sdk.ListChildrenOutput{Children: pg.items, NextToken: pg.next()}, nil
}

// ListParents lists the one parent of a unit or account.
func (s *Service) ListParents(ctx context.Context, call *api.Call, in *sdk.ListParentsInput) (*sdk.ListParentsOutput, error) {
	pg, err := newPage[types.Parent](in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, call, on(*in.ChildId), func(t *tree) error {
		e, err := t.find(*in.ChildId, awserr.ChildNotFound, unitKind, accountKind)
		if err != nil || pg.after != "" {
			return err
		}
		return pg.add(e.Parent, types.Parent{Id: aws.String(e.Parent), Type: types.ParentType(kindOf(e.Parent).word)})
	})
	return &sdk.ListParentsOutput{Parents: pg.items, NextToken: pg.next()}, err
}
