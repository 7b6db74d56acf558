package policy

import (
	"errors"
	"strings"
)

// KeyType is the type of a condition key's values.
type KeyType string

const (
	StringKey    KeyType = "String"
	ARNKey       KeyType = "ARN"
	NumericKey   KeyType = "Numeric"
	DateKey      KeyType = "Date"
	BoolKey      KeyType = "Bool"
	IPAddressKey KeyType = "IPAddress"
)

// KeyInfo is what is known of a condition key.
type KeyInfo struct {
	Name  string // as AWS spells it, without the parameter: kms:EncryptionContext
	Type  KeyType
	Multi bool // may have several values at once
	// Parameter is what divides the name from the part that the policy's author
	// chooses, ":" or "/"; empty for keys without such a part.
	Parameter string
}

// KnownKeys are the condition keys of KMS, the global ones, and those of IAM and
// STS that this system has. Others may stand in policies too.
// https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html
var KnownKeys = []KeyInfo{
	{Name: "kms:BypassPolicyLockoutSafetyCheck", Type: BoolKey},
	{Name: "kms:CallerAccount", Type: StringKey},
	{Name: "kms:CustomerMasterKeySpec", Type: StringKey},
	{Name: "kms:CustomerMasterKeyUsage", Type: StringKey},
	{Name: "kms:DataKeyPairSpec", Type: StringKey},
	{Name: "kms:EncryptionAlgorithm", Type: StringKey},
	{Name: "kms:EncryptionContext", Type: StringKey, Parameter: ":"},
	{Name: "kms:EncryptionContextKeys", Type: StringKey, Multi: true},
	{Name: "kms:ExpirationModel", Type: StringKey},
	{Name: "kms:GrantConstraintSourceArn", Type: ARNKey},
	{Name: "kms:GrantConstraintType", Type: StringKey},
	{Name: "kms:GrantIsForAWSResource", Type: BoolKey},
	{Name: "kms:GrantOperations", Type: StringKey, Multi: true},
	{Name: "kms:GranteePrincipal", Type: StringKey},
	{Name: "kms:GranteeServicePrincipal", Type: StringKey},
	{Name: "kms:KeyAgreementAlgorithm", Type: StringKey},
	{Name: "kms:KeyOrigin", Type: StringKey},
	{Name: "kms:KeySpec", Type: StringKey},
	{Name: "kms:KeyUsage", Type: StringKey},
	{Name: "kms:MacAlgorithm", Type: StringKey},
	{Name: "kms:MessageType", Type: StringKey},
	{Name: "kms:MultiRegion", Type: BoolKey},
	{Name: "kms:MultiRegionKeyType", Type: StringKey},
	{Name: "kms:PrimaryRegion", Type: StringKey},
	{Name: "kms:ReEncryptOnSameKey", Type: BoolKey},
	{Name: "kms:RecipientAttestation", Type: StringKey, Parameter: ":"},
	{Name: "kms:ReplicaRegion", Type: StringKey},
	{Name: "kms:RequestAlias", Type: StringKey},
	{Name: "kms:ResourceAliases", Type: StringKey, Multi: true},
	{Name: "kms:RetiringPrincipal", Type: StringKey},
	{Name: "kms:RetiringServicePrincipal", Type: StringKey},
	{Name: "kms:RotationPeriodInDays", Type: NumericKey},
	{Name: "kms:ScheduleKeyDeletionPendingWindowInDays", Type: NumericKey},
	{Name: "kms:SigningAlgorithm", Type: StringKey},
	{Name: "kms:TrailingDaysWithoutKeyUsage", Type: NumericKey},
	{Name: "kms:ValidTo", Type: DateKey},
	{Name: "kms:ViaService", Type: StringKey},
	{Name: "kms:WrappingAlgorithm", Type: StringKey},
	{Name: "kms:WrappingKeySpec", Type: StringKey},
	{Name: "kms:EncapsulationAlgorithm", Type: StringKey},
	{Name: "aws:PrincipalArn", Type: ARNKey},
	{Name: "aws:PrincipalAccount", Type: StringKey},
	{Name: "aws:PrincipalOrgID", Type: StringKey},
	{Name: "aws:PrincipalOrgPaths", Type: StringKey, Multi: true},
	{Name: "aws:PrincipalTag", Type: StringKey, Parameter: "/"},
	{Name: "aws:PrincipalType", Type: StringKey},
	{Name: "aws:PrincipalIsAWSService", Type: BoolKey},
	{Name: "aws:PrincipalServiceName", Type: StringKey},
	{Name: "aws:PrincipalServiceNamesList", Type: StringKey, Multi: true},
	{Name: "aws:userid", Type: StringKey},
	{Name: "aws:username", Type: StringKey},
	{Name: "aws:AssumedRoot", Type: BoolKey},
	{Name: "aws:FederatedProvider", Type: StringKey},
	{Name: "aws:TokenIssueTime", Type: DateKey},
	{Name: "aws:MultiFactorAuthPresent", Type: BoolKey},
	{Name: "aws:MultiFactorAuthAge", Type: NumericKey},
	{Name: "aws:SourceIdentity", Type: StringKey},
	{Name: "aws:Ec2InstanceSourceVpc", Type: StringKey},
	{Name: "aws:Ec2InstanceSourcePrivateIPv4", Type: IPAddressKey},
	{Name: "ec2:RoleDelivery", Type: NumericKey},
	{Name: "aws:SignInSessionArn", Type: ARNKey},
	{Name: "aws:SourceIp", Type: IPAddressKey},
	{Name: "aws:VpcSourceIp", Type: IPAddressKey},
	{Name: "aws:SourceVpc", Type: StringKey},
	{Name: "aws:SourceVpce", Type: StringKey},
	{Name: "aws:SourceVpcArn", Type: ARNKey},
	{Name: "aws:VpceAccount", Type: StringKey},
	{Name: "aws:VpceOrgID", Type: StringKey},
	{Name: "aws:VpceOrgPaths", Type: StringKey, Multi: true},
	{Name: "aws:ResourceAccount", Type: StringKey},
	{Name: "aws:ResourceOrgID", Type: StringKey},
	{Name: "aws:ResourceOrgPaths", Type: StringKey, Multi: true},
	{Name: "aws:ResourceTag", Type: StringKey, Parameter: "/"},
	{Name: "aws:RequestTag", Type: StringKey, Parameter: "/"},
	{Name: "aws:TagKeys", Type: StringKey, Multi: true},
	{Name: "aws:CalledVia", Type: StringKey, Multi: true},
	{Name: "aws:CalledViaFirst", Type: StringKey},
	{Name: "aws:CalledViaLast", Type: StringKey},
	{Name: "aws:ViaAWSService", Type: BoolKey},
	{Name: "aws:CurrentTime", Type: DateKey},
	{Name: "aws:EpochTime", Type: DateKey},
	{Name: "aws:referer", Type: StringKey},
	{Name: "aws:RequestedRegion", Type: StringKey},
	{Name: "aws:SecureTransport", Type: BoolKey},
	{Name: "aws:SourceAccount", Type: StringKey},
	{Name: "aws:SourceArn", Type: ARNKey},
	{Name: "aws:SourceOrgID", Type: StringKey},
	{Name: "aws:SourceOrgPaths", Type: StringKey, Multi: true},
	{Name: "aws:UserAgent", Type: StringKey},
	{Name: "aws:IsMcpServiceAction", Type: BoolKey},
	{Name: "aws:ViaAWSMCPService", Type: BoolKey},
	{Name: "aws:CalledViaAWSMCP", Type: StringKey},
	{Name: "aws:ChatbotSourceArn", Type: ARNKey},
	{Name: "aws:ViaCustomerDomain", Type: BoolKey},
	{Name: "iam:AWSServiceName", Type: StringKey},
	{Name: "iam:AssociatedResourceArn", Type: ARNKey},
	{Name: "iam:OrganizationsPolicyId", Type: StringKey},
	{Name: "iam:PassedToService", Type: StringKey},
	{Name: "iam:PermissionsBoundary", Type: ARNKey},
	{Name: "iam:PolicyARN", Type: ARNKey},
	{Name: "iam:ResourceTag", Type: StringKey, Parameter: "/"},
	{Name: "organizations:PolicyType", Type: StringKey},
	{Name: "organizations:ServicePrincipal", Type: StringKey},
	{Name: "sts:AWSServiceName", Type: StringKey},
	{Name: "sts:DurationSeconds", Type: NumericKey},
	{Name: "sts:ExternalId", Type: StringKey},
	{Name: "sts:RoleSessionName", Type: StringKey},
	{Name: "sts:SourceIdentity", Type: StringKey},
	{Name: "sts:TransitiveTagKeys", Type: StringKey, Multi: true},
}

var (
	keysByName = map[string]*KeyInfo{}
	// keysWithParameter are those that have one, few enough to be tried in turn.
	keysWithParameter []*KeyInfo
)

func init() {
	for i := range KnownKeys {
		k := &KnownKeys[i]
		keysByName[strings.ToLower(k.Name)] = k
		if k.Parameter != "" {
			keysWithParameter = append(keysWithParameter, k)
		}
	}
}

// Info is what is known of the key; false for one that is not in KnownKeys.
func (k *ConditionKey) Info() (KeyInfo, bool) {
	if info := keysByName[k.Name]; info != nil {
		return *info, true
	}
	return KeyInfo{}, false
}

// ParseConditionKey reads the name of a condition key as policies and the
// ContextEntries of simulations write it. A key that is not known is all name.
func ParseConditionKey(written string) (ConditionKey, error) {
	if vendor, name, ok := strings.Cut(written, ":"); !ok || vendor == "" || name == "" {
		// The words are IAM's.
		return ConditionKey{}, errors.New("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
	}
	name := strings.ToLower(written)
	for _, k := range keysWithParameter {
		n := len(k.Name)
		if len(name) < n || len(written) < n || !strings.EqualFold(written[:n], k.Name) {
			continue
		}
		parameter, ok := strings.CutPrefix(written[n:], k.Parameter)
		if ok && parameter != "" {
			return ConditionKey{Name: strings.ToLower(k.Name), Parameter: parameter}, nil
		}
		if ok || written[n:] == "" {
			return ConditionKey{}, errors.New("The condition key " + k.Name + " must say which one, as in " + k.Name + k.Parameter + "NAME")
		}
	}
	return ConditionKey{Name: name}, nil
}
