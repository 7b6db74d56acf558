"""Accounts, users, roles and sessions as boto3 sees them.

Every error code is one that boto3 knows as an exception of its client, and every
listing goes through boto3's own paginators.
"""

import base64
import hashlib
import hmac
import json
import struct
import sys
import time
import urllib.request

import boto3


def refused(exception, call, **arguments):
    try:
        call(**arguments)
    except exception as e:
        return e.response["Error"]
    raise AssertionError(f"{call} with {arguments} was not refused")


def statement(effect, actions, **more):
    return {"Effect": effect, "Action": actions, **more}


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def client(service, credentials):
    return boto3.client(
        service,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials.get("SessionToken"),
    )


def code(seed, at):
    digest = hmac.new(seed, struct.pack(">Q", int(at) // 30), hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset:offset + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"


iam, sts, org, kms = (boto3.client(s) for s in ("iam", "sts", "organizations", "kms"))
account = sts.get_caller_identity()["Account"]

# Users and groups.
for name in ("alice", "bob", "carol"):
    iam.create_user(UserName=name, Path="/people/", Tags=[{"Key": "team", "Value": "red"}])
refused(iam.exceptions.EntityAlreadyExistsException, iam.create_user, UserName="Alice")
refused(iam.exceptions.NoSuchEntityException, iam.get_user, UserName="dave")
names = [u["UserName"] for page in iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 1}) for u in page["Users"]]
assert names == ["alice", "bob", "carol"], names
iam.create_group(GroupName="keys")
iam.add_user_to_group(GroupName="keys", UserName="alice")
iam.attach_group_policy(GroupName="keys", PolicyArn="arn:aws:iam::aws:policy/AWSKeyManagementServicePowerUser")
alice = iam.create_access_key(UserName="alice")["AccessKey"]
assert client("sts", alice).get_caller_identity()["Arn"] == f"arn:aws:iam::{account}:user/people/alice"
key = client("kms", alice).create_key()["KeyMetadata"]["KeyId"]
error = refused(kms.exceptions.ClientError, client("kms", alice).encrypt, KeyId=key, Plaintext=b"x")
assert error["Code"] == "AccessDeniedException" and "no identity-based policy allows the kms:Encrypt action" in error["Message"], error
refused(iam.exceptions.DeleteConflictException, iam.delete_user, UserName="alice")
refused(iam.exceptions.MalformedPolicyDocumentException, iam.put_user_policy, UserName="alice", PolicyName="p", PolicyDocument='{"Statement": 1}')

# Policies come back as objects, in the order that was put.
doc = {"Version": "2012-10-17", "Statement": [statement("Allow", "kms:Encrypt", Resource="*", Condition={"StringEquals": {"kms:EncryptionContext:用途": "請求 +%/"}})]}
iam.put_user_policy(UserName="alice", PolicyName="encrypt", PolicyDocument=json.dumps(doc))
assert iam.get_user_policy(UserName="alice", PolicyName="encrypt")["PolicyDocument"] == doc
client("kms", alice).encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"用途": "請求 +%/"})
results = iam.simulate_principal_policy(
    PolicySourceArn=f"arn:aws:iam::{account}:user/people/alice",
    ActionNames=["kms:Encrypt", "kms:CreateKey"],
    ContextEntries=[{"ContextKeyName": "kms:EncryptionContext:用途", "ContextKeyType": "string", "ContextKeyValues": ["other"]}],
)["EvaluationResults"]
assert [r["EvalDecision"] for r in results] == ["implicitDeny", "allowed"], results

# MFA, and a role that needs it.
device = iam.create_virtual_mfa_device(VirtualMFADeviceName="alice")["VirtualMFADevice"]
assert device["QRCodePNG"].startswith(b"\x89PNG")
seed = base64.b32decode(device["Base32StringSeed"])
now = time.time()
iam.enable_mfa_device(UserName="alice", SerialNumber=device["SerialNumber"], AuthenticationCode1=code(seed, now - 60), AuthenticationCode2=code(seed, now - 30))
trust = document(statement("Allow", "sts:AssumeRole", Principal={"AWS": f"arn:aws:iam::{account}:user/people/alice"}, Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}}))
role = iam.create_role(RoleName="guarded", AssumeRolePolicyDocument=trust, MaxSessionDuration=7200)["Role"]
assert role["AssumeRolePolicyDocument"] == json.loads(trust)
iam.put_role_policy(RoleName="guarded", PolicyName="p", PolicyDocument=document(statement("Allow", "kms:*", Resource="*")))
assume = client("sts", alice).assume_role
refused(sts.exceptions.ClientError, assume, RoleArn=role["Arn"], RoleSessionName="boto3")
session = assume(RoleArn=role["Arn"], RoleSessionName="boto3", SerialNumber=device["SerialNumber"], TokenCode=code(seed, time.time()), DurationSeconds=900)
assert session["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{account}:assumed-role/guarded/boto3"
client("kms", session["Credentials"]).encrypt(KeyId=key, Plaintext=b"x")
refused(sts.exceptions.ClientError, assume, RoleArn=role["Arn"], RoleSessionName="boto3", SerialNumber=device["SerialNumber"], TokenCode="000000")

# A presigned request, in another Region: the data are the same.
url = boto3.client("sts", region_name="eu-west-3").generate_presigned_url("get_caller_identity", HttpMethod="GET")
with urllib.request.urlopen(url) as answer:
    assert account.encode() in answer.read()
assert len(boto3.client("iam", region_name="eu-west-3").list_users()["Users"]) == 3

# The organization.
description = org.describe_organization()["Organization"]
assert description["MasterAccountId"] == account, description
root = org.list_roots()["Roots"][0]["Id"]
unit = org.create_organizational_unit(ParentId=root, Name="tenants")["OrganizationalUnit"]["Id"]
made = org.create_account(AccountName="tenant", Email="tenant@example.com")["CreateAccountStatus"]
assert made["State"] == "SUCCEEDED", made
org.move_account(AccountId=made["AccountId"], SourceParentId=root, DestinationParentId=unit)
accounts = [a["Id"] for page in org.get_paginator("list_accounts").paginate(PaginationConfig={"PageSize": 1}) for a in page["Accounts"]]
assert sorted(accounts) == sorted([account, made["AccountId"]]), accounts
refused(org.exceptions.AccountNotFoundException, org.describe_account, AccountId="999999999999")

# The new account's role; a service control policy caps what it may do.
iam.put_user_policy(UserName="bob", PolicyName="p", PolicyDocument=document(statement("Allow", "sts:AssumeRole", Resource="*")))
bob = iam.create_access_key(UserName="bob")["AccessKey"]
tenant = client("sts", bob).assume_role(RoleArn=f"arn:aws:iam::{made['AccountId']}:role/OrganizationAccountAccessRole", RoleSessionName="bob")["Credentials"]
theirs = client("kms", tenant).create_key()["KeyMetadata"]["KeyId"]
org.enable_policy_type(RootId=root, PolicyType="SERVICE_CONTROL_POLICY")
policy = org.create_policy(
    Name="no-deletion", Description="", Type="SERVICE_CONTROL_POLICY",
    Content=document(statement("Deny", "kms:ScheduleKeyDeletion", Resource="*")),
)["Policy"]["PolicySummary"]["Id"]
org.attach_policy(PolicyId=policy, TargetId=unit)
error = refused(kms.exceptions.ClientError, client("kms", tenant).schedule_key_deletion, KeyId=theirs)
assert "with an explicit deny in a service control policy" in error["Message"], error
org.detach_policy(PolicyId=policy, TargetId=unit)
client("kms", tenant).schedule_key_deletion(KeyId=theirs)
org.close_account(AccountId=made["AccountId"])
error = refused(kms.exceptions.ClientError, client("kms", tenant).describe_key, KeyId=theirs)
assert error["Code"] == "UnrecognizedClientException", error

# A grant with a token, by boto3.
grant = kms.create_grant(KeyId=key, GranteePrincipal=f"arn:aws:iam::{account}:user/people/carol", Operations=["Encrypt"], Name="once")
carol = client("kms", iam.create_access_key(UserName="carol")["AccessKey"])
carol.encrypt(KeyId=key, Plaintext=b"x", GrantTokens=[grant["GrantToken"]])
assert [g["GrantId"] for page in kms.get_paginator("list_grants").paginate(KeyId=key) for g in page["Grants"]] == [grant["GrantId"]]
kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
refused(kms.exceptions.ClientError, carol.encrypt, KeyId=key, Plaintext=b"x")
print("ok", file=sys.stderr)
