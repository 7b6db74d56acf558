package iam

import (
	"crypto/sha256"
	"embed"
	"encoding/base32"
	"strings"
	"time"

	"github.com/kagimori/kagimori/internal/policy"
)

//go:embed policies
var awsDocuments embed.FS

// awsPolicies are the managed policies of AWS that are here, by name. Their
// documents are in policies/NAME.json. Those of policies that are about all of
// AWS are cut down to the services that are here.
// Those below servicePath are for service-linked roles only. A unique id that is
// not known publicly is derived from the ARN.
// https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html
var awsPolicies = []struct {
	path, name, id, created, description string
}{
	{"/", "AdministratorAccess", "ANPAIWMBCKSKIEE64ZLYK", "2015-02-06", "Provides full access to AWS services and resources."},
	{"/", "AWSKeyManagementServicePowerUser", "ANPAJNPP7PPPPMJRV2SA4", "2015-02-06", "Provides access to AWS Key Management Service (KMS)."},
	{"/", "AWSOrganizationsFullAccess", "", "2018-11-06", "Provides full access to AWS Organizations."},
	{"/", "AWSOrganizationsReadOnlyAccess", "", "2018-11-06", "Provides read-only access to AWS Organizations."},
	{"/", "IAMFullAccess", "ANPAI7XKCFMBPM3QQRRVQ", "2015-02-06", "Provides full access to IAM via the AWS Management Console."},
	{"/", "IAMReadOnlyAccess", "ANPAJKSO7NDY4T57MWDSQ", "2015-02-06", "Provides read only access to IAM via the AWS Management Console."},
	{"/", "IAMUserChangePassword", "ANPAJ4L4MM2A7QIEB56MS", "2016-11-15", "Provides the ability for an IAM user to change their own password."},
	{"/", "PowerUserAccess", "ANPAJYRXTHIB4FOVS3ZXS", "2015-02-06", "Provides full access to AWS services and resources, but does not allow management of Users and groups."},
	{"/", "ReadOnlyAccess", "ANPAILL3HVNFSB6DCOWYQ", "2015-02-06", "Provides read-only access to AWS services and resources."},
	{"/", "SecurityAudit", "ANPAIX2T3QCXHR2OGGCTO", "2015-02-06", "The security audit template grants access to read security configuration metadata. It is useful for software that audits the configuration of an AWS account."},
	{"/job-function/", "SystemAdministrator", "ANPAITJPEZXCYCBXANDSW", "2016-11-10", "Grants full access permissions necessary for resources required for application and development operations."},
	{"/job-function/", "ViewOnlyAccess", "ANPAID22R6XPJATWOFDK6", "2016-11-10", "This policy grants permissions to view resources and basic metadata across all AWS services."},
	{servicePath, "AWSKeyManagementServiceMultiRegionKeysServiceRolePolicy", "", "2021-06-16", "Enables AWS KMS to synchronize the shared properties of multi-Region keys."},
	{servicePath, "AWSKeyManagementServiceCustomKeyStoresServiceRolePolicy", "", "2018-11-14", "Enables access to AWS services and resources required for AWS KMS custom key stores"},
	{servicePath, "AWSOrganizationsServiceTrustPolicy", "ANPAIQH6ROMVVECFVRJPK", "2017-10-10", "A policy to allow AWS Organizations to share trust with other approved AWS Services for the purpose of simplifying customer configuration."},
}

// awsManaged are the managed policies of AWS by ARN, awsCompiled their documents.
var (
	awsManaged  = map[string]*managed{}
	awsCompiled = map[string]*policy.Document{}
	awsOrdered  []*managed
)

func init() {
	for _, p := range awsPolicies {
		text, err := awsDocuments.ReadFile("policies/" + p.name + ".json")
		if err != nil {
			panic(err)
		}
		created, err := time.Parse(time.DateOnly, p.created)
		if err != nil {
			panic(err)
		}
		m := &managed{account: awsAccount, id: p.id, document: strings.TrimSpace(string(text)), managedRecord: managedRecord{
			Name: p.name, Path: p.path, Description: p.description, Created: created, Updated: created,
			Default: 1, Last: 1, Versions: []version{{1, created}},
		}}
		if m.id == "" {
			sum := sha256.Sum256([]byte(m.arn()))
			m.id = policyPrefix + base32.StdEncoding.EncodeToString(sum[:])[:17]
		}
		doc, err := policy.Parse(policy.Identity, m.arn(), m.document)
		if err != nil {
			panic(p.name + ": " + err.Error())
		}
		awsManaged[m.arn()], awsCompiled[m.arn()] = m, doc
		awsOrdered = append(awsOrdered, m)
	}
}
