package organizations_test

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/google/uuid"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/datadir"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/organizations"
)

const management = "111122223333"

// world is the organization of a real data folder with the engine that decides by
// it. Calls go to the handlers, so that any principal can make them.
type world struct {
	t         *testing.T
	data      *datadir.Dir
	engine    *authz.Engine
	service   *organizations.Service
	directory directory
	now       time.Time
	root      string
}

// directory is the authz.Directory as the server puts it together.
type directory struct {
	*iam.Directory
	organization *organizations.Directory
}

func (d directory) Membership(ctx context.Context, account string) (*authz.Membership, error) {
	return d.organization.Membership(ctx, account)
}

// openFolder is a data folder as versions without organizations left it.
func openFolder(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	data, err := datadir.Open(ctx, t.TempDir(), datadir.Options{
		Clock: clock.NewManual(w.now), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		JournalSegmentSize: 2 << 20, NoRecovery: true, Root: iam.RootCredentials{Account: management},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { data.Close("the test ended") })
	w.data = data
	w.directory = directory{iam.NewDirectory(data.Store), organizations.NewDirectory(data.Store)}
	w.engine = authz.New(w.directory)
	w.service = organizations.New(organizations.Config{Store: data.Store, Trail: data.Trail, Authorize: w.engine})
	return w
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := openFolder(t)
	if err := organizations.Ensure(ctx, w.data.Store, w.now); err != nil {
		t.Fatal(err)
	}
	w.root = *do[*sdk.ListRootsOutput](w, "ListRoots", &sdk.ListRootsInput{}).Roots[0].Id
	return w
}

func rootOf(account string) api.Principal {
	return api.Principal{Type: api.Root, ID: account, Account: account, ARN: iam.RootARN(account)}
}

func (w *world) callAs(caller api.Principal, operation string, in any) (any, error) {
	call := &api.Call{Service: "organizations", Operation: operation, Region: "us-east-1", Caller: caller,
		RequestID: uuid.NewString(), EventID: uuid.NewString(), Time: w.now, Input: in}
	return w.service.Handlers()[operation](ctx, call, in)
}

// do calls as the root of the management account.
func do[Out any](w *world, operation string, in any) Out {
	w.t.Helper()
	out, err := w.callAs(rootOf(management), operation, in)
	if err != nil {
		w.t.Fatalf("%s: %v", operation, err)
	}
	return out.(Out)
}

func (w *world) account(name string) string {
	w.t.Helper()
	out := do[*sdk.CreateAccountOutput](w, "CreateAccount", &sdk.CreateAccountInput{AccountName: &name, Email: aws.String(name + "@example.com")})
	return *out.CreateAccountStatus.AccountId
}

func (w *world) unit(parent, name string) string {
	w.t.Helper()
	return *do[*sdk.CreateOrganizationalUnitOutput](w, "CreateOrganizationalUnit", &sdk.CreateOrganizationalUnitInput{ParentId: &parent, Name: &name}).OrganizationalUnit.Id
}

func (w *world) policy(name, content string) string {
	w.t.Helper()
	return *do[*sdk.CreatePolicyOutput](w, "CreatePolicy", &sdk.CreatePolicyInput{Name: &name, Description: aws.String(""), Type: scp, Content: &content}).Policy.PolicySummary.Id
}

func (w *world) attach(policy, target string) {
	w.t.Helper()
	do[*sdk.AttachPolicyOutput](w, "AttachPolicy", &sdk.AttachPolicyInput{PolicyId: &policy, TargetId: &target})
}

func (w *world) detach(policy, target string) {
	w.t.Helper()
	do[*sdk.DetachPolicyOutput](w, "DetachPolicy", &sdk.DetachPolicyInput{PolicyId: &policy, TargetId: &target})
}

func (w *world) move(account, from, to string) {
	w.t.Helper()
	do[*sdk.MoveAccountOutput](w, "MoveAccount", &sdk.MoveAccountInput{AccountId: &account, SourceParentId: &from, DestinationParentId: &to})
}

func (w *world) membership(account string) *authz.Membership {
	w.t.Helper()
	m, err := w.directory.Membership(ctx, account)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// denied asks whether the root of an account may call KMS; the answer is the
// denial's reason, or "".
func (w *world) denied(account string) string {
	w.t.Helper()
	call := &api.Call{Service: "kms", Operation: "CreateKey", Region: "eu-central-1", Caller: rootOf(account), Time: w.now}
	d, err := w.engine.Decide(ctx, call, &authz.Request{Action: "kms:CreateKey", Resource: "*", Account: account})
	if err != nil {
		w.t.Fatal(err)
	}
	if d.Allowed {
		return ""
	}
	return d.Reason("kms:CreateKey")
}

// TestOldFolder: a folder of a version without organizations gets one, with the
// account that it has as the management account.
func TestOldFolder(t *testing.T) {
	w := openFolder(t)
	if m := w.membership(management); m.OrgID != "" {
		t.Fatalf("the folder has an organization already: %+v", m)
	}
	if err := organizations.Ensure(ctx, w.data.Store, w.now); err != nil {
		t.Fatal(err)
	}
	first := w.membership(management)
	if first.OrgID == "" || first.Suspended || first.Control != nil || !strings.HasPrefix(first.Path, first.OrgID+"/r-") {
		t.Errorf("membership of the management account %+v", first)
	}
	if err := organizations.Ensure(ctx, w.data.Store, w.now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	again, err := organizations.NewDirectory(w.data.Store).Membership(ctx, management)
	if err != nil || again.OrgID != first.OrgID || again.Path != first.Path {
		t.Errorf("a second time made %+v out of %+v, %v", again, first, err)
	}
}

// TestAccessRole: a new account can be entered from the management account.
func TestAccessRole(t *testing.T) {
	w := newWorld(t)
	named := do[*sdk.CreateAccountOutput](w, "CreateAccount", &sdk.CreateAccountInput{AccountName: aws.String("b"), Email: aws.String("b@example.com"), RoleName: aws.String("Door")})
	for account, name := range map[string]string{w.account("a"): "OrganizationAccountAccessRole", *named.CreateAccountStatus.AccountId: "Door"} {
		role, err := w.directory.Role(ctx, "arn:aws:iam::"+account+":role/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if role.MaxSessionDuration != time.Hour {
			t.Errorf("sessions of up to %s", role.MaxSessionDuration)
		}
		assume := &api.Call{Service: "sts", Operation: "AssumeRole", Caller: rootOf(management), Time: w.now}
		other := &api.Call{Service: "sts", Operation: "AssumeRole", Caller: rootOf("444455556666"), Time: w.now}
		for call, want := range map[*api.Call]bool{assume: true, other: false} {
			d, err := w.engine.Decide(ctx, call, &authz.Request{Action: "sts:AssumeRole", Resource: role.ARN, Account: account, Policy: role.Trust})
			if err != nil || d.Allowed != want {
				t.Errorf("%s assumes %s: %+v, %v", call.Caller.ARN, role.ARN, d, err)
			}
		}
		session := api.Principal{Type: api.AssumedRole, ID: role.ID + ":s", Account: account, ARN: "arn:aws:sts::" + account + ":assumed-role/" + name + "/s",
			Session: &api.Session{RoleARN: role.ARN, RoleID: role.ID, RoleName: name, Name: "s"}}
		inside := &api.Call{Service: "iam", Operation: "CreateUser", Caller: session, Time: w.now}
		if d, err := w.engine.Decide(ctx, inside, &authz.Request{Action: "iam:CreateUser", Resource: "*", Account: account}); err != nil || !d.Allowed {
			t.Errorf("a session of %s is no administrator: %+v, %v", role.ARN, d, err)
		}
	}
}

// TestControl: policies bear on the accounts below what they are attached to, from
// the next decision on, and never on the management account.
func TestControl(t *testing.T) {
	w := newWorld(t)
	const explicit, silent = "with an explicit deny in a service control policy", "because no service control policy allows the kms:CreateKey action"
	account, outer := w.account("member"), w.unit(w.root, "outer")
	inner := w.unit(outer, "inner")
	deny, allow := w.policy("deny", denyKMS), w.policy("allow", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"*"}]}`)
	expect := func(what, want string) {
		t.Helper()
		if got := w.denied(account); got != want && (want == "" || !strings.HasPrefix(got, want)) {
			t.Errorf("%s: denied %q, want %q", what, got, want)
		}
		if got := w.denied(management); got != "" {
			t.Errorf("%s: the management account is denied: %q", what, got)
		}
	}
	path := func(want string) {
		t.Helper()
		if m := w.membership(account); m.Path != m.OrgID+"/"+want {
			t.Errorf("path %q, want …%q", m.Path, want)
		}
	}
	expect("disabled", "")
	do[*sdk.EnablePolicyTypeOutput](w, "EnablePolicyType", &sdk.EnablePolicyTypeInput{RootId: &w.root, PolicyType: scp})
	expect("enabled", "")
	path(w.root + "/")

	w.attach(deny, account)
	expect("denied at the account", explicit+": arn:aws:organizations::"+management+":policy/")
	w.detach(deny, account)
	expect("detached", "")
	w.attach(deny, w.root)
	expect("denied at the root", explicit)
	w.detach(deny, w.root)

	w.attach(deny, outer)
	expect("denied elsewhere", "")
	w.move(account, w.root, inner)
	path(w.root + "/" + outer + "/" + inner + "/")
	expect("moved below the denial", explicit)
	do[*sdk.UpdatePolicyOutput](w, "UpdatePolicy", &sdk.UpdatePolicyInput{PolicyId: &deny, Content: aws.String(allowKMS)})
	expect("the policy allows now", "")

	w.attach(allow, inner)
	w.detach(fullID, inner)
	expect("nothing allows at one level", silent)
	w.attach(fullID, inner)
	w.detach(allow, inner)
	expect("each level allows", "")

	do[*sdk.UpdatePolicyOutput](w, "UpdatePolicy", &sdk.UpdatePolicyInput{PolicyId: &deny, Content: aws.String(denyKMS)})
	expect("denied again", explicit)
	do[*sdk.DisablePolicyTypeOutput](w, "DisablePolicyType", &sdk.DisablePolicyTypeInput{RootId: &w.root, PolicyType: scp})
	expect("disabled again", "")
}

func TestSuspended(t *testing.T) {
	w := newWorld(t)
	account := w.account("member")
	if w.membership(account).Suspended {
		t.Fatal("suspended from the beginning")
	}
	do[*sdk.CloseAccountOutput](w, "CloseAccount", &sdk.CloseAccountInput{AccountId: &account})
	if !w.membership(account).Suspended || w.denied(account) == "" {
		t.Error("a closed account is of use")
	}
}

// TestMembers: only the management account may do more than look at the
// organization, whatever its policies say.
func TestMembers(t *testing.T) {
	w := newWorld(t)
	member := rootOf(w.account("member"))
	out, err := w.callAs(member, "DescribeOrganization", &sdk.DescribeOrganizationInput{})
	if err != nil || *out.(*sdk.DescribeOrganizationOutput).Organization.MasterAccountId != management {
		t.Errorf("DescribeOrganization of a member: %v, %v", out, err)
	}
	name, email := "x", "x@example.com"
	for operation, in := range map[string]any{
		"ListAccounts":  &sdk.ListAccountsInput{},
		"CreateAccount": &sdk.CreateAccountInput{AccountName: &name, Email: &email},
		"CloseAccount":  &sdk.CloseAccountInput{AccountId: &member.Account},
		"ListRoots":     &sdk.ListRootsInput{},
		"TagResource":   &sdk.TagResourceInput{ResourceId: &member.Account},
	} {
		_, err := w.callAs(member, operation, in)
		if !awserr.Is(err, awserr.AccessDenied) || !strings.Contains(err.Error(), "You don't have permissions to access this resource.") {
			t.Errorf("%s of a member: %v", operation, err)
		}
	}
	if _, err := w.callAs(member, "CreateOrganization", &sdk.CreateOrganizationInput{}); !awserr.Is(err, awserr.AlreadyInOrganization) {
		t.Errorf("CreateOrganization of a member: %v", err)
	}
	for _, operation := range []string{"DescribeOrganization", "ListRoots"} {
		in := map[string]any{"DescribeOrganization": &sdk.DescribeOrganizationInput{}, "ListRoots": &sdk.ListRootsInput{}}[operation]
		if _, err := w.callAs(rootOf("444455556666"), operation, in); !awserr.Is(err, awserr.AWSOrganizationsNotInUse) {
			t.Errorf("%s of an account outside: %v", operation, err)
		}
	}
	// Without a policy nobody may do anything, and the denial names the resource.
	nobody := api.Principal{Type: api.IAMUser, ID: "AIDAXXXXXXXXXXXXXXXXX", Account: management, ARN: "arn:aws:iam::" + management + ":user/nobody"}
	m := w.membership(management)
	unit := w.unit(w.root, "unit")
	policy := w.policy("p", denyKMS)
	for _, c := range []struct {
		operation string
		in        any
		resource  string
	}{
		{"CreateAccount", &sdk.CreateAccountInput{AccountName: &name, Email: &email}, "*"},
		{"DescribeOrganization", &sdk.DescribeOrganizationInput{}, "*"},
		{"ListRoots", &sdk.ListRootsInput{}, "*"},
		{"DescribeAccount", &sdk.DescribeAccountInput{AccountId: &member.Account}, "account/" + m.OrgID + "/" + member.Account},
		{"DescribeOrganizationalUnit", &sdk.DescribeOrganizationalUnitInput{OrganizationalUnitId: &unit}, "ou/" + m.OrgID + "/" + unit},
		{"EnablePolicyType", &sdk.EnablePolicyTypeInput{RootId: &w.root, PolicyType: scp}, "root/" + m.OrgID + "/" + w.root},
		{"AttachPolicy", &sdk.AttachPolicyInput{PolicyId: &policy, TargetId: &w.root}, "policy/" + m.OrgID + "/service_control_policy/" + policy},
	} {
		if c.resource != "*" {
			c.resource = "arn:aws:organizations::" + management + ":" + c.resource
		}
		want := "is not authorized to perform: organizations:" + c.operation + " on resource: " + c.resource + " because no identity-based policy allows"
		if _, err := w.callAs(nobody, c.operation, c.in); !awserr.Is(err, awserr.AccessDenied) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", c.operation, err, want)
		}
	}
}

// TestNeverStale has decisions made all the time while policies come and go: after
// an acknowledged change none goes by what was before.
func TestNeverStale(t *testing.T) {
	w := newWorld(t)
	do[*sdk.EnablePolicyTypeOutput](w, "EnablePolicyType", &sdk.EnablePolicyTypeInput{RootId: &w.root, PolicyType: scp})
	account, deny := w.account("member"), w.policy("deny", denyKMS)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					w.denied(account)
				}
			}
		})
	}
	for i := range 50 {
		w.attach(deny, account)
		if w.denied(account) == "" {
			t.Errorf("round %d: allowed after the denial was attached", i)
		}
		do[*sdk.UpdatePolicyOutput](w, "UpdatePolicy", &sdk.UpdatePolicyInput{PolicyId: &deny, Content: aws.String(allowKMS)})
		if reason := w.denied(account); reason != "" {
			t.Errorf("round %d: denied after the policy was changed: %s", i, reason)
		}
		do[*sdk.UpdatePolicyOutput](w, "UpdatePolicy", &sdk.UpdatePolicyInput{PolicyId: &deny, Content: aws.String(denyKMS)})
		if w.denied(account) == "" {
			t.Errorf("round %d: allowed after the policy was changed back", i)
		}
		w.detach(deny, account)
		if reason := w.denied(account); reason != "" {
			t.Errorf("round %d: denied after detaching: %s", i, reason)
		}
	}
	close(stop)
	readers.Wait()
}

func TestMembershipAllocatesNothing(t *testing.T) {
	w := newWorld(t)
	account := w.account("member")
	w.membership(account)
	if n := testing.AllocsPerRun(100, func() { w.directory.Membership(ctx, account) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
