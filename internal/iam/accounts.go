package iam

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/store"
)

// servicePath is that of service-linked roles and of the policies for them alone.
const servicePath = "/aws-service-role/"

// accountHandlers answer for what belongs to an account as a whole.
func (s *Service) accountHandlers() map[string]api.Handler {
	return map[string]api.Handler{
		"CreateAccountAlias": api.Handle(s.CreateAccountAlias),
		"DeleteAccountAlias": api.Handle(s.DeleteAccountAlias),
		"ListAccountAliases": api.Handle(s.ListAccountAliases),

		"GetAccountSummary":              api.Handle(s.GetAccountSummary),
		"GetAccountAuthorizationDetails": api.Handle(s.GetAccountAuthorizationDetails),

		"CreateLoginProfile": api.Handle(s.CreateLoginProfile),
		"GetLoginProfile":    api.Handle(s.GetLoginProfile),
		"UpdateLoginProfile": api.Handle(s.UpdateLoginProfile),
		"DeleteLoginProfile": api.Handle(s.DeleteLoginProfile),
		"ChangePassword":     api.Handle(s.ChangePassword),

		"CreateServiceLinkedRole":            api.Handle(s.CreateServiceLinkedRole),
		"DeleteServiceLinkedRole":            api.Handle(s.DeleteServiceLinkedRole),
		"GetServiceLinkedRoleDeletionStatus": api.Handle(s.GetServiceLinkedRoleDeletionStatus),

		"SimulateCustomPolicy":             api.Handle(s.SimulateCustomPolicy),
		"SimulatePrincipalPolicy":          api.Handle(s.SimulatePrincipalPolicy),
		"GetContextKeysForCustomPolicy":    api.Handle(s.GetContextKeysForCustomPolicy),
		"GetContextKeysForPrincipalPolicy": api.Handle(s.GetContextKeysForPrincipalPolicy),

		"CreateVirtualMFADevice": api.Handle(s.CreateVirtualMFADevice),
		"EnableMFADevice":        api.Handle(s.EnableMFADevice),
		"ResyncMFADevice":        api.Handle(s.ResyncMFADevice),
		"DeactivateMFADevice":    api.Handle(s.DeactivateMFADevice),
		"DeleteVirtualMFADevice": api.Handle(s.DeleteVirtualMFADevice),
		"GetMFADevice":           api.Handle(s.GetMFADevice),
		"ListMFADevices":         api.Handle(s.ListMFADevices),
		"ListVirtualMFADevices":  api.Handle(s.ListVirtualMFADevices),
		"TagMFADevice":           api.Handle(s.TagMFADevice),
		"UntagMFADevice":         api.Handle(s.UntagMFADevice),
		"ListMFADeviceTags":      api.Handle(s.ListMFADeviceTags),

		"CreateOpenIDConnectProvider":             api.Handle(s.CreateOpenIDConnectProvider),
		"GetOpenIDConnectProvider":                api.Handle(s.GetOpenIDConnectProvider),
		"DeleteOpenIDConnectProvider":             api.Handle(s.DeleteOpenIDConnectProvider),
		"ListOpenIDConnectProviders":              api.Handle(s.ListOpenIDConnectProviders),
		"AddClientIDToOpenIDConnectProvider":      api.Handle(s.AddClientIDToOpenIDConnectProvider),
		"RemoveClientIDFromOpenIDConnectProvider": api.Handle(s.RemoveClientIDFromOpenIDConnectProvider),
		"UpdateOpenIDConnectProviderThumbprint":   api.Handle(s.UpdateOpenIDConnectProviderThumbprint),
		"TagOpenIDConnectProvider":                api.Handle(s.TagOpenIDConnectProvider),
		"UntagOpenIDConnectProvider":              api.Handle(s.UntagOpenIDConnectProvider),
		"ListOpenIDConnectProviderTags":           api.Handle(s.ListOpenIDConnectProviderTags),
	}
}

// aliasPlace is where the account of an alias is stored. Aliases are unique across
// accounts.
func aliasPlace(alias string) store.Place { return store.Place{Kind: aliasKind, ID: alias} }

// CreateAccountAlias gives the account a name, in place of the one it has.
func (s *Service) CreateAccountAlias(ctx context.Context, call *api.Call, in *iam.CreateAccountAliasInput) (*iam.CreateAccountAliasOutput, error) {
	if err := s.allow(ctx, call, "*", &values{}); err != nil {
		return nil, err
	}
	return &iam.CreateAccountAliasOutput{}, s.Trail.Change(ctx, call, func(tx store.Tx) error {
		_, err := tx.Get(aliasPlace(*in.AccountAlias))
		if err == nil {
			return awserr.New(awserr.EntityAlreadyExists, "The account alias %s already exists.", *in.AccountAlias)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		a, err := readAccount(tx, call.Caller.Account)
		if err != nil {
			return err
		}
		if err := a.dropAlias(tx); err != nil {
			return err
		}
		a.Alias = *in.AccountAlias
		if _, err := tx.Put(aliasPlace(a.Alias), []byte(a.id), 0); err != nil {
			return err
		}
		return a.write(tx)
	})
}

// dropAlias takes its alias from the account, if it has one.
func (a *accountRecord) dropAlias(tx store.Tx) error {
	if a.Alias == "" {
		return nil
	}
	rec, err := tx.Get(aliasPlace(a.Alias))
	if err != nil {
		return err
	}
	a.Alias = ""
	return tx.Delete(rec.Place, rec.Revision)
}

// DeleteAccountAlias takes the name from the account.
func (s *Service) DeleteAccountAlias(ctx context.Context, call *api.Call, in *iam.DeleteAccountAliasInput) (*iam.DeleteAccountAliasOutput, error) {
	if err := s.allow(ctx, call, "*", &values{}); err != nil {
		return nil, err
	}
	return &iam.DeleteAccountAliasOutput{}, s.Trail.Change(ctx, call, func(tx store.Tx) error {
		a, err := readAccount(tx, call.Caller.Account)
		if err != nil {
			return err
		}
		if a.Alias != *in.AccountAlias {
			return notFound(store.ErrNotFound, "The account alias %s cannot be found.", *in.AccountAlias)
		}
		if err := a.dropAlias(tx); err != nil {
			return err
		}
		return a.write(tx)
	})
}

// ListAccountAliases lists the name of the account, if it has one.
func (s *Service) ListAccountAliases(ctx context.Context, call *api.Call, in *iam.ListAccountAliasesInput) (*iam.ListAccountAliasesOutput, error) {
	if err := s.allow(ctx, call, "*", &values{}); err != nil {
		return nil, err
	}
	out := &iam.ListAccountAliasesOutput{AccountAliases: []string{}}
	return out, s.Store.View(ctx, func(r store.Reader) error {
		a, err := readAccount(r, call.Caller.Account)
		if err == nil && a.Alias != "" {
			out.AccountAliases = append(out.AccountAliases, a.Alias)
		}
		return err
	})
}
