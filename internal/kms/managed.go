package kms

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/keymaterial"
	"github.com/kagimori/kagimori/internal/secmem"
	"github.com/kagimori/kagimori/internal/store"
)

// managedPrefix begins the aliases of AWS managed keys, which services have in the
// accounts of their callers.
const managedPrefix = aliasPrefix + "aws/"

// managedKeys are the services that have such a key, by its alias without the
// prefix: how the service calls itself in kms:ViaService, and its name.
// https://docs.aws.amazon.com/kms/latest/developerguide/service-integration.html
var managedKeys = map[string]struct{ service, name string }{
	"acm": {"acm", "ACM"}, "backup": {"backup", "Backup"}, "codecommit": {"codecommit", "CodeCommit"}, "dynamodb": {"dynamodb", "DynamoDB"},
	"ebs": {"ec2", "EBS"}, "ecr": {"ecr", "ECR"}, "elasticfilesystem": {"elasticfilesystem", "EFS"}, "es": {"es", "Elasticsearch"},
	"fsx": {"fsx", "FSx"}, "glue": {"glue", "Glue"}, "kinesis": {"kinesis", "Kinesis"}, "kinesisvideo": {"kinesisvideo", "Kinesis Video Streams"},
	"lambda": {"lambda", "Lambda"}, "lightsail": {"lightsail", "Lightsail"}, "mq": {"mq", "MQ"}, "rds": {"rds", "RDS"}, "redshift": {"redshift", "Redshift"},
	"s3": {"s3", "S3"}, "secretsmanager": {"secretsmanager", "Secrets Manager"}, "sns": {"sns", "SNS"}, "sqs": {"sqs", "SQS"}, "ssm": {"ssm", "SSM"},
	"workspaces": {"workspaces", "WorkSpaces"}, "xray": {"xray", "X-Ray"},
}

// managedKeyPolicy is what AWS gives the key of EBS, with the names of the service.
// Nothing in it lets anybody change the key.
// https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html
const managedKeyPolicy = `{
  "Version" : "2012-10-17",
  "Id" : "auto-ALIAS-1",
  "Statement" : [ {
    "Sid" : "Allow access through NAME for all principals in the account that are authorized to use NAME",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "*"
    },
    "Action" : [ "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey" ],
    "Resource" : "*",
    "Condition" : {
      "StringEquals" : {
        "kms:CallerAccount" : "ACCOUNT",
        "kms:ViaService" : "SERVICE"
      }
    }
  }, {
    "Sid" : "Allow direct access to key metadata to the account",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::ACCOUNT:root"
    },
    "Action" : [ "kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant" ],
    "Resource" : "*"
  } ]
}`

// newManagedKey is the key for an alias that stands for none yet, if the call is one
// that such keys are made for: of the service, or a look at it. It is not stored.
func newManagedKey(call *api.Call, ref keyRef) *key {
	alias, managed := strings.CutPrefix(ref.alias, managedPrefix)
	m, known := managedKeys[alias]
	via := m.service + "." + ref.region + ".amazonaws.com"
	if !managed || !known || ref.account != call.Caller.Account || call.Via != via && call.Operation != "DescribeKey" {
		return nil
	}
	text := strings.NewReplacer("ALIAS", alias, "NAME", m.name, "ACCOUNT", ref.account, "SERVICE", via).Replace(managedKeyPolicy)
	id := newUUID()
	return &key{
		keyRecord: keyRecord{
			ID: id, Created: call.Time, Description: "Default key that protects my " + m.name + " data when no other key is defined",
			Spec: types.KeySpecSymmetricDefault, Usage: types.KeyUsageTypeEncryptDecrypt, Origin: types.OriginTypeAwsKms, State: types.KeyStateEnabled,
			Manager: types.KeyManagerTypeAws, keyPolicy: keyPolicy{Policy: text},
			Rotation: rotation{PeriodDays: defaultRotationDays, Next: call.Time.Add(defaultRotationDays * day)},
		},
		account: ref.account, region: ref.region, arn: keyARN(ref.account, ref.region, id),
	}
}

// storeManaged stores a new managed key, and gives the key to go on with: another one
// if another call was faster.
func (s *Service) storeManaged(ctx context.Context, k *key, alias string) (stored *key, err error) {
	raw := keymaterial.GenerateSymmetric()
	defer secmem.Zero(raw)
	place := store.Place{Kind: aliasKind, Account: k.account, Region: k.region, ID: alias}
	recs, err := s.Trail.Commit(ctx, func(tx store.Tx) error {
		if have, _, err := readAlias(tx, place); !isNotFound(err) {
			if err == nil {
				stored, err = readKey(tx, k.account, k.region, have.Target)
			}
			return err
		}
		var err error
		if stored, err = s.insert(tx, k, k.Policy, raw); err != nil {
			return err
		}
		return writeAlias(tx, place, aliasRecord{Target: k.ID, Created: k.Created, Updated: k.Created}, 0)
	}, func() []api.Record {
		if stored.ID != k.ID {
			return nil
		}
		return []api.Record{audit.EventRecord(&audit.ServiceEvent{
			Source: eventSource, Name: "CreateKey", ID: newUUID(), Time: k.Created, Account: k.account, Region: k.region, Resource: k.resource(),
			Details: []api.Pair{{Name: "keyId", Value: k.arn}, {Name: "aliasName", Value: alias}}})}
	})
	if err != nil {
		return nil, err
	}
	s.wake()
	return stored, s.Trail.JournalCommitted(ctx, recs)
}

// managedCount is how many AWS managed keys an account has in a Region.
func managedCount(r store.Reader, account, region string) (n int, err error) {
	err = r.Scan(aliasKind, account, region, managedPrefix, len(managedKeys), func(rec store.Record) error {
		if strings.HasPrefix(rec.ID, managedPrefix) {
			n++
		}
		return nil
	})
	return n, err
}
