package authz

import (
	"net/netip"
	"strings"
	"time"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/policy"
)

// values are the condition keys of a request: the global ones from the call, the
// caller and the accounts, the others from the service.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
type values struct {
	call     *api.Call
	req      *Request
	caller   *policy.Caller
	identity *Identity
	member   *Membership // of the caller's account
	owner    *Membership // of the resource's account
}

// Value implements policy.Context.
func (v *values) Value(k *policy.ConditionKey) policy.Value {
	p, s := &v.call.Caller, v.call.Caller.Session
	service := p.Type == api.AWSService
	switch k.Name {
	// Of the principal.
	case "aws:principalarn":
		return policy.OptionalText(v.caller.PrincipalARN)
	case "aws:principalaccount":
		return policy.OptionalText(p.Account)
	case "aws:principalorgid":
		return policy.OptionalText(v.member.OrgID)
	case "aws:principalorgpaths":
		return path(v.member)
	case "aws:principaltag":
		return v.principalTag(k.Parameter)
	case "aws:principaltype":
		return policy.OptionalText(principalTypes[p.Type])
	case "aws:principalisawsservice":
		return policy.Bool(service)
	case "aws:principalservicename":
		return policy.OptionalText(v.caller.Service)
	case "aws:principalservicenameslist":
		if service {
			return policy.Texts([]string{v.caller.Service})
		}
		return policy.Absent
	case "aws:userid":
		return policy.OptionalText(p.ID)
	case "aws:username":
		return policy.OptionalText(p.UserName)

	// Of the session.
	case "aws:federatedprovider":
		if s == nil {
			return policy.Absent
		}
		return policy.OptionalText(s.Federated)
	case "aws:tokenissuetime":
		if s == nil || s.Issued.IsZero() {
			return policy.Absent
		}
		return policy.Time(s.Issued)
	case "aws:multifactorauthpresent":
		if !v.call.MFA.IsZero() {
			return policy.Bool(true)
		}
		if s == nil || s.Issued.IsZero() {
			return policy.Absent
		}
		return policy.Bool(!s.MFA.IsZero())
	case "aws:multifactorauthage":
		if !v.call.MFA.IsZero() {
			return policy.Number(0)
		}
		if s == nil || s.MFA.IsZero() {
			return policy.Absent
		}
		return policy.Number(int64(v.call.Time.Sub(s.MFA) / time.Second))
	case "aws:sourceidentity":
		if s == nil {
			return policy.Absent
		}
		return policy.OptionalText(s.SourceIdentity)

	// Of the network.
	case "aws:sourceip":
		ip, err := netip.ParseAddr(v.call.SourceIP)
		if err != nil {
			return policy.Absent
		}
		return policy.IP(ip.Unmap())

	// Of the resource.
	case "aws:resourceaccount":
		return policy.OptionalText(v.req.Account)
	case "aws:resourceorgid":
		return policy.OptionalText(v.owner.OrgID)
	case "aws:resourceorgpaths":
		return path(v.owner)

	// Of the request.
	case "aws:calledvia":
		return policy.Texts(v.call.CalledVia)
	case "aws:calledviafirst":
		if len(v.call.CalledVia) == 0 {
			return policy.Absent
		}
		return policy.Text(v.call.CalledVia[0])
	case "aws:calledvialast":
		if len(v.call.CalledVia) == 0 {
			return policy.Absent
		}
		return policy.Text(v.call.CalledVia[len(v.call.CalledVia)-1])
	case "aws:viaawsservice":
		return policy.Bool(v.call.Via != "")
	case "aws:currenttime", "aws:epochtime":
		return policy.Time(v.call.Time)
	case "aws:referer":
		return policy.OptionalText(v.call.Referer)
	case "aws:requestedregion":
		return policy.OptionalText(v.call.Region)
	case "aws:securetransport":
		return policy.Bool(v.call.TLS != nil)
	case "aws:sourceaccount":
		return policy.OptionalText(v.call.SourceAccount)
	case "aws:sourcearn":
		return policy.OptionalText(v.call.SourceARN)
	case "aws:useragent":
		return policy.OptionalText(v.call.UserAgent)
	}
	if s != nil {
		if claim, ok := s.Claims[k.Name]; ok {
			if len(claim) == 1 { // which can stand for a policy variable
				return policy.Text(claim[0])
			}
			return policy.Texts(claim)
		}
	}
	if v.req.Values != nil {
		return v.req.Values.Value(k)
	}
	return policy.Absent
}

// principalTypes are the words of aws:PrincipalType.
var principalTypes = map[api.PrincipalType]string{
	api.Root: "Account", api.IAMUser: "User", api.AssumedRole: "AssumedRole", api.WebIdentityUser: "FederatedUser",
}

// principalTag is a session tag, or else a tag of the user or role.
func (v *values) principalTag(key string) policy.Value {
	if s := v.call.Caller.Session; s != nil {
		if value := TagValue(s.Tags, key); !value.IsAbsent() {
			return value
		}
	}
	return TagValue(v.identity.Tags, key)
}

// TagValue is the value of the tag whose key is key, without regard to case.
func TagValue(tags []api.Tag, key string) policy.Value {
	for _, t := range tags {
		if strings.EqualFold(t.Key, key) {
			return policy.Text(t.Value)
		}
	}
	return policy.Absent
}

func path(m *Membership) policy.Value {
	if m.Path == "" {
		return policy.Absent
	}
	return policy.Texts([]string{m.Path})
}
