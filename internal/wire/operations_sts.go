package wire

import "github.com/aws/aws-sdk-go-v2/service/sts"

// stsOperations is what there is of the STS API, version 2011-06-15, in name order.
// CloudTrail calls all of it read-only.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_Operations.html
var stsOperations = []row{
	{"AssumeRole", (*sts.AssumeRoleInput)(nil), (*sts.AssumeRoleOutput)(nil), reads},
	{"AssumeRoleWithWebIdentity", (*sts.AssumeRoleWithWebIdentityInput)(nil), (*sts.AssumeRoleWithWebIdentityOutput)(nil), reads},
	{"DecodeAuthorizationMessage", (*sts.DecodeAuthorizationMessageInput)(nil), (*sts.DecodeAuthorizationMessageOutput)(nil), reads},
	{"GetAccessKeyInfo", (*sts.GetAccessKeyInfoInput)(nil), (*sts.GetAccessKeyInfoOutput)(nil), reads},
	{"GetCallerIdentity", (*sts.GetCallerIdentityInput)(nil), (*sts.GetCallerIdentityOutput)(nil), reads},
	{"GetFederationToken", (*sts.GetFederationTokenInput)(nil), (*sts.GetFederationTokenOutput)(nil), reads},
	{"GetSessionToken", (*sts.GetSessionTokenInput)(nil), (*sts.GetSessionTokenOutput)(nil), reads},
}
