// Users, roles, sessions and accounts with the AWS SDK for JavaScript.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const packages = createRequire(process.env.NODE_PACKAGES + "/");
const { IAM, EntityAlreadyExistsException, NoSuchEntityException, DeleteConflictException, paginateListUsers } = packages("@aws-sdk/client-iam");
const { STS } = packages("@aws-sdk/client-sts");
const { KMS } = packages("@aws-sdk/client-kms");
const { Organizations, AlreadyInOrganizationException } = packages("@aws-sdk/client-organizations");

const iam = new IAM(), kms = new KMS(), organizations = new Organizations();
const document = (...statements) => JSON.stringify({ Version: "2012-10-17", Statement: statements });
const fails = (error, call) => assert.rejects(call, (e) => e instanceof error);
const denied = (call) => assert.rejects(call, (e) => e.name === "AccessDeniedException" || e.name === "AccessDenied");
const as = (k) => ({ credentials: { accessKeyId: k.AccessKeyId, secretAccessKey: k.SecretAccessKey, sessionToken: k.SessionToken } });

const { Account } = await new STS().getCallerIdentity({});
for (const UserName of ["anna", "ben"]) await iam.createUser({ UserName, Tags: [{ Key: "部署", Value: "経理" }] });
await fails(EntityAlreadyExistsException, iam.createUser({ UserName: "anna" }));
await fails(NoSuchEntityException, iam.getUser({ UserName: "nobody" }));
const names = [];
for await (const page of paginateListUsers({ client: iam, pageSize: 1 }, {})) names.push(...page.Users.map((u) => u.UserName));
assert.deepEqual(names, ["anna", "ben"]);
assert.deepEqual((await iam.listUserTags({ UserName: "anna" })).Tags, [{ Key: "部署", Value: "経理" }]);

const { AccessKey } = await iam.createAccessKey({ UserName: "anna" });
const { Role } = await iam.createRole({
  RoleName: "app",
  AssumeRolePolicyDocument: document({ Effect: "Allow", Action: "sts:AssumeRole", Principal: { AWS: `arn:aws:iam::${Account}:user/anna` } }),
});
await iam.attachRolePolicy({ RoleName: "app", PolicyArn: "arn:aws:iam::aws:policy/AdministratorAccess" });
await fails(DeleteConflictException, iam.deleteRole({ RoleName: "app" }));
const { Credentials } = await new STS(as(AccessKey)).assumeRole({
  RoleArn: Role.Arn, RoleSessionName: "javascript", Policy: document({ Effect: "Allow", Action: ["kms:Encrypt", "kms:DescribeKey"], Resource: "*" }),
});
assert.ok(Credentials.Expiration instanceof Date && Credentials.Expiration > new Date());
const { KeyId } = (await kms.createKey({})).KeyMetadata;
const session = new KMS(as(Credentials));
const { CiphertextBlob } = await session.encrypt({ KeyId, Plaintext: Buffer.from("x") });
await denied(session.decrypt({ CiphertextBlob }));
await denied(new KMS(as(AccessKey)).encrypt({ KeyId, Plaintext: Buffer.from("x") }));

await fails(AlreadyInOrganizationException, organizations.createOrganization({}));
assert.equal((await organizations.describeOrganization({})).Organization.MasterAccountId, Account);
assert.deepEqual((await organizations.listAccounts({})).Accounts.map((a) => a.Id), [Account]);
