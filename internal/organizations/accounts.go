package organizations

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/store"
)

// maxAccounts is the highest that AWS raises its quota to.
// https://docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html
const maxAccounts = 10_000

// accessRole is the role that leads from the management account into a new one.
// https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_accounts_access.html
const accessRole = "OrganizationAccountAccessRole"

func accessTrust(management string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + iam.RootARN(management) + `"},"Action":"sts:AssumeRole"}]}`
}

// requestRecord is a request to create an account, as the store keeps it. It is
// done, one way or the other, when CreateAccount answers.
type requestRecord struct {
	Name    string    `json:"name"`
	Time    time.Time `json:"time"`
	Account string    `json:"account,omitempty"`
	Failure string    `json:"failure,omitempty"` // types.CreateAccountFailureReason
}

func (r *requestRecord) state() types.CreateAccountState {
	if r.Failure != "" {
		return types.CreateAccountStateFailed
	}
	return types.CreateAccountStateSucceeded
}

func (r *requestRecord) status(id string) *types.CreateAccountStatus {
	st := &types.CreateAccountStatus{
		Id: aws.String(id), AccountName: aws.String(r.Name), State: r.state(), FailureReason: types.CreateAccountFailureReason(r.Failure),
		RequestedTimestamp: aws.Time(r.Time), CompletedTimestamp: aws.Time(r.Time),
	}
	if r.Account != "" {
		st.AccountId = aws.String(r.Account)
	}
	return st
}

// account is an account as answers show it.
func (t *tree) account(e *element) (*types.Account, error) {
	path, err := t.pathOf(e)
	a := &types.Account{
		Id: aws.String(e.id), Arn: aws.String(t.arn(e.id)), Email: aws.String(e.Email), Name: aws.String(e.Name),
		Status: types.AccountStatusActive, State: types.AccountStateActive,
		JoinedMethod: types.AccountJoinedMethodCreated, JoinedTimestamp: aws.Time(e.Joined), Paths: []string{path},
	}
	if !e.Closed.IsZero() {
		a.Status, a.State = types.AccountStatusSuspended, types.AccountStateSuspended
	}
	if e.id == t.Management {
		a.JoinedMethod = types.AccountJoinedMethodInvited
	}
	return a, err
}

// CreateAccount makes an account with the role through which the management
// account gets into it. On AWS this takes a while; here it is done at once.
func (s *Service) CreateAccount(ctx context.Context, call *api.Call, in *sdk.CreateAccountInput) (*sdk.CreateAccountOutput, error) {
	tags, err := newTags(in.Tags)
	if err != nil {
		return nil, err
	}
	role := accessRole
	if in.RoleName != nil {
		role = *in.RoleName
	}
	if strings.HasPrefix(role, "AWSServiceRoleFor") {
		return nil, invalid("INVALID_ROLE_NAME", "You provided a role name that isn't valid. A role name can't begin with the reserved prefix AWSServiceRoleFor.")
	}
	out := &sdk.CreateAccountOutput{}
	return out, s.change(ctx, call, request{tags: tags}, func(t *tree) error {
		if n, err := t.r.Count(accountStore, "", ""); err != nil {
			return err
		} else if n >= maxAccounts {
			return violation("ACCOUNT_NUMBER_LIMIT_EXCEEDED", "You have exceeded the allowed number of AWS accounts.")
		}
		req := &requestRecord{Name: *in.AccountName, Time: t.now}
		taken, err := t.any(accountStore, emailIndex, strings.ToLower(*in.Email))
		if err != nil {
			return err
		}
		if taken {
			req.Failure = string(types.CreateAccountFailureReasonEmailAlreadyExists)
		} else {
			rec := elementRecord{Name: *in.AccountName, Email: *in.Email, Parent: t.Root, Joined: t.now, Tags: tags}
			if req.Account, err = t.addAccount(rec, role); err != nil {
				return err
			}
		}
		id := newID("car-", 26)
		out.CreateAccountStatus = req.status(id)
		call.Trail.Response = out
		_, err = t.put(store.Place{Kind: requestStore, ID: id}, req, 0)
		return err
	})
}

// addAccount makes an account under an id that nothing has.
func (t *tree) addAccount(rec elementRecord, role string) (id string, err error) {
	for {
		id = iam.NewAccountID()
		if err = iam.AddAccount(t.tx, id, t.now); !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	err = iam.AddRole(t.tx, iam.NewRole{Account: id, Name: role, Trust: accessTrust(t.Management), Attached: []string{iam.AdministratorAccess}}, t.now)
	if err != nil {
		return "", err
	}
	_, err = t.add(id, rec)
	return id, err
}

// DescribeCreateAccountStatus shows how a CreateAccount ended.
func (s *Service) DescribeCreateAccountStatus(ctx context.Context, call *api.Call, in *sdk.DescribeCreateAccountStatusInput) (*sdk.DescribeCreateAccountStatusOutput, error) {
	out := &sdk.DescribeCreateAccountStatusOutput{}
	return out, s.read(ctx, call, request{}, func(t *tree) error {
		rec, err := t.r.Get(store.Place{Kind: requestStore, ID: *in.CreateAccountRequestId})
		if err != nil {
			return orFail(err, awserr.CreateAccountStatusNotFound)
		}
		var r requestRecord
		if err := decode(rec, &r); err != nil {
			return err
		}
		out.CreateAccountStatus = r.status(rec.ID)
		return nil
	})
}

// ListCreateAccountStatus lists how all CreateAccount ended.
func (s *Service) ListCreateAccountStatus(ctx context.Context, call *api.Call, in *sdk.ListCreateAccountStatusInput) (*sdk.ListCreateAccountStatusOutput, error) {
	pg, err := newPage[types.CreateAccountStatus](in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, call, request{}, func(t *tree) error {
		return t.r.Scan(requestStore, "", "", pg.after, 0, func(rec store.Record) error {
			var r requestRecord
			if err := decode(rec, &r); err != nil {
				return err
			}
			if len(in.States) > 0 && !slices.Contains(in.States, r.state()) {
				return nil
			}
			return pg.add(rec.ID, *r.status(rec.ID))
		})
	})
	return &sdk.ListCreateAccountStatusOutput{CreateAccountStatuses: pg.items, NextToken: pg.next()}, ended(err)
}

// DescribeAccount shows an account.
func (s *Service) DescribeAccount(ctx context.Context, call *api.Call, in *sdk.DescribeAccountInput) (*sdk.DescribeAccountOutput, error) {
	out := &sdk.DescribeAccountOutput{}
	return out, s.read(ctx, call, on(*in.AccountId), func(t *tree) error {
		e, err := t.find(*in.AccountId, awserr.AccountNotFound, accountKind)
		if err == nil {
			out.Account, err = t.account(e)
		}
		return err
	})
}

// ListAccounts lists all accounts, by id.
func (s *Service) ListAccounts(ctx context.Context, call *api.Call, in *sdk.ListAccountsInput) (*sdk.ListAccountsOutput, error) {
	pg, err := newPage[types.Account](in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, call, request{}, func(t *tree) error {
		return t.r.Scan(accountStore, "", "", pg.after, 0, func(rec store.Record) error {
			e, err := decodeElement(rec)
			if err != nil {
				return err
			}
			a, err := t.account(e)
			if err != nil {
				return err
			}
			return pg.add(e.id, *a)
		})
	})
	return &sdk.ListAccountsOutput{Accounts: pg.items, NextToken: pg.next()}, ended(err)
}

// CloseAccount suspends an account: its credentials are unknown and its resources
// of no use from the very next call on.
func (s *Service) CloseAccount(ctx context.Context, call *api.Call, in *sdk.CloseAccountInput) (*sdk.CloseAccountOutput, error) {
	return &sdk.CloseAccountOutput{}, s.change(ctx, call, on(*in.AccountId), func(t *tree) error {
		e, err := t.find(*in.AccountId, awserr.AccountNotFound, accountKind)
		switch {
		case err != nil:
			return err
		case e.id == t.Management:
			return violation("CANNOT_CLOSE_MANAGEMENT_ACCOUNT", "You can't close the management account of the organization.")
		case !e.Closed.IsZero():
			return fail(awserr.AccountAlreadyClosed)
		}
		e.Closed = t.now
		return t.writeElement(e)
	})
}

// MoveAccount puts an account below another parent, whose policies bear on it from
// the very next call on.
func (s *Service) MoveAccount(ctx context.Context, call *api.Call, in *sdk.MoveAccountInput) (*sdk.MoveAccountOutput, error) {
	return &sdk.MoveAccountOutput{}, s.change(ctx, call, on(*in.AccountId, *in.SourceParentId, *in.DestinationParentId), func(t *tree) error {
		e, err := t.find(*in.AccountId, awserr.AccountNotFound, accountKind)
		if err != nil {
			return err
		}
		from, err := t.parent(*in.SourceParentId, awserr.SourceParentNotFound)
		if err != nil {
			return err
		}
		to, err := t.parent(*in.DestinationParentId, awserr.DestinationParentNotFound)
		switch {
		case err != nil:
			return err
		case e.Parent == to.id:
			return fail(awserr.DuplicateAccount)
		case e.Parent != from.id:
			return fail(awserr.SourceParentNotFound)
		}
		e.Parent = to.id
		return t.writeElement(e)
	})
}
