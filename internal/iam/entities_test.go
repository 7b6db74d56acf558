package iam_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/kagimoritest"
)

const (
	kmsPowerUser = "arn:aws:iam::aws:policy/AWSKeyManagementServicePowerUser"
	readOnly     = "arn:aws:iam::aws:policy/ReadOnlyAccess"
)

// Who renames or moves needs the permission on what it is and on what it becomes.
func TestRenameAsksForBothNames(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	user, _ := newUser(t, srv, "renamer")
	policyOf(t, srv, "renamer", `{"Effect":"Allow","Action":["iam:UpdateUser","iam:UpdateGroup"],"Resource":["arn:aws:iam::*:user/team/*","arn:aws:iam::*:group/team/*"]}`)
	apitest.Must[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("bob"), Path: aws.String("/team/")}))
	apitest.Must[*sdk.CreateGroupOutput](t)(c.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: aws.String("crew"), Path: aws.String("/team/")}))
	const denied = "User: arn:aws:iam::" + account + ":user/renamer is not authorized to perform: iam:%s on resource: arn:aws:iam::" + account + ":%s because no identity-based policy allows the iam:%[1]s action"

	_, err := user.IAM().UpdateUser(ctx, &sdk.UpdateUserInput{UserName: aws.String("bob"), NewPath: aws.String("/admins/")})
	apitest.WantError(t, err, "AccessDenied", fmt.Sprintf(denied, "UpdateUser", "user/admins/bob"))
	_, err = user.IAM().UpdateGroup(ctx, &sdk.UpdateGroupInput{GroupName: aws.String("crew"), NewGroupName: aws.String("chiefs"), NewPath: aws.String("/admins/")})
	apitest.WantError(t, err, "AccessDenied", fmt.Sprintf(denied, "UpdateGroup", "group/admins/chiefs"))
	if got := *apitest.Must[*sdk.GetUserOutput](t)(c.GetUser(ctx, &sdk.GetUserInput{UserName: aws.String("bob")})).User.Arn; !strings.HasSuffix(got, ":user/team/bob") {
		t.Errorf("a denied call moved the user to %s", got)
	}

	_, err = user.IAM().UpdateUser(ctx, &sdk.UpdateUserInput{UserName: aws.String("bob"), NewUserName: aws.String("robert"), NewPath: aws.String("/team/lead/")})
	apitest.OK(t, err)
	_, err = user.IAM().UpdateGroup(ctx, &sdk.UpdateGroupInput{GroupName: aws.String("crew"), NewGroupName: aws.String("chiefs")})
	apitest.OK(t, err)
	if got := *apitest.Must[*sdk.GetUserOutput](t)(c.GetUser(ctx, &sdk.GetUserInput{UserName: aws.String("robert")})).User.Arn; !strings.HasSuffix(got, ":user/team/lead/robert") {
		t.Errorf("the user is %s", got)
	}
}

func tags(pairs ...string) (out []types.Tag) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
	}
	return out
}

// Tag keys of users and roles are the same without regard to case, those of
// policies are not.
func TestTagKeys(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	name := aws.String("x")
	apitest.Must[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: name}))
	apitest.Must[*sdk.CreateRoleOutput](t)(c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trustRoot)}))
	arn := apitest.Must[*sdk.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: name, PolicyDocument: aws.String(allowList)})).Policy.Arn
	for _, k := range []struct {
		name  string
		tag   func([]types.Tag) error
		untag func(...string) error
		list  func() []types.Tag
		after []string // Department=finance, then department=hr
	}{
		{"user", func(tags []types.Tag) error {
			_, err := c.TagUser(ctx, &sdk.TagUserInput{UserName: name, Tags: tags})
			return err
		}, func(keys ...string) error {
			_, err := c.UntagUser(ctx, &sdk.UntagUserInput{UserName: name, TagKeys: keys})
			return err
		}, func() []types.Tag {
			return apitest.Must[*sdk.ListUserTagsOutput](t)(c.ListUserTags(ctx, &sdk.ListUserTagsInput{UserName: name})).Tags
		}, []string{"department=hr"}},
		{"role", func(tags []types.Tag) error {
			_, err := c.TagRole(ctx, &sdk.TagRoleInput{RoleName: name, Tags: tags})
			return err
		}, func(keys ...string) error {
			_, err := c.UntagRole(ctx, &sdk.UntagRoleInput{RoleName: name, TagKeys: keys})
			return err
		}, func() []types.Tag {
			return apitest.Must[*sdk.ListRoleTagsOutput](t)(c.ListRoleTags(ctx, &sdk.ListRoleTagsInput{RoleName: name})).Tags
		}, []string{"department=hr"}},
		{"policy", func(tags []types.Tag) error {
			_, err := c.TagPolicy(ctx, &sdk.TagPolicyInput{PolicyArn: arn, Tags: tags})
			return err
		}, func(keys ...string) error {
			_, err := c.UntagPolicy(ctx, &sdk.UntagPolicyInput{PolicyArn: arn, TagKeys: keys})
			return err
		}, func() []types.Tag {
			return apitest.Must[*sdk.ListPolicyTagsOutput](t)(c.ListPolicyTags(ctx, &sdk.ListPolicyTagsInput{PolicyArn: arn})).Tags
		}, []string{"Department=finance", "department=hr"}},
	} {
		t.Run(k.name, func(t *testing.T) {
			texts := func() (out []string) {
				for _, tag := range k.list() {
					out = append(out, *tag.Key+"="+*tag.Value)
				}
				return out
			}
			apitest.OK(t, k.tag(tags("Department", "finance")))
			apitest.OK(t, k.tag(tags("department", "hr")))
			if got := texts(); !slices.Equal(got, k.after) {
				t.Errorf("tags %v, want %v", got, k.after)
			}
			apitest.OK(t, k.untag("DEPARTMENT"))
			if k.name == "policy" {
				if got := texts(); !slices.Equal(got, k.after) {
					t.Errorf("a key in another case removed a tag: %v", got)
				}
				apitest.OK(t, k.untag("Department", "department"))
			}
			if got := texts(); len(got) != 0 {
				t.Errorf("tags %v are left", got)
			}
			apitest.WantError(t, k.tag(tags("AWS:x", "")), "InvalidInput")
			apitest.WantError(t, k.tag(tags("a", "1", "a", "2")), "InvalidInput")
			var many []string
			for i := range 50 {
				many = append(many, fmt.Sprintf("k%02d", i), "v")
			}
			apitest.OK(t, k.tag(tags(many...)))
			apitest.WantError(t, k.tag(tags("one-more", "v")), "LimitExceeded")
			apitest.OK(t, k.tag(tags("k00", "other"))) // a new value is no new tag
		})
	}
	pages := 0
	for marker := (*string)(nil); pages == 0 || marker != nil; pages++ {
		out := apitest.Must[*sdk.ListUserTagsOutput](t)(c.ListUserTags(ctx, &sdk.ListUserTagsInput{UserName: name, MaxItems: aws.Int32(20), Marker: marker}))
		marker = out.Marker
	}
	if pages != 3 {
		t.Errorf("50 tags are %d pages of 20", pages)
	}
}

// What names and documents IAM takes.
func TestNamesAndDocuments(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	name := aws.String("x")
	apitest.Must[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: name}))
	apitest.Must[*sdk.CreateGroupOutput](t)(c.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: name}))
	apitest.Must[*sdk.CreateRoleOutput](t)(c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trustRoot)}))

	for _, tt := range []struct{ name, path, code string }{
		{strings.Repeat("n", 64), "/", ""},
		{strings.Repeat("n", 65), "/", "ValidationError"},
		{"a+b=c,d.e@f_g-h", "/a/b/", ""},
		{"a b", "/", "ValidationError"},
		{"ü", "/", "ValidationError"},
		{"p1", "no-slash", "ValidationError"},
		{"p2", "/no-end", "ValidationError"},
		{"p3", "/" + strings.Repeat("p", 510) + "/", ""},
		{"p4", "/" + strings.Repeat("p", 511) + "/", "ValidationError"},
		{"X", "/other/", "EntityAlreadyExists"},
	} {
		_, err := c.CreateUser(ctx, &sdk.CreateUserInput{UserName: &tt.name, Path: &tt.path})
		if tt.code == "" {
			apitest.OK(t, err)
		} else {
			apitest.WantError(t, err, tt.code)
		}
	}

	user := func(text string) error {
		_, err := c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: name, PolicyName: aws.String("p"), PolicyDocument: &text})
		return err
	}
	group := func(text string) error {
		_, err := c.PutGroupPolicy(ctx, &sdk.PutGroupPolicyInput{GroupName: name, PolicyName: aws.String("p"), PolicyDocument: &text})
		return err
	}
	role := func(text string) error {
		_, err := c.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: name, PolicyName: aws.String("p"), PolicyDocument: &text})
		return err
	}
	trust := func(text string) error {
		_, err := c.UpdateAssumeRolePolicy(ctx, &sdk.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: &text})
		return err
	}
	n := 0
	managed := func(text string) error {
		n++
		_, err := c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String(fmt.Sprint("m", n)), PolicyDocument: &text})
		return err
	}
	// sized is a document of n characters without white space.
	sized := func(document string, n int) string {
		at := strings.Index(document, `{"Effect"`) + 1
		return document[:at] + `"Sid":"` + strings.Repeat("s", n-len(document)-len(`"Sid":"",`)) + `",` + document[at:]
	}
	spaces := strings.Repeat(" \n\t", 300)
	for _, tt := range []struct {
		what string
		put  func(string) error
		text string
		code string
	}{
		{"no JSON", user, `{`, "MalformedPolicyDocument"},
		{"a list", user, `[]`, "MalformedPolicyDocument"},
		{"no statement", user, `{"Version":"2012-10-17"}`, "MalformedPolicyDocument"},
		{"an unknown version", user, strings.Replace(allowList, "2012-10-17", "2020-01-01", 1), "MalformedPolicyDocument"},
		{"an unknown effect", group, strings.Replace(allowList, "Allow", "allow", 1), "MalformedPolicyDocument"},
		{"an unknown element", group, strings.Replace(allowList, `"Effect"`, `"Affect":"x","Effect"`, 1), "MalformedPolicyDocument"},
		{"an action without service", role, strings.Replace(allowList, "iam:", "", 1), "MalformedPolicyDocument"},
		{"no resource", role, strings.Replace(allowList, `,"Resource":"*"`, "", 1), "MalformedPolicyDocument"},
		{"an unknown operator", managed, strings.Replace(allowList, `"Effect"`, `"Condition":{"StringIs":{"aws:username":"x"}},"Effect"`, 1), "MalformedPolicyDocument"},
		{"a principal of a user", user, trustRoot, "MalformedPolicyDocument"},
		{"a trust policy without principal", trust, allowList, "MalformedPolicyDocument"},
		{"a trust policy with a resource", trust, strings.Replace(trustRoot, `"Action"`, `"Resource":"*","Action"`, 1), "MalformedPolicyDocument"},
		{"trust in a group", trust, strings.Replace(trustRoot, ":root", ":group/x", 1), "MalformedPolicyDocument"},
		{"trust in a user who is not", trust, strings.Replace(trustRoot, ":root", ":user/nobody", 1), "MalformedPolicyDocument"},
		{"trust in a user by another path", trust, strings.Replace(trustRoot, ":root", ":user/path/x", 1), "MalformedPolicyDocument"},
		{"trust in a user", trust, strings.Replace(trustRoot, ":root", ":user/x", 1), ""},

		{"the largest of a user", user, sized(allowList, 2048), ""},
		{"white space does not count", user, sized(allowList, 2048) + spaces, ""},
		{"too large for a user", user, sized(allowList, 2049), "LimitExceeded"},
		{"the largest of a group", group, sized(allowList, 5120), ""},
		{"too large for a group", group, sized(allowList, 5121), "LimitExceeded"},
		{"the largest of a role", role, sized(allowList, 10240), ""},
		{"too large for a role", role, sized(allowList, 10241), "LimitExceeded"},
		{"the largest managed policy", managed, sized(allowList, 6144), ""},
		{"too large for a managed policy", managed, sized(allowList, 6145), "LimitExceeded"},
		{"the largest trust policy", trust, sized(trustRoot, 2048), ""},
		{"too large for a trust policy", trust, sized(trustRoot, 2049), "LimitExceeded"},
	} {
		err := tt.put(tt.text)
		t.Run(tt.what, func(t *testing.T) {
			if tt.code == "" {
				apitest.OK(t, err)
			} else {
				apitest.WantError(t, err, tt.code)
			}
		})
	}
	// Inline policies count together.
	_, err := c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: name, PolicyName: aws.String("q"), PolicyDocument: aws.String(allowList)})
	apitest.WantError(t, err, "LimitExceeded", "Maximum policy size of 2048 bytes exceeded for user x")
	// The message says where.
	wantMessage(t, user("{\n\"Version\": \"2012-10-17\",\n\"Statement\": {\"Effect\": \"Maybe\"}}"), "line 3")
}

// What groups and roles must be rid of before they go, and how many an entity has.
func TestConflictsAndQuotas(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	name := aws.String("x")
	apitest.Must[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: name}))
	apitest.Must[*sdk.CreateRoleOutput](t)(c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trustRoot)}))
	deleteRole := func() error {
		_, err := c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: name})
		return err
	}
	apitest.Must[*sdk.AttachRolePolicyOutput](t)(c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: name, PolicyArn: aws.String(readOnly)}))
	apitest.WantError(t, deleteRole(), "DeleteConflict", "Cannot delete entity, must detach all policies first.")
	apitest.Must[*sdk.DetachRolePolicyOutput](t)(c.DetachRolePolicy(ctx, &sdk.DetachRolePolicyInput{RoleName: name, PolicyArn: aws.String(readOnly)}))
	apitest.Must[*sdk.PutRolePolicyOutput](t)(c.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: name, PolicyName: name, PolicyDocument: aws.String(allowList)}))
	apitest.WantError(t, deleteRole(), "DeleteConflict", "Cannot delete entity, must delete policies first.")
	apitest.Must[*sdk.DeleteRolePolicyOutput](t)(c.DeleteRolePolicy(ctx, &sdk.DeleteRolePolicyInput{RoleName: name, PolicyName: name}))
	apitest.OK(t, deleteRole())

	apitest.Must[*sdk.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: name}))
	_, err := c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: name})
	apitest.WantError(t, err, "DeleteConflict", "Cannot delete entity, must delete access keys first.")

	for i := range 11 {
		group, policy := aws.String(fmt.Sprint("g", i)), aws.String(fmt.Sprint("p", i))
		apitest.Must[*sdk.CreateGroupOutput](t)(c.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: group}))
		arn := apitest.Must[*sdk.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: policy, PolicyDocument: aws.String(allowList)})).Policy.Arn
		_, joined := c.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: group, UserName: name})
		_, attached := c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: name, PolicyArn: arn})
		if i < 10 {
			apitest.OK(t, joined)
			apitest.OK(t, attached)
		} else {
			apitest.WantError(t, joined, "LimitExceeded", "Cannot exceed quota for GroupsPerUser: 10")
			apitest.WantError(t, attached, "LimitExceeded", "Cannot exceed quota for PoliciesPerUser: 10")
		}
	}
	_, err = c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: name, PolicyArn: aws.String("arn:aws:iam::" + account + ":policy/p0")})
	apitest.OK(t, err) // which it is already
	var got []string
	for p := sdk.NewListAttachedUserPoliciesPaginator(c, &sdk.ListAttachedUserPoliciesInput{UserName: name, MaxItems: aws.Int32(3)}); p.HasMorePages(); {
		for _, a := range apitest.Must[*sdk.ListAttachedUserPoliciesOutput](t)(p.NextPage(ctx)).AttachedPolicies {
			got = append(got, *a.PolicyName)
		}
	}
	for p := sdk.NewListGroupsForUserPaginator(c, &sdk.ListGroupsForUserInput{UserName: name, MaxItems: aws.Int32(3)}); p.HasMorePages(); {
		for _, g := range apitest.Must[*sdk.ListGroupsForUserOutput](t)(p.NextPage(ctx)).Groups {
			got = append(got, *g.GroupName)
		}
	}
	if want := strings.Fields("p0 p1 p2 p3 p4 p5 p6 p7 p8 p9 g0 g1 g2 g3 g4 g5 g6 g7 g8 g9"); !slices.Equal(got, want) {
		t.Errorf("policies and groups %v", got)
	}
}

// An administrator who may only give certain policies, and only to those who are
// bounded, cannot give more.
func TestDelegation(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	deputy, _ := newUser(t, srv, "deputy")
	policyOf(t, srv, "deputy", `
		{"Effect":"Allow","Action":["iam:CreateUser","iam:PutUserPermissionsBoundary","iam:PutUserPolicy"],"Resource":"*","Condition":{"StringEquals":{"iam:PermissionsBoundary":"`+kmsPowerUser+`"}}},
		{"Effect":"Allow","Action":"iam:AttachUserPolicy","Resource":"*","Condition":{"ArnEquals":{"iam:PolicyARN":"`+readOnly+`"}}}`)
	d := deputy.IAM()
	create := func(name string, boundary *string) error {
		_, err := d.CreateUser(ctx, &sdk.CreateUserInput{UserName: &name, PermissionsBoundary: boundary})
		return err
	}
	put := func(name string) error {
		_, err := d.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("p"), PolicyDocument: aws.String(allowAll)})
		return err
	}
	attach := func(arn string) error {
		_, err := d.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: aws.String("new"), PolicyArn: &arn})
		return err
	}
	bound := func(arn string) error {
		_, err := d.PutUserPermissionsBoundary(ctx, &sdk.PutUserPermissionsBoundaryInput{UserName: aws.String("new"), PermissionsBoundary: &arn})
		return err
	}
	apitest.WantError(t, create("new", nil), "AccessDenied")
	apitest.WantError(t, create("new", aws.String(readOnly)), "AccessDenied")
	apitest.OK(t, create("new", aws.String(kmsPowerUser)))
	apitest.OK(t, put("new"))
	apitest.WantError(t, put("deputy"), "AccessDenied") // who has no boundary
	apitest.OK(t, attach(readOnly))
	apitest.WantError(t, attach("arn:aws:iam::aws:policy/AdministratorAccess"), "AccessDenied")
	apitest.OK(t, bound(kmsPowerUser))
	apitest.WantError(t, bound("arn:aws:iam::aws:policy/AdministratorAccess"), "AccessDenied")
	_, err := d.DeleteUserPermissionsBoundary(ctx, &sdk.DeleteUserPermissionsBoundaryInput{UserName: aws.String("new")})
	apitest.WantError(t, err, "AccessDenied")
	_, err = c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: aws.String(readOnly)})
	if err == nil {
		t.Error("a policy of AWS was deleted")
	}
}

// wantMessage checks for a part of the message of a failed call.
func wantMessage(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, which does not say %q", err, part)
	}
}
