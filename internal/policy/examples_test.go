package policy_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/policy"
)

// An example is one of AWS's, with the outcomes that its page documents. The
// policies are their statements; of the same key and, for a caller of another
// account, of that account.
type example struct {
	name string
	key  string // key policy, or another policy of the resource
	// Policies of every caller who can have them; nothing: none.
	identity, boundary, session, control string
	asks                                 []ask
}

// An ask is a request of an example. Who is user/NAME, role/NAME as SESSION or
// root, after the account if it is not 111122223333; or a service.
type ask struct {
	who, action, resource string // no resource: that of the example's key
	given                 given
	want                  string
}

// given are condition keys and their values.
type given map[string]any

// Outcomes; the denials are AWS's words.
const (
	allowed          = "allowed"
	noIdentity       = "no identity-based policy allows"
	noResource       = "no resource-based policy allows"
	noBoundary       = "no permissions boundary allows"
	noSession        = "no session policy allows"
	noControl        = "no service control policy allows"
	identityDenies   = "an explicit deny in an identity-based policy"
	resourceDenies   = "an explicit deny in a resource-based policy"
	boundaryDenies   = "an explicit deny in a permissions boundary"
	controlDenies    = "an explicit deny in a service control policy"
	exampleKey       = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	allowEverything  = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	enableIAM        = `{"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}`
	allowAllKMS      = `{"Effect":"Allow","Action":"kms:*","Resource":"*"}`
	exampleUser      = `"Principal":{"AWS":"arn:aws:iam::111122223333:user/ExampleUser"}`
	roleOfExampleApp = `"Principal":{"AWS":"arn:aws:iam::111122223333:role/RoleForExampleApp"}`
)

var pages = []struct {
	page     string
	examples []example
}{
	{"https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics-id-rdp.html", []example{
		{
			name: "Carlos: what identity and resource policy say together",
			key:  `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/carlossalazar"},"Action":"s3:*","Resource":["arn:aws:s3:::carlossalazar/*","arn:aws:s3:::carlossalazar"]}`,
			identity: `{"Sid":"AllowS3ListRead","Effect":"Allow","Action":["s3:GetBucketLocation","s3:GetAccountPublicAccessBlock","s3:ListAccessPoints","s3:ListAllMyBuckets"],"Resource":"arn:aws:s3:::*"},
				{"Sid":"AllowS3Self","Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::carlossalazar/*","arn:aws:s3:::carlossalazar"]},
				{"Sid":"DenyS3Logs","Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::*log*"}`,
			asks: []ask{
				{"user/carlossalazar", "s3:PutObject", "arn:aws:s3:::carlossalazar/report", nil, allowed},
				{"user/carlossalazar", "s3:PutObject", "arn:aws:s3:::carlossalazar-logs/report", nil, identityDenies},
			},
		},
		{
			name: "explicit and implicit denial",
			identity: `{"Sid":"AllowGetList","Effect":"Allow","Action":["iam:Get*","iam:List*"],"Resource":"*"},
				{"Sid":"DenyReports","Effect":"Deny","Action":"iam:*Report","Resource":"*"}`,
			asks: []ask{
				{"user/maria", "iam:ListUsers", "*", nil, allowed},
				{"user/maria", "iam:CreatePolicy", "*", nil, noIdentity},
				{"user/maria", "iam:GetOrganizationsAccessReport", "*", nil, identityDenies},
				{"user/maria", "iam:GenerateCredentialReport", "*", nil, identityDenies},
			},
		},
	}},
	{"https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html", []example{
		{
			name:     "a role's ARN: limited by implicit denials of boundary and session policy",
			key:      `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/examplerole"},"Action":"kms:*","Resource":"*"}`,
			boundary: `{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*"}`,
			session:  `{"Effect":"Allow","Action":["kms:Encrypt","kms:Sign"],"Resource":"*"}`,
			asks: []ask{
				{"role/examplerole as examplerolesessionname", "kms:Encrypt", "", nil, allowed},
				{"role/examplerole as examplerolesessionname", "kms:Decrypt", "", nil, noSession},
				{"role/examplerole as examplerolesessionname", "kms:Sign", "", nil, noBoundary},
			},
		},
		{
			name:     "a session's ARN: limited by no implicit denial",
			key:      `{"Effect":"Allow","Principal":{"AWS":"arn:aws:sts::111122223333:assumed-role/examplerole/examplerolesessionname"},"Action":"kms:*","Resource":"*"}`,
			boundary: `{"Effect":"Allow","Action":"s3:*","Resource":"*"},{"Effect":"Deny","Action":"kms:Sign","Resource":"*"}`,
			session:  `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`,
			asks: []ask{
				{"role/examplerole as examplerolesessionname", "kms:Encrypt", "", nil, allowed},
				{"role/examplerole as another", "kms:Encrypt", "", nil, noResource},
				{"role/examplerole as examplerolesessionname", "kms:Sign", "", nil, boundaryDenies},
			},
		},
		{
			name:     "a user's ARN: limited by no implicit denial",
			key:      `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/exampleuser"},"Action":"kms:*","Resource":"*"}`,
			boundary: `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`,
			asks: []ask{
				{"user/exampleuser", "kms:Encrypt", "", nil, allowed},
				{"user/another", "kms:Encrypt", "", nil, noResource},
			},
		},
	}},
	{"https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html", []example{
		{
			name:     "Shirley: a boundary gives nothing, and limits what is given",
			identity: `{"Effect":"Allow","Action":["iam:CreateUser","s3:GetObject"],"Resource":"*"}`,
			boundary: `{"Effect":"Allow","Action":["s3:*","cloudwatch:*","ec2:*"],"Resource":"*"}`,
			asks: []ask{
				{"user/ShirleyRodriguez", "iam:CreateUser", "*", nil, noBoundary},
				{"user/ShirleyRodriguez", "s3:GetObject", "*", nil, allowed},
				{"user/ShirleyRodriguez", "s3:PutObject", "*", nil, noIdentity},
			},
		},
		{
			name:     "XCompanyBoundaries",
			identity: allowEverything,
			boundary: `{"Sid":"ServiceBoundaries","Effect":"Allow","Action":["s3:*","cloudwatch:*","ec2:*","dynamodb:*"],"Resource":"*"},
				{"Sid":"AllowManageOwnPasswordAndAccessKeys","Effect":"Allow","Action":["iam:*AccessKey*","iam:ChangePassword"],"Resource":["arn:aws:iam::*:user/${aws:username}"]},
				{"Sid":"DenyS3Logs","Effect":"Deny","Action":"s3:*","Resource":["arn:aws:s3:::logs","arn:aws:s3:::logs/*"]},
				{"Sid":"DenyEC2Production","Effect":"Deny","Action":"ec2:*","Resource":"arn:aws:ec2:*:*:instance/i-1234567890abcdef0"}`,
			asks: []ask{
				{"user/Nikhil", "s3:GetObject", "arn:aws:s3:::data/x", nil, allowed},
				{"user/Nikhil", "s3:GetObject", "arn:aws:s3:::logs/x", nil, boundaryDenies},
				{"user/Nikhil", "ec2:StopInstances", "arn:aws:ec2:us-east-1:111122223333:instance/i-1234567890abcdef0", nil, boundaryDenies},
				{"user/Nikhil", "iam:CreateAccessKey", "arn:aws:iam::111122223333:user/Nikhil", given{"aws:username": "Nikhil"}, allowed},
				{"user/Nikhil", "iam:CreateAccessKey", "arn:aws:iam::111122223333:user/Zhang", given{"aws:username": "Nikhil"}, noBoundary},
			},
		},
	}},
	{"https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps_evaluation.html", []example{
		{
			name:     "control policies limit every principal of an account, its root too, and give nothing",
			key:      enableIAM,
			identity: allowAllKMS,
			control:  `{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*"},{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*"}`,
			asks: []ask{
				{"root", "kms:Encrypt", "", nil, allowed},
				{"root", "kms:DescribeKey", "", nil, noControl},
				{"root", "kms:Decrypt", "", nil, controlDenies},
				{"user/alice", "kms:Encrypt", "", nil, allowed},
				{"user/alice", "kms:DescribeKey", "", nil, noControl},
			},
		},
	}},
	{"https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies.html#policies_session", []example{
		{
			name:     "a session has what both the role and a session policy allow",
			identity: `{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*"}`,
			session:  `{"Effect":"Allow","Action":["kms:Encrypt","kms:Sign"],"Resource":"*"}`,
			key:      enableIAM,
			asks: []ask{
				{"role/app as s1", "kms:Encrypt", "", nil, allowed},
				{"role/app as s1", "kms:Decrypt", "", nil, noSession},
				{"role/app as s1", "kms:Sign", "", nil, noIdentity},
			},
		},
		{
			name:     "a resource policy that names the role adds to its policies, before the session policy limits both",
			identity: `{"Effect":"Allow","Action":"kms:Encrypt","Resource":"*"}`,
			session:  `{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*"}`,
			key:      `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/app"},"Action":["kms:Decrypt","kms:Sign"],"Resource":"*"}`,
			asks: []ask{
				{"role/app as s1", "kms:Decrypt", "", nil, allowed},
				{"role/app as s1", "kms:Sign", "", nil, noSession},
				{"role/app as s1", "kms:Encrypt", "", nil, noResource}, // nobody has delegated to the account
			},
		},
	}},
	{"https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html", []example{
		{
			name: "everyone but Bob, whose account is listed with him",
			key: `{"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::111122223333:user/Bob","arn:aws:iam::111122223333:root"]},"Action":"kms:*","Resource":"*"},
				{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:user/Bob","arn:aws:iam::111122223333:user/Alice","arn:aws:iam::111122223333:root"]},"Action":"kms:*","Resource":"*"}`,
			asks: []ask{
				{"user/Bob", "kms:Encrypt", "", nil, allowed},
				{"root", "kms:Encrypt", "", nil, allowed},
				{"user/Alice", "kms:Encrypt", "", nil, resourceDenies},
			},
		},
		{
			name: "without the account, Bob himself is denied",
			key: `{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::111122223333:user/Bob"},"Action":"kms:*","Resource":"*"},
				{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/Bob"},"Action":"kms:*","Resource":"*"}`,
			asks: []ask{{"user/Bob", "kms:Encrypt", "", nil, resourceDenies}},
		},
		{
			name: "a session, its role and the account of both",
			key: `{"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:sts::111122223333:assumed-role/cross-account-read-only-role/cross-account-audit-app",
				"arn:aws:iam::111122223333:role/cross-account-read-only-role","arn:aws:iam::111122223333:root"]},"Action":"kms:*","Resource":"*"},
				{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/cross-account-read-only-role"},"Action":"kms:*","Resource":"*"}`,
			asks: []ask{
				{"role/cross-account-read-only-role as cross-account-audit-app", "kms:Encrypt", "", nil, allowed},
				{"role/cross-account-read-only-role as another", "kms:Encrypt", "", nil, resourceDenies},
			},
		},
	}},
	{"https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html", []example{
		{
			name:     "String: an absent key does not match",
			identity: `{"Effect":"Allow","Action":"iam:*AccessKey*","Resource":"arn:aws:iam::111122223333:user/*","Condition":{"StringEquals":{"aws:PrincipalTag/job-category":"iamuser-admin"}}}`,
			asks: []ask{
				{"user/a", "iam:CreateAccessKey", "arn:aws:iam::111122223333:user/b", given{"aws:PrincipalTag/job-category": "iamuser-admin"}, allowed},
				{"user/a", "iam:CreateAccessKey", "arn:aws:iam::111122223333:user/b", given{"aws:PrincipalTag/job-category": "IAMUser-Admin"}, noIdentity},
				{"user/a", "iam:CreateAccessKey", "arn:aws:iam::111122223333:user/b", nil, noIdentity},
			},
		},
		{
			name:     "StringLike with a variable: the home directory",
			identity: `{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::BUCKET-NAME","Condition":{"StringLike":{"s3:prefix":["","home/","home/${aws:username}/"]}}}`,
			asks: []ask{
				{"user/David", "s3:ListBucket", "arn:aws:s3:::BUCKET-NAME", given{"s3:prefix": "home/", "aws:username": "David"}, allowed},
				{"user/David", "s3:ListBucket", "arn:aws:s3:::BUCKET-NAME", given{"s3:prefix": "home/David/", "aws:username": "David"}, allowed},
				{"user/David", "s3:ListBucket", "arn:aws:s3:::BUCKET-NAME", given{"s3:prefix": "home/Adele/", "aws:username": "David"}, noIdentity},
			},
		},
		{
			name:     "Numeric",
			identity: `{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::example_bucket","Condition":{"NumericLessThanEquals":{"s3:max-keys":"10"}}}`,
			asks: []ask{
				{"user/a", "s3:ListBucket", "arn:aws:s3:::example_bucket", given{"s3:max-keys": 10}, allowed},
				{"user/a", "s3:ListBucket", "arn:aws:s3:::example_bucket", given{"s3:max-keys": 9}, allowed},
				{"user/a", "s3:ListBucket", "arn:aws:s3:::example_bucket", given{"s3:max-keys": 100}, noIdentity},
				{"user/a", "s3:ListBucket", "arn:aws:s3:::example_bucket", nil, noIdentity},
			},
		},
		{
			name:     "Date: credentials issued since 2020; long-term ones have no issue time",
			identity: `{"Effect":"Allow","Action":"iam:*AccessKey*","Resource":"arn:aws:iam::111122223333:user/*","Condition":{"DateGreaterThan":{"aws:TokenIssueTime":"2020-01-01T00:00:01Z"}}}`,
			asks: []ask{
				{"role/a as s", "iam:CreateAccessKey", "arn:aws:iam::111122223333:user/b", given{"aws:TokenIssueTime": at("2020-06-01T00:00:00Z")}, allowed},
				{"role/a as s", "iam:CreateAccessKey", "arn:aws:iam::111122223333:user/b", given{"aws:TokenIssueTime": at("2020-01-01T00:00:01Z")}, noIdentity},
				{"user/a", "iam:CreateAccessKey", "arn:aws:iam::111122223333:user/b", nil, noIdentity},
			},
		},
		{
			name:     "Bool: only over TLS",
			identity: allowEverything + `,{"Sid":"BooleanExample","Action":"s3:*","Effect":"Deny","Resource":["arn:aws:s3:::DOC-EXAMPLE-BUCKET","arn:aws:s3:::DOC-EXAMPLE-BUCKET/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}`,
			asks: []ask{
				{"user/a", "s3:GetObject", "arn:aws:s3:::DOC-EXAMPLE-BUCKET/x", given{"aws:SecureTransport": false}, identityDenies},
				{"user/a", "s3:GetObject", "arn:aws:s3:::DOC-EXAMPLE-BUCKET/x", given{"aws:SecureTransport": true}, allowed},
			},
		},
		{
			name:     "Binary: base64 in the policy",
			identity: `{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"BinaryEquals":{"example:key":"QmluYXJ5VmFsdWVJbkJhc2U2NA=="}}}`,
			asks: []ask{
				{"user/a", "s3:GetObject", "*", given{"example:key": "BinaryValueInBase64"}, allowed},
				{"user/a", "s3:GetObject", "*", given{"example:key": "binaryvalueinbase64"}, noIdentity},
				{"user/a", "s3:GetObject", "*", nil, noIdentity},
			},
		},
		{
			name:     "IpAddress: ranges of IPv4 and IPv6",
			identity: `{"Effect":"Allow","Action":"someservice:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":["203.0.113.0/24","2001:DB8:1234:5678::/64"]}}}`,
			asks: []ask{
				{"user/a", "someservice:Do", "*", given{"aws:SourceIp": ip("203.0.113.255")}, allowed},
				{"user/a", "someservice:Do", "*", given{"aws:SourceIp": ip("203.0.114.0")}, noIdentity},
				{"user/a", "someservice:Do", "*", given{"aws:SourceIp": ip("2001:db8:1234:5678::1")}, allowed},
				{"user/a", "someservice:Do", "*", given{"aws:SourceIp": ip("2001:db8:1234:5679::1")}, noIdentity},
				{"user/a", "someservice:Do", "*", nil, noIdentity}, // through a VPC endpoint
			},
		},
		{
			name:     "ArnLike compares part by part",
			identity: `{"Effect":"Allow","Action":"a:*","Resource":"*","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:someservice:*:111122223333:finance/*"}}}`,
			asks: []ask{
				{"user/a", "a:Do", "*", given{"aws:SourceArn": "arn:aws:someservice:us-east-2:111122223333:finance/document.txt"}, allowed},
				{"user/a", "a:Do", "*", given{"aws:SourceArn": "arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt"}, noIdentity},
			},
		},
		{
			name:     "StringLike does not",
			identity: `{"Effect":"Allow","Action":"a:*","Resource":"*","Condition":{"StringLike":{"aws:SourceArn":"arn:aws:someservice:*:111122223333:finance/*"}}}`,
			asks: []ask{
				{"user/a", "a:Do", "*", given{"aws:SourceArn": "arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt"}, allowed},
			},
		},
		{
			name:     "IfExists: other resources than instances have no type",
			identity: `{"Sid":"RunInstance","Effect":"Allow","Action":"ec2:RunInstances","Resource":"*","Condition":{"StringLikeIfExists":{"ec2:InstanceType":["t1.*","t2.*","m3.*"]}}}`,
			asks: []ask{
				{"user/a", "ec2:RunInstances", "arn:aws:ec2:us-east-1:111122223333:instance/i-1", given{"ec2:InstanceType": "t2.micro"}, allowed},
				{"user/a", "ec2:RunInstances", "arn:aws:ec2:us-east-1:111122223333:instance/i-1", given{"ec2:InstanceType": "x1.16xlarge"}, noIdentity},
				{"user/a", "ec2:RunInstances", "arn:aws:ec2:us-east-1:111122223333:key-pair/k", nil, allowed},
			},
		},
		{
			name:     "a negated operator with IfExists denies even when the key is missing",
			identity: allowEverything + `,{"Effect":"Deny","Action":"ec2:*","Resource":"*","Condition":{"StringNotEqualsIfExists":{"aws:RequestTag/team":"red"}}}`,
			asks: []ask{
				{"user/a", "ec2:RunInstances", "*", nil, identityDenies},
				{"user/a", "ec2:RunInstances", "*", given{"aws:RequestTag/team": "blue"}, identityDenies},
				{"user/a", "ec2:RunInstances", "*", given{"aws:RequestTag/team": "red"}, allowed},
			},
		},
		{
			name:     "Null: no temporary credentials",
			identity: `{"Effect":"Allow","Action":"ec2:*","Resource":"*","Condition":{"Null":{"aws:TokenIssueTime":"true"}}}`,
			asks: []ask{
				{"user/a", "ec2:StopInstances", "*", nil, allowed},
				{"role/a as s", "ec2:StopInstances", "*", given{"aws:TokenIssueTime": at("2020-06-01T00:00:00Z")}, noIdentity},
			},
		},
	}},
	{"https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_Boolean", []example{
		{
			name:     "MFA: Bool false misses those without the key, BoolIfExists does not",
			identity: allowEverything + `,{"Effect":"Deny","Action":"kms:Encrypt","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"false"}}},{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*","Condition":{"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}}}`,
			asks: []ask{
				{"user/a", "kms:Encrypt", "*", nil, allowed},
				{"user/a", "kms:Encrypt", "*", given{"aws:MultiFactorAuthPresent": false}, identityDenies},
				{"user/a", "kms:Decrypt", "*", nil, identityDenies},
				{"user/a", "kms:Decrypt", "*", given{"aws:MultiFactorAuthPresent": true}, allowed},
			},
		},
	}},
	{"https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-logic-multiple-context-keys-or-values.html", []example{
		{
			name:     "operators and keys: AND; values: OR; values of a negated operator: NOR",
			identity: `{"Effect":"Allow","Action":"ec2:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/department":["finance","hr","legal"],"aws:PrincipalTag/role":["audit","security"]},"StringNotEquals":{"aws:RequestedRegion":["eu-west-1","eu-west-2"]}}}`,
			asks: []ask{
				{"user/a", "ec2:Do", "*", given{"aws:PrincipalTag/department": "hr", "aws:PrincipalTag/role": "audit", "aws:RequestedRegion": "us-east-1"}, allowed},
				{"user/a", "ec2:Do", "*", given{"aws:PrincipalTag/department": "hr", "aws:PrincipalTag/role": "pr", "aws:RequestedRegion": "us-east-1"}, noIdentity},
				{"user/a", "ec2:Do", "*", given{"aws:PrincipalTag/role": "audit", "aws:RequestedRegion": "us-east-1"}, noIdentity},
				{"user/a", "ec2:Do", "*", given{"aws:PrincipalTag/department": "hr", "aws:PrincipalTag/role": "audit", "aws:RequestedRegion": "eu-west-2"}, noIdentity},
				{"user/a", "ec2:Do", "*", given{"aws:PrincipalTag/department": "hr", "aws:PrincipalTag/role": "audit"}, allowed},
			},
		},
	}},
	{"https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition_examples-multi-valued-context-keys.html", []example{
		{
			name:     "ForAllValues, one value",
			identity: allowEverything + `,{"Sid":"DenyRestrictedTags","Effect":"Deny","Action":["iam:Tag*","iam:UnTag*"],"Resource":["*"],"Condition":{"ForAllValues:StringNotLike":{"aws:TagKeys":"key1*"}}}`,
			asks: []ask{
				{"user/a", "iam:TagUser", "*", given{"aws:TagKeys": []string{"key1:legal"}}, allowed},
				{"user/a", "iam:TagUser", "*", given{"aws:TagKeys": []string{"key1:hr", "key1:personnel"}}, allowed},
				{"user/a", "iam:TagUser", "*", given{"aws:TagKeys": []string{"key2:audit"}}, identityDenies},
				{"user/a", "iam:TagUser", "*", nil, identityDenies},
			},
		},
		{
			name:     "ForAllValues, several values",
			identity: allowEverything + `,{"Sid":"DenyRestrictedTags","Effect":"Deny","Action":["iam:Tag*","iam:UnTag*"],"Resource":["*"],"Condition":{"ForAllValues:StringNotLike":{"aws:TagKeys":["key1*","key2*"]}}}`,
			asks: []ask{
				{"user/a", "iam:TagUser", "*", given{"aws:TagKeys": []string{"key1:legal"}}, allowed},
				{"user/a", "iam:TagUser", "*", given{"aws:TagKeys": []string{"key1:hr", "key1:personnel"}}, allowed},
				{"user/a", "iam:TagUser", "*", given{"aws:TagKeys": []string{"key1:hr", "key2:audit"}}, allowed},
				{"user/a", "iam:TagUser", "*", given{"aws:TagKeys": []string{"key3:legal"}}, identityDenies},
				{"user/a", "iam:TagUser", "*", nil, identityDenies},
			},
		},
		{
			name:     "ForAnyValue",
			identity: allowEverything + `,{"Effect":"Deny","Action":["ec2:CreateSnapshot","ec2:CreateSnapshots"],"Resource":"arn:aws:ec2:us-west-2::snapshot/*","Condition":{"ForAnyValue:StringEquals":{"aws:TagKeys":"webserver"}}}`,
			asks: []ask{
				{"user/a", "ec2:CreateSnapshot", "arn:aws:ec2:us-west-2::snapshot/s", given{"aws:TagKeys": []string{"webserver"}}, identityDenies},
				{"user/a", "ec2:CreateSnapshot", "arn:aws:ec2:us-west-2::snapshot/s", given{"aws:TagKeys": []string{"environment", "webserver", "test"}}, identityDenies},
				{"user/a", "ec2:CreateSnapshot", "arn:aws:ec2:us-west-2::snapshot/s", given{"aws:TagKeys": []string{"environment", "test"}}, allowed},
				{"user/a", "ec2:CreateSnapshot", "arn:aws:ec2:us-west-2::snapshot/s", nil, allowed},
			},
		},
		{
			name:     "ForAllValues with Null false asks for a key",
			identity: `{"Effect":"Allow","Action":"ec2:*","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]},"Null":{"aws:TagKeys":"false"}}}`,
			asks: []ask{
				{"user/a", "ec2:CreateTags", "*", given{"aws:TagKeys": []string{"b", "a"}}, allowed},
				{"user/a", "ec2:CreateTags", "*", given{"aws:TagKeys": []string{"b", "c"}}, noIdentity},
				{"user/a", "ec2:CreateTags", "*", nil, noIdentity},
			},
		},
	}},
	{"https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html", []example{
		{
			name:     "in a resource",
			identity: `{"Action":["iam:*AccessKey*"],"Effect":"Allow","Resource":["arn:aws:iam::111122223333:user/${aws:username}"]}`,
			asks: []ask{
				{"user/David", "iam:CreateAccessKey", "arn:aws:iam::111122223333:user/David", given{"aws:username": "David"}, allowed},
				{"user/David", "iam:CreateAccessKey", "arn:aws:iam::111122223333:user/Adele", given{"aws:username": "David"}, noIdentity},
				{"role/app as s1", "iam:CreateAccessKey", "arn:aws:iam::111122223333:user/David", nil, noIdentity},
			},
		},
		{
			name:     "before 2012-10-17 they are literal text",
			identity: `{"Version":"2008-10-17","Statement":{"Action":["s3:*"],"Effect":"Allow","Resource":["arn:aws:s3:::mybucket/${aws:username}"]}}`,
			asks: []ask{
				{"user/David", "s3:GetObject", "arn:aws:s3:::mybucket/David", given{"aws:username": "David"}, noIdentity},
				{"user/David", "s3:GetObject", "arn:aws:s3:::mybucket/${aws:username}", given{"aws:username": "David"}, allowed},
			},
		},
		{
			name:     "key names have no case",
			identity: `{"Action":"s3:*","Effect":"Allow","Resource":"arn:aws:s3:::mybucket/${AWS:UserName}/*"}`,
			asks:     []ask{{"user/David", "s3:GetObject", "arn:aws:s3:::mybucket/David/x", given{"aws:username": "David"}, allowed}},
		},
		{
			name:     "tags, with a default",
			identity: `{"Action":"s3:*","Effect":"Allow","Resource":"arn:aws:s3:::amzn-s3-demo-bucket/${aws:PrincipalTag/team, 'company-wide'}/*"}`,
			asks: []ask{
				{"user/a", "s3:GetObject", "arn:aws:s3:::amzn-s3-demo-bucket/yellow/x", given{"aws:PrincipalTag/team": "yellow"}, allowed},
				{"user/a", "s3:GetObject", "arn:aws:s3:::amzn-s3-demo-bucket/company-wide/x", given{"aws:PrincipalTag/team": "yellow"}, noIdentity},
				{"user/a", "s3:GetObject", "arn:aws:s3:::amzn-s3-demo-bucket/company-wide/x", nil, allowed},
			},
		},
		{
			name:     "special characters",
			identity: `{"Action":"s3:*","Effect":"Allow","Resource":["arn:aws:s3:::b/a${*}c","arn:aws:s3:::b/who${?}","arn:aws:s3:::b/${$}{x}"]}`,
			asks: []ask{
				{"user/a", "s3:GetObject", "arn:aws:s3:::b/a*c", nil, allowed},
				{"user/a", "s3:GetObject", "arn:aws:s3:::b/abc", nil, noIdentity},
				{"user/a", "s3:GetObject", "arn:aws:s3:::b/who?", nil, allowed},
				{"user/a", "s3:GetObject", "arn:aws:s3:::b/whom", nil, noIdentity},
				{"user/a", "s3:GetObject", "arn:aws:s3:::b/${x}", nil, allowed},
			},
		},
	}},
	{"https://docs.aws.amazon.com/kms/latest/developerguide/policy-evaluation.html", []example{
		{
			name: "example 1: the key policy delegates, and no policy allows Alice",
			key:  enableIAM,
			asks: []ask{{"user/Alice", "kms:Encrypt", "", nil, noIdentity}},
		},
		{
			name: "example 2: a role of another account, allowed on both sides",
			key: enableIAM + `,{"Sid":"Allow account 1 to use this KMS key","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},
				"Action":["kms:Encrypt","kms:Decrypt","kms:ReEncryptFrom","kms:ReEncryptTo","kms:GenerateDataKey","kms:GenerateDataKeyWithoutPlaintext","kms:DescribeKey"],"Resource":"*"}`,
			identity: `{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt","kms:CreateGrant"],"Resource":"` + exampleKey + `"}`,
			asks: []ask{
				{"444455556666 role/Engineering as Bob", "kms:Decrypt", "", nil, allowed},
				{"444455556666 role/Engineering as Bob", "kms:CreateGrant", "", nil, noResource},
				{"444455556666 role/Engineering as Bob", "kms:DescribeKey", "", nil, noIdentity},
				{"444455556666 root", "kms:DescribeKey", "", nil, allowed},
			},
		},
	}},
	{"https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html", []example{
		{
			name:     "the default key policy lets IAM policies allow",
			key:      enableIAM,
			identity: `{"Effect":"Allow","Action":["kms:Encrypt"],"Resource":"arn:aws:kms:*:111122223333:key/*"}`,
			asks: []ask{
				{"root", "kms:Decrypt", "", nil, allowed},
				{"user/alice", "kms:Encrypt", "", nil, allowed},
				{"user/alice", "kms:Decrypt", "", nil, noIdentity},
				{"role/app as s1", "kms:Encrypt", "", nil, allowed},
				{"444455556666 user/alice", "kms:Encrypt", "", nil, noResource},
				{"444455556666 root", "kms:Encrypt", "", nil, noResource},
			},
		},
		{
			name:     "without it, IAM policies are without effect, and so is being root",
			key:      `{"Sid":"Allow use of the key","Effect":"Allow",` + exampleUser + `,"Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*","kms:GenerateDataKey*","kms:DescribeKey"],"Resource":"*"}`,
			identity: allowAllKMS,
			asks: []ask{
				{"user/ExampleUser", "kms:GenerateDataKeyPair", "", nil, allowed},
				{"user/alice", "kms:Encrypt", "", nil, noResource},
				{"root", "kms:Encrypt", "", nil, noResource},
				{"user/ExampleUser", "kms:PutKeyPolicy", "", nil, noResource},
			},
		},
		{
			name: "administrators who cannot use, users who cannot administer, and grants for services only",
			key: enableIAM + `,
				{"Sid":"Allow access for Key Administrators","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/ExampleAdminRole"},
				 "Action":["kms:Create*","kms:Describe*","kms:Enable*","kms:List*","kms:Put*","kms:Update*","kms:Revoke*","kms:Disable*","kms:Get*","kms:Delete*","kms:TagResource","kms:UntagResource","kms:ScheduleKeyDeletion","kms:CancelKeyDeletion","kms:RotateKeyOnDemand"],"Resource":"*"},
				{"Sid":"Allow use of the key","Effect":"Allow",` + exampleUser + `,"Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*","kms:GenerateDataKey*","kms:DescribeKey"],"Resource":"*"},
				{"Sid":"Allow attachment of persistent resources","Effect":"Allow",` + exampleUser + `,"Action":["kms:CreateGrant","kms:ListGrants","kms:RevokeGrant"],"Resource":"*","Condition":{"Bool":{"kms:GrantIsForAWSResource":true}}}`,
			asks: []ask{
				{"role/ExampleAdminRole as s", "kms:PutKeyPolicy", "", nil, allowed},
				{"role/ExampleAdminRole as s", "kms:Decrypt", "", nil, noIdentity},
				{"user/ExampleUser", "kms:Decrypt", "", nil, allowed},
				{"user/ExampleUser", "kms:PutKeyPolicy", "", nil, noIdentity},
				{"user/ExampleUser", "kms:CreateGrant", "", given{"kms:GrantIsForAWSResource": true}, allowed},
				{"user/ExampleUser", "kms:CreateGrant", "", given{"kms:GrantIsForAWSResource": false}, noIdentity},
				{"user/ExampleUser", "kms:CreateGrant", "", nil, noIdentity},
			},
		},
	}},
	{"https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html", []example{
		{
			name:     "an external user or role needs an IAM policy too, even where the key policy names it",
			key:      `{"Sid":"Allow an external account to use this KMS key","Effect":"Allow","Principal":{"AWS":["arn:aws:iam::444455556666:role/ExampleRole","arn:aws:iam::444455556666:user/ExampleUser"]},"Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*"}`,
			identity: `{"Sid":"AllowUseOfKeyInAccount111122223333","Effect":"Allow","Action":["kms:Encrypt","kms:Sign"],"Resource":"` + exampleKey + `"}`,
			asks: []ask{
				{"444455556666 role/ExampleRole as s", "kms:Encrypt", "", nil, allowed},
				{"444455556666 role/ExampleRole as s", "kms:Decrypt", "", nil, noIdentity},
				{"444455556666 user/ExampleUser", "kms:Decrypt", "", nil, noIdentity},
				{"444455556666 user/ExampleUser", "kms:Sign", "", nil, noResource},
				{"444455556666 user/Another", "kms:Encrypt", "", nil, noResource},
			},
		},
	}},
	{"https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-encryption-context", []example{
		{
			name: "a pair is required, others are permitted; its key has no case, its value has",
			key:  `{"Effect":"Allow",` + roleOfExampleApp + `,"Action":"kms:GenerateDataKey","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:AppName":"ExampleApp"}}}`,
			asks: []ask{
				{"role/RoleForExampleApp as s", "kms:GenerateDataKey", "", given{"kms:EncryptionContext:AppName": "ExampleApp", "kms:EncryptionContext:Stage": "Test"}, allowed},
				{"role/RoleForExampleApp as s", "kms:GenerateDataKey", "", given{"kms:EncryptionContext:APPNAME": "ExampleApp"}, allowed},
				{"role/RoleForExampleApp as s", "kms:GenerateDataKey", "", given{"kms:EncryptionContext:AppName": "exampleapp"}, noResource},
				{"role/RoleForExampleApp as s", "kms:GenerateDataKey", "", nil, noResource},
			},
		},
		{
			name: "the pair and no other",
			key: `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/alice"},"Action":"kms:GenerateDataKey","Resource":"*",
				"Condition":{"StringEquals":{"kms:EncryptionContext:AppName":"ExampleApp"},"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["AppName"]}}}`,
			asks: []ask{
				{"user/alice", "kms:GenerateDataKey", "", given{"kms:EncryptionContext:AppName": "ExampleApp", "kms:EncryptionContextKeys": []string{"AppName"}}, allowed},
				{"user/alice", "kms:GenerateDataKey", "", given{"kms:EncryptionContext:AppName": "ExampleApp", "kms:EncryptionContextKeys": []string{"AppName", "Stage"}}, noResource},
				{"user/alice", "kms:GenerateDataKey", "", nil, noResource},
			},
		},
		{
			name: "a forbidden pair",
			key: `{"Effect":"Allow",` + roleOfExampleApp + `,"Action":"kms:*","Resource":"*"},
				{"Effect":"Deny",` + roleOfExampleApp + `,"Action":"kms:GenerateDataKey","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:Stage":["Restricted","Production"]}}}`,
			asks: []ask{
				{"role/RoleForExampleApp as s", "kms:GenerateDataKey", "", given{"kms:EncryptionContext:Stage": "Restricted"}, resourceDenies},
				{"role/RoleForExampleApp as s", "kms:GenerateDataKey", "", given{"kms:EncryptionContext:Stage": "Production"}, resourceDenies},
				{"role/RoleForExampleApp as s", "kms:GenerateDataKey", "", given{"kms:EncryptionContext:Stage": "Test"}, allowed},
				{"role/RoleForExampleApp as s", "kms:GenerateDataKey", "", nil, allowed},
			},
		},
		{
			name: "both pairs in one condition; either pair in a statement each",
			key: `{"Effect":"Allow",` + roleOfExampleApp + `,"Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:Department":"IT","kms:EncryptionContext:Project":"Alpha"}}},
				{"Effect":"Allow",` + roleOfExampleApp + `,"Action":"kms:GenerateDataKey","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:Department":"IT"}}},
				{"Effect":"Allow",` + roleOfExampleApp + `,"Action":"kms:GenerateDataKey","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:Project":"Alpha"}}}`,
			asks: []ask{
				{"role/RoleForExampleApp as s", "kms:Decrypt", "", given{"kms:EncryptionContext:Department": "IT", "kms:EncryptionContext:Project": "Alpha"}, allowed},
				{"role/RoleForExampleApp as s", "kms:Decrypt", "", given{"kms:EncryptionContext:Department": "IT"}, noResource},
				{"role/RoleForExampleApp as s", "kms:GenerateDataKey", "", given{"kms:EncryptionContext:Department": "IT"}, allowed},
				{"role/RoleForExampleApp as s", "kms:GenerateDataKey", "", given{"kms:EncryptionContext:Project": "Alpha"}, allowed},
				{"role/RoleForExampleApp as s", "kms:GenerateDataKey", "", given{"kms:EncryptionContext:Project": "Beta"}, noResource},
			},
		},
		{
			name: "the caller's name as a variable",
			key:  `{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:user/bob","arn:aws:iam::111122223333:user/alice"]},"Action":["kms:Decrypt","kms:Encrypt"],"Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:user":"${aws:username}"}}}`,
			asks: []ask{
				{"user/bob", "kms:Decrypt", "", given{"kms:EncryptionContext:user": "bob", "aws:username": "bob"}, allowed},
				{"user/alice", "kms:Decrypt", "", given{"kms:EncryptionContext:user": "bob", "aws:username": "alice"}, noResource},
			},
		},
	}},
	{"https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-encryption-context-keys", []example{
		{
			name: "one of the keys, in its spelling",
			key:  `{"Effect":"Allow",` + roleOfExampleApp + `,"Action":["kms:Encrypt","kms:GenerateDataKey*"],"Resource":"*","Condition":{"ForAnyValue:StringEquals":{"kms:EncryptionContextKeys":"AppName"}}}`,
			asks: []ask{
				{"role/RoleForExampleApp as s", "kms:Encrypt", "", given{"kms:EncryptionContextKeys": []string{"AppName", "Project"}}, allowed},
				{"role/RoleForExampleApp as s", "kms:Encrypt", "", given{"kms:EncryptionContextKeys": []string{"Project"}}, noResource},
				{"role/RoleForExampleApp as s", "kms:Encrypt", "", given{"kms:EncryptionContextKeys": []string{"appname"}}, noResource},
				{"role/RoleForExampleApp as s", "kms:Encrypt", "", nil, noResource},
			},
		},
		{
			name: "ForAllValues alone asks for no context",
			key:  `{"Effect":"Allow",` + roleOfExampleApp + `,"Action":"kms:Encrypt","Resource":"*","Condition":{"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["AppName","FilePath"]}}}`,
			asks: []ask{
				{"role/RoleForExampleApp as s", "kms:Encrypt", "", nil, allowed},
				{"role/RoleForExampleApp as s", "kms:Encrypt", "", given{"kms:EncryptionContextKeys": []string{"FilePath"}}, allowed},
				{"role/RoleForExampleApp as s", "kms:Encrypt", "", given{"kms:EncryptionContextKeys": []string{"FilePath", "Stage"}}, noResource},
			},
		},
		{
			name: "any context",
			key:  `{"Effect":"Allow",` + roleOfExampleApp + `,"Action":["kms:Encrypt","kms:GenerateDataKey*"],"Resource":"*","Condition":{"Null":{"kms:EncryptionContextKeys":false}}}`,
			asks: []ask{
				{"role/RoleForExampleApp as s", "kms:Encrypt", "", given{"kms:EncryptionContextKeys": []string{"Any"}}, allowed},
				{"role/RoleForExampleApp as s", "kms:Encrypt", "", given{"kms:EncryptionContextKeys": []string{}}, noResource},
				{"role/RoleForExampleApp as s", "kms:Encrypt", "", nil, noResource},
			},
		},
	}},
	{"https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html", []example{
		{
			name: "kms:EncryptionAlgorithm: no other, whatever allows it",
			key: `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/ExampleRole"},"Action":"kms:*","Resource":"*"},
				{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::111122223333:role/ExampleRole"},"Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*"],"Resource":"*","Condition":{"StringNotEquals":{"kms:EncryptionAlgorithm":"RSAES_OAEP_SHA_256"}}}`,
			asks: []ask{
				{"role/ExampleRole as s", "kms:Encrypt", "", given{"kms:EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}, allowed},
				{"role/ExampleRole as s", "kms:Encrypt", "", given{"kms:EncryptionAlgorithm": "RSAES_OAEP_SHA_1"}, resourceDenies},
				{"role/ExampleRole as s", "kms:ReEncryptFrom", "", nil, resourceDenies},
				{"role/ExampleRole as s", "kms:DescribeKey", "", nil, allowed},
			},
		},
		{
			name: "kms:ExpirationModel: Null stands for an omitted parameter",
			key:  `{"Effect":"Allow",` + exampleUser + `,"Action":"kms:ImportKeyMaterial","Resource":"*","Condition":{"Null":{"kms:ExpirationModel":true}}}`,
			asks: []ask{
				{"user/ExampleUser", "kms:ImportKeyMaterial", "", nil, allowed},
				{"user/ExampleUser", "kms:ImportKeyMaterial", "", given{"kms:ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}, noResource},
			},
		},
		{
			name: "kms:GrantOperations: no operations but these",
			key:  `{"Effect":"Allow",` + exampleUser + `,"Action":"kms:CreateGrant","Resource":"*","Condition":{"ForAllValues:StringEquals":{"kms:GrantOperations":["Encrypt","ReEncryptTo"]}}}`,
			asks: []ask{
				{"user/ExampleUser", "kms:CreateGrant", "", given{"kms:GrantOperations": []string{"Encrypt"}}, allowed},
				{"user/ExampleUser", "kms:CreateGrant", "", given{"kms:GrantOperations": []string{"Encrypt", "ReEncryptTo"}}, allowed},
				{"user/ExampleUser", "kms:CreateGrant", "", given{"kms:GrantOperations": []string{"Encrypt", "Decrypt"}}, noResource},
			},
		},
		{
			name: "kms:GrantOperations: at least one of these",
			key:  `{"Effect":"Allow",` + exampleUser + `,"Action":"kms:CreateGrant","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"kms:GrantOperations":["Encrypt","ReEncryptTo"]}}}`,
			asks: []ask{
				{"user/ExampleUser", "kms:CreateGrant", "", given{"kms:GrantOperations": []string{"Encrypt", "Decrypt"}}, allowed},
				{"user/ExampleUser", "kms:CreateGrant", "", given{"kms:GrantOperations": []string{"Decrypt"}}, noResource},
			},
		},
		{
			name: "kms:GranteePrincipal and kms:GrantConstraintType",
			key:  `{"Effect":"Allow",` + exampleUser + `,"Action":"kms:CreateGrant","Resource":"*","Condition":{"StringEquals":{"kms:GranteePrincipal":"arn:aws:iam::111122223333:role/LimitedAdminRole","kms:GrantConstraintType":"EncryptionContextEquals"}}}`,
			asks: []ask{
				{"user/ExampleUser", "kms:CreateGrant", "", given{"kms:GranteePrincipal": "arn:aws:iam::111122223333:role/LimitedAdminRole", "kms:GrantConstraintType": "EncryptionContextEquals"}, allowed},
				{"user/ExampleUser", "kms:CreateGrant", "", given{"kms:GranteePrincipal": "arn:aws:iam::111122223333:role/LimitedAdminRole", "kms:GrantConstraintType": "EncryptionContextSubset"}, noResource},
				{"user/ExampleUser", "kms:CreateGrant", "", given{"kms:GranteePrincipal": "arn:aws:iam::111122223333:role/LimitedAdminRole"}, noResource},
			},
		},
		{
			name:     "kms:KeySpec: CreateKey of RSA keys only",
			identity: `{"Effect":"Allow","Action":"kms:CreateKey","Resource":"*","Condition":{"StringLike":{"kms:KeySpec":"RSA_*"}}}`,
			asks: []ask{
				{"user/a", "kms:CreateKey", "*", given{"kms:KeySpec": "RSA_4096"}, allowed},
				{"user/a", "kms:CreateKey", "*", given{"kms:KeySpec": "SYMMETRIC_DEFAULT"}, noIdentity},
			},
		},
		{
			name: "kms:CallerAccount with kms:ViaService: anybody of the account, through a service",
			key:  `{"Effect":"Allow","Principal":{"AWS":"*"},"Action":["kms:Encrypt","kms:Decrypt","kms:CreateGrant"],"Resource":"*","Condition":{"StringEquals":{"kms:ViaService":"ec2.eu-central-1.amazonaws.com","kms:CallerAccount":"111122223333"}}}`,
			asks: []ask{
				{"user/a", "kms:Decrypt", "", given{"kms:ViaService": "ec2.eu-central-1.amazonaws.com", "kms:CallerAccount": "111122223333"}, allowed},
				{"user/a", "kms:Decrypt", "", given{"kms:CallerAccount": "111122223333"}, noResource},
				{"444455556666 user/a", "kms:Decrypt", "", given{"kms:ViaService": "ec2.eu-central-1.amazonaws.com", "kms:CallerAccount": "444455556666"}, noResource},
			},
		},
		{
			name: "kms:ViaService: not through Lambda; direct use is another matter",
			key: `{"Effect":"Allow",` + exampleUser + `,"Action":"kms:*","Resource":"*"},
				{"Effect":"Deny",` + exampleUser + `,"Action":["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey*","kms:CreateGrant","kms:ListGrants","kms:DescribeKey"],"Resource":"*","Condition":{"StringEquals":{"kms:ViaService":["lambda.us-west-2.amazonaws.com"]}}}`,
			asks: []ask{
				{"user/ExampleUser", "kms:Decrypt", "", given{"kms:ViaService": "lambda.us-west-2.amazonaws.com"}, resourceDenies},
				{"user/ExampleUser", "kms:Decrypt", "", given{"kms:ViaService": "ec2.us-west-2.amazonaws.com"}, allowed},
				{"user/ExampleUser", "kms:Decrypt", "", nil, allowed},
			},
		},
		{
			name: "kms:ViaService with a wildcard",
			key:  `{"Effect":"Allow",` + exampleUser + `,"Action":"kms:*","Resource":"*","Condition":{"StringLike":{"kms:ViaService":["ec2.*.amazonaws.com","rds.us-west-2.amazonaws.com"]}}}`,
			asks: []ask{
				{"user/ExampleUser", "kms:Decrypt", "", given{"kms:ViaService": "ec2.us-east-1.amazonaws.com"}, allowed},
				{"user/ExampleUser", "kms:Decrypt", "", given{"kms:ViaService": "rds.us-east-1.amazonaws.com"}, noResource},
				{"user/ExampleUser", "kms:Decrypt", "", nil, noResource},
			},
		},
		{
			name: "kms:ScheduleKeyDeletionPendingWindowInDays: not sooner than in 21 days",
			key:  enableIAM + `,{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"kms:ScheduleKeyDeletion","Resource":"*","Condition":{"NumericLessThan":{"kms:ScheduleKeyDeletionPendingWindowInDays":"21"}}}`,
			asks: []ask{
				{"root", "kms:ScheduleKeyDeletion", "", given{"kms:ScheduleKeyDeletionPendingWindowInDays": 7}, resourceDenies},
				{"root", "kms:ScheduleKeyDeletion", "", given{"kms:ScheduleKeyDeletionPendingWindowInDays": 21}, allowed},
				{"root", "kms:ScheduleKeyDeletion", "", nil, allowed},
			},
		},
		{
			name: "kms:ValidTo: a date as such, or in epoch seconds",
			key: `{"Effect":"Allow",` + exampleUser + `,"Action":"kms:ImportKeyMaterial","Resource":"*","Condition":{"NumericLessThanEquals":{"kms:ValidTo":"1546257599.0"}}},
				{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/Another"},"Action":"kms:ImportKeyMaterial","Resource":"*","Condition":{"DateLessThanEquals":{"kms:ValidTo":"2018-12-31T11:59:59Z"}}}`,
			asks: []ask{
				{"user/ExampleUser", "kms:ImportKeyMaterial", "", given{"kms:ValidTo": at("2018-12-31T11:59:59Z")}, allowed},
				{"user/ExampleUser", "kms:ImportKeyMaterial", "", given{"kms:ValidTo": at("2018-12-31T12:00:00Z")}, noResource},
				{"user/Another", "kms:ImportKeyMaterial", "", given{"kms:ValidTo": at("2018-12-31T11:59:59Z")}, allowed},
				{"user/Another", "kms:ImportKeyMaterial", "", given{"kms:ValidTo": at("2018-12-31T12:00:00Z")}, noResource},
				{"user/Another", "kms:ImportKeyMaterial", "", nil, noResource},
			},
		},
		{
			name:     "kms:ResourceAliases: keys by their aliases",
			key:      enableIAM,
			identity: `{"Sid":"AliasBasedIAMPolicy","Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt"],"Resource":"arn:aws:kms:*:111122223333:key/*","Condition":{"ForAnyValue:StringEquals":{"kms:ResourceAliases":"alias/ProjectAlpha"}}}`,
			asks: []ask{
				{"user/a", "kms:Encrypt", "", given{"kms:ResourceAliases": []string{"alias/other", "alias/ProjectAlpha"}}, allowed},
				{"user/a", "kms:Encrypt", "", given{"kms:ResourceAliases": []string{"alias/other"}}, noIdentity},
				{"user/a", "kms:Encrypt", "", nil, noIdentity},
			},
		},
	}},
	{"https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-services.html", []example{
		{
			name: "a service principal, for its source only",
			key:  `{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"kms:GenerateDataKey*","Resource":"*","Condition":{"StringEquals":{"aws:SourceArn":"arn:aws:cloudtrail:us-west-2:111122223333:trail/t"}}}`,
			asks: []ask{
				{"cloudtrail.amazonaws.com", "kms:GenerateDataKey", "", given{"aws:SourceArn": "arn:aws:cloudtrail:us-west-2:111122223333:trail/t"}, allowed},
				{"cloudtrail.amazonaws.com", "kms:GenerateDataKey", "", given{"aws:SourceArn": "arn:aws:cloudtrail:us-west-2:444455556666:trail/t"}, noResource},
				{"ec2.amazonaws.com", "kms:GenerateDataKey", "", given{"aws:SourceArn": "arn:aws:cloudtrail:us-west-2:111122223333:trail/t"}, noResource},
				{"root", "kms:GenerateDataKey", "", given{"aws:SourceArn": "arn:aws:cloudtrail:us-west-2:111122223333:trail/t"}, noResource},
			},
		},
	}},
	{"https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notaction.html", []example{
		{
			name:     "NotAction with Allow gives every other action, with Deny forbids it",
			identity: `{"Effect":"Allow","NotAction":"iam:*","Resource":"*"},{"Effect":"Deny","NotAction":["kms:*","iam:*","s3:*"],"Resource":"*","Condition":{"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}}}`,
			asks: []ask{
				{"user/a", "s3:GetObject", "*", nil, allowed},
				{"user/a", "iam:CreateUser", "*", nil, noIdentity},
				{"user/a", "ec2:StopInstances", "*", nil, identityDenies},
				{"user/a", "ec2:StopInstances", "*", given{"aws:MultiFactorAuthPresent": true}, allowed},
			},
		},
	}},
	{"https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notresource.html", []example{
		{
			name:     "all but the payroll",
			identity: allowEverything + `,{"Effect":"Deny","Action":"s3:*","NotResource":["arn:aws:s3:::HRBucket/Payroll","arn:aws:s3:::HRBucket/Payroll/*"]}`,
			asks: []ask{
				{"user/a", "s3:GetObject", "arn:aws:s3:::HRBucket/Payroll/2026", nil, allowed},
				{"user/a", "s3:GetObject", "arn:aws:s3:::HRBucket/Other", nil, identityDenies},
			},
		},
	}},
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	must(err)
	return t
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestExamples: AWS's examples come out as AWS says, by package policy and by
// the reference.
func TestExamples(t *testing.T) {
	for _, page := range pages {
		for _, e := range page.examples {
			for i, a := range e.asks {
				q := e.question(a)
				name := fmt.Sprintf("%s\n%s, request %d: %s asks for %s given %v", page.page, e.name, i, a.who, a.action, a.given)
				if got := inWords(reference(q)); got != a.want {
					t.Errorf("%s\nreference: %s, want %s", name, got, a.want)
				}
				req, set, err := q.put()
				if err != nil {
					t.Errorf("%s\n%v", name, err)
					continue
				}
				d := policy.Decide(req, set)
				if got := inWords(answer{allowed: d.Allowed, grant: d.Grant, explicit: d.Explicit, layers: []policy.Layer{d.Layer}}); got != a.want {
					t.Errorf("%s\ndecided: %s, want %s", name, got, a.want)
				}
				if why := q.disagreement(); why != "" {
					t.Errorf("%s\n%s", name, why)
				}
			}
		}
	}
}

// TestExamplesCite: every example stands under the page of AWS's documentation that
// has it, once, and asks something.
func TestExamplesCite(t *testing.T) {
	cited, named := map[string]bool{}, map[string]bool{}
	for _, page := range pages {
		if !documentationPage.MatchString(page.page) {
			t.Errorf("%q is no page of AWS's documentation", page.page)
		}
		if cited[page.page] {
			t.Errorf("%s is cited twice", page.page)
		}
		cited[page.page] = true
		if len(page.examples) == 0 {
			t.Errorf("%s has no examples", page.page)
		}
		for _, e := range page.examples {
			if e.name == "" || len(e.asks) == 0 || e.key+e.identity == "" {
				t.Errorf("%s: %q has no name, policy or request", page.page, e.name)
			}
			if named[page.page+e.name] {
				t.Errorf("%s: two examples are called %q", page.page, e.name)
			}
			named[page.page+e.name] = true
		}
	}
}

// documentationPage is the URL of a page of AWS's user or developer guides, perhaps
// with the section.
var documentationPage = regexp.MustCompile(`^https://docs\.aws\.amazon\.com/(IAM|kms|organizations)/latest/(UserGuide|developerguide|userguide)/[a-z0-9_-]+\.html(#[A-Za-z0-9_-]+)?$`)

func inWords(a answer) string {
	switch {
	case a.allowed:
		return allowed
	case a.explicit && strings.HasPrefix(string(a.layers[0]), "identity"):
		return "an explicit deny in an " + string(a.layers[0])
	case a.explicit:
		return "an explicit deny in a " + string(a.layers[0])
	}
	return "no " + string(a.layers[0]) + " allows"
}

// question is an ask with the policies of its example.
func (e *example) question(a ask) *question {
	q := &question{Caller: who(a.who), Action: a.action, Resource: a.resource, Facts: facts{}, Account: ours}
	if q.Resource == "" {
		q.Resource = exampleKey
	}
	for key, v := range a.given {
		q.Facts[strings.ToLower(key)] = factOf(v)
	}
	read := func(kind policy.Kind, name, text string) *paper {
		if text == "" {
			return nil
		}
		if !strings.Contains(text, `"Statement"`) {
			text = `{"Version":"2012-10-17","Statement":[` + text + `]}`
		}
		return &paper{Kind: kind, Name: name, Text: text}
	}
	q.Key = read(policy.Key, "key policy", e.key)
	if q.Caller.Account == "" {
		return q
	}
	if p := read(policy.Identity, "control policy", e.control); p != nil {
		q.Control = [][]*paper{{everything}, {p}}
	}
	if q.Caller.Root {
		return q
	}
	if p := read(policy.Identity, "policy", e.identity); p != nil {
		q.Identity = []*paper{p}
	}
	q.Boundary = read(policy.Identity, "boundary", e.boundary)
	if p := read(policy.Identity, "session policy", e.session); p != nil && q.Caller.SessionName != "" {
		q.Session = []*paper{p}
	}
	return q
}

// who reads the name of a caller.
func who(s string) policy.Caller {
	if strings.HasSuffix(s, ".amazonaws.com") {
		return policy.Caller{ARN: s, Service: s}
	}
	account, name, other := strings.Cut(s, " ")
	if !other || len(account) != 12 || strings.Contains(account, "/") {
		account, name = ours, s
	}
	if name == "root" {
		return policy.Caller{Account: account, Root: true, ARN: arn(account, "root"), PrincipalARN: arn(account, "root"), PrincipalID: account}
	}
	entity, sessionName, isSession := strings.Cut(name, " as ")
	c := policy.Caller{Account: account, ARN: arn(account, entity), PrincipalARN: arn(account, entity), PrincipalID: "AIDAEXAMPLE0000000001"}
	if isSession {
		c.SessionName, c.PrincipalID = sessionName, "AROAEXAMPLE0000000001"
		c.ARN = session(account, strings.TrimPrefix(entity, "role/"), sessionName)
	}
	return c
}

func factOf(v any) fact {
	switch v := v.(type) {
	case string:
		return fact{"text", []string{v}}
	case []string:
		return fact{"texts", v}
	case int:
		return fact{"number", []string{strconv.Itoa(v)}}
	case bool:
		return fact{"bool", []string{strconv.FormatBool(v)}}
	case time.Time:
		return fact{"time", []string{v.Format(time.RFC3339)}}
	case netip.Addr:
		return fact{"ip", []string{v.String()}}
	}
	panic(fmt.Sprintf("no fact: %v", v))
}
