package iam

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/store"
)

// serviceRoles are the services that have a role of their own in an account, with
// the name of the role and its policy.
// https://docs.aws.amazon.com/kms/latest/developerguide/using-service-linked-roles.html
var serviceRoles = map[string]struct{ name, policy string }{
	"mrk.kms.amazonaws.com":       {"AWSServiceRoleForKeyManagementServiceMultiRegionKeys", "AWSKeyManagementServiceMultiRegionKeysServiceRolePolicy"},
	"cks.kms.amazonaws.com":       {"AWSServiceRoleForKeyManagementServiceCustomKeyStores", "AWSKeyManagementServiceCustomKeyStoresServiceRolePolicy"},
	"organizations.amazonaws.com": {"AWSServiceRoleForOrganizations", "AWSOrganizationsServiceTrustPolicy"},
}

// CreateServiceLinkedRole makes the role of a service.
func (s *Service) CreateServiceLinkedRole(ctx context.Context, call *api.Call, in *sdk.CreateServiceLinkedRoleInput) (*sdk.CreateServiceLinkedRoleOutput, error) {
	service := *in.AWSServiceName
	of, ok := serviceRoles[service]
	switch {
	case !ok:
		return nil, awserr.New(awserr.InvalidInput, "The service %s has no service-linked role here.", service)
	case in.CustomSuffix != nil:
		return nil, awserr.New(awserr.InvalidInput, "Custom suffix is not allowed for %s", service)
	}
	rec := entityRecord{Name: of.name, Path: servicePath + service + "/", Description: aws.ToString(in.Description), MaxSession: defaultSession, Service: service}
	var out sdk.CreateServiceLinkedRoleOutput
	_, err := s.create(ctx, call, roleKind, rec, values{service: service}, func(e *entity, tx store.Tx) (err error) {
		if err := e.setTrust(tx, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"`+service+`"},"Action":"sts:AssumeRole"}]}`); err != nil {
			return err
		}
		e.Attached = []string{arnOf(awsAccount, "policy", servicePath, of.policy)}
		out.Role, err = e.sdkRole(tx)
		call.Trail.Response = &out
		return err
	})
	if awserr.Is(err, awserr.EntityAlreadyExists) {
		err = awserr.New(awserr.InvalidInput, "Service role name %s has been taken in this account, please try a different suffix.", of.name)
	}
	return &out, err
}

// deletionTask is the id of the deletion of a service-linked role.
func deletionTask(e *entity) string { return "task" + e.Path + e.Name + "/" + e.id }

// DeleteServiceLinkedRole deletes the role of a service, at once.
func (s *Service) DeleteServiceLinkedRole(ctx context.Context, call *api.Call, in *sdk.DeleteServiceLinkedRoleInput) (*sdk.DeleteServiceLinkedRoleOutput, error) {
	e, err := s.entity(ctx, call, roleKind, *in.RoleName, values{})
	if err != nil {
		return nil, err
	}
	if e.Service == "" {
		return nil, notFound(store.ErrNotFound, "The role with name %s is not a service-linked role.", e.Name)
	}
	out := &sdk.DeleteServiceLinkedRoleOutput{DeletionTaskId: aws.String(deletionTask(e))}
	call.Trail.Response = out
	return out, s.Trail.Change(ctx, call, func(tx store.Tx) error {
		fresh, err := roleKind.read(tx, e.account, e.id)
		if err != nil {
			return roleKind.notFound(err, e.Name)
		}
		return tx.Delete(fresh.place(), fresh.revision)
	})
}

// GetServiceLinkedRoleDeletionStatus tells that a deletion is done.
func (s *Service) GetServiceLinkedRoleDeletionStatus(ctx context.Context, call *api.Call, in *sdk.GetServiceLinkedRoleDeletionStatusInput) (*sdk.GetServiceLinkedRoleDeletionStatusOutput, error) {
	if err := s.allow(ctx, call, "*", &values{}); err != nil {
		return nil, err
	}
	task := *in.DeletionTaskId
	if !strings.HasPrefix(task, "task"+servicePath) || !strings.HasPrefix(task[strings.LastIndexByte(task, '/')+1:], rolePrefix) {
		return nil, notFound(store.ErrNotFound, "Deletion Task Id Not Found: %s", task)
	}
	return &sdk.GetServiceLinkedRoleDeletionStatusOutput{Status: types.DeletionTaskStatusTypeSucceeded}, nil
}
