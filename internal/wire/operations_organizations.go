package wire

import "github.com/aws/aws-sdk-go-v2/service/organizations"

// organizationsOperations is what there is of the Organizations API, version
// 2016-11-28, in name order.
// https://docs.aws.amazon.com/organizations/latest/APIReference/API_Operations.html
var organizationsOperations = []row{
	{"AttachPolicy", (*organizations.AttachPolicyInput)(nil), (*organizations.AttachPolicyOutput)(nil), writes},
	{"CloseAccount", (*organizations.CloseAccountInput)(nil), (*organizations.CloseAccountOutput)(nil), writes},
	{"CreateAccount", (*organizations.CreateAccountInput)(nil), (*organizations.CreateAccountOutput)(nil), writes},
	{"CreateOrganization", (*organizations.CreateOrganizationInput)(nil), (*organizations.CreateOrganizationOutput)(nil), writes},
	{"CreateOrganizationalUnit", (*organizations.CreateOrganizationalUnitInput)(nil), (*organizations.CreateOrganizationalUnitOutput)(nil), writes},
	{"CreatePolicy", (*organizations.CreatePolicyInput)(nil), (*organizations.CreatePolicyOutput)(nil), writes},
	{"DeleteOrganizationalUnit", (*organizations.DeleteOrganizationalUnitInput)(nil), (*organizations.DeleteOrganizationalUnitOutput)(nil), writes},
	{"DeletePolicy", (*organizations.DeletePolicyInput)(nil), (*organizations.DeletePolicyOutput)(nil), writes},
	{"DescribeAccount", (*organizations.DescribeAccountInput)(nil), (*organizations.DescribeAccountOutput)(nil), reads},
	{"DescribeCreateAccountStatus", (*organizations.DescribeCreateAccountStatusInput)(nil), (*organizations.DescribeCreateAccountStatusOutput)(nil), reads},
	{"DescribeOrganization", (*organizations.DescribeOrganizationInput)(nil), (*organizations.DescribeOrganizationOutput)(nil), reads},
	{"DescribeOrganizationalUnit", (*organizations.DescribeOrganizationalUnitInput)(nil), (*organizations.DescribeOrganizationalUnitOutput)(nil), reads},
	{"DescribePolicy", (*organizations.DescribePolicyInput)(nil), (*organizations.DescribePolicyOutput)(nil), reads},
	{"DetachPolicy", (*organizations.DetachPolicyInput)(nil), (*organizations.DetachPolicyOutput)(nil), writes},
	{"DisablePolicyType", (*organizations.DisablePolicyTypeInput)(nil), (*organizations.DisablePolicyTypeOutput)(nil), writes},
	{"EnablePolicyType", (*organizations.EnablePolicyTypeInput)(nil), (*organizations.EnablePolicyTypeOutput)(nil), writes},
	{"ListAccounts", (*organizations.ListAccountsInput)(nil), (*organizations.ListAccountsOutput)(nil), reads},
	{"ListAccountsForParent", (*organizations.ListAccountsForParentInput)(nil), (*organizations.ListAccountsForParentOutput)(nil), reads},
	{"ListChildren", (*organizations.ListChildrenInput)(nil), (*organizations.ListChildrenOutput)(nil), reads},
	{"ListCreateAccountStatus", (*organizations.ListCreateAccountStatusInput)(nil), (*organizations.ListCreateAccountStatusOutput)(nil), reads},
	{"ListOrganizationalUnitsForParent", (*organizations.ListOrganizationalUnitsForParentInput)(nil), (*organizations.ListOrganizationalUnitsForParentOutput)(nil), reads},
	{"ListParents", (*organizations.ListParentsInput)(nil), (*organizations.ListParentsOutput)(nil), reads},
	{"ListPolicies", (*organizations.ListPoliciesInput)(nil), (*organizations.ListPoliciesOutput)(nil), reads},
	{"ListPoliciesForTarget", (*organizations.ListPoliciesForTargetInput)(nil), (*organizations.ListPoliciesForTargetOutput)(nil), reads},
	{"ListRoots", (*organizations.ListRootsInput)(nil), (*organizations.ListRootsOutput)(nil), reads},
	{"ListTagsForResource", (*organizations.ListTagsForResourceInput)(nil), (*organizations.ListTagsForResourceOutput)(nil), reads},
	{"ListTargetsForPolicy", (*organizations.ListTargetsForPolicyInput)(nil), (*organizations.ListTargetsForPolicyOutput)(nil), reads},
	{"MoveAccount", (*organizations.MoveAccountInput)(nil), (*organizations.MoveAccountOutput)(nil), writes},
	{"TagResource", (*organizations.TagResourceInput)(nil), (*organizations.TagResourceOutput)(nil), writes},
	{"UntagResource", (*organizations.UntagResourceInput)(nil), (*organizations.UntagResourceOutput)(nil), writes},
	{"UpdateOrganizationalUnit", (*organizations.UpdateOrganizationalUnitInput)(nil), (*organizations.UpdateOrganizationalUnitOutput)(nil), writes},
	{"UpdatePolicy", (*organizations.UpdatePolicyInput)(nil), (*organizations.UpdatePolicyOutput)(nil), writes},
}
