// The tour with the AWS SDK for JavaScript.
//
// tour.mjs tour NAME   goes through the life of a key, and leaves NAME.key (a data key, encrypted)
//                      and NAME.sealed (the file "plain", encrypted with the data key)
// tour.mjs open NAME   opens them again
import assert from "node:assert/strict";
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

// The package is installed apart from this file.
const sdk = createRequire(process.env.NODE_PACKAGES + "/")("@aws-sdk/client-kms");

const [, , what, name] = process.argv;
const context = { 部署: "経理", 用途: "明細" };
const kms = new sdk.KMS();
const day = 24 * 60 * 60 * 1000;

const fails = (error, call) => assert.rejects(call, (e) => e instanceof error);

async function openEnvelope() {
  const { Plaintext } = await kms.decrypt({ CiphertextBlob: readFileSync(name + ".key"), EncryptionContext: context });
  const sealed = readFileSync(name + ".sealed");
  const aes = createDecipheriv("aes-256-gcm", Plaintext, sealed.subarray(0, 12));
  aes.setAuthTag(sealed.subarray(-16));
  const plain = Buffer.concat([aes.update(sealed.subarray(12, -16)), aes.final()]);
  assert(plain.equals(readFileSync("plain")), "the file came out differently");
}

function seal(key, plain) {
  const nonce = randomBytes(12);
  const aes = createCipheriv("aes-256-gcm", key, nonce);
  return Buffer.concat([nonce, aes.update(plain), aes.final(), aes.getAuthTag()]);
}

async function tour() {
  const tags = [{ TagKey: "部署", TagValue: "経理部" }, { TagKey: "環境", TagValue: "本番" }];
  const { KeyMetadata: made } = await kms.createKey({ Description: "給与計算の鍵", Tags: tags });
  const { KeyId: key, Arn: arn } = made;
  const alias = "alias/tour-" + name;
  assert.equal(made.KeyState, "Enabled");
  assert.equal(made.Description, "給与計算の鍵");
  assert(Math.abs(Date.now() - made.CreationDate) < day / 24, `${made.CreationDate}`);
  const { Tags } = await kms.listResourceTags({ KeyId: key });
  assert.deepEqual(new Set(Tags.map((t) => t.TagValue)), new Set(["経理部", "本番"]));

  await kms.createAlias({ AliasName: alias, TargetKeyId: key });
  assert.equal((await kms.describeKey({ KeyId: alias })).KeyMetadata.KeyId, key);
  await fails(sdk.AlreadyExistsException, kms.createAlias({ AliasName: alias, TargetKeyId: key }));
  await fails(sdk.NotFoundException, kms.describeKey({ KeyId: "00000000-0000-4000-8000-000000000000" }));

  {
    const data = await kms.generateDataKey({ KeyId: alias, KeySpec: "AES_256", EncryptionContext: context });
    assert.equal(data.KeyId, arn);
    assert.equal(data.Plaintext.length, 32);
    writeFileSync(name + ".sealed", seal(data.Plaintext, readFileSync("plain")));
    writeFileSync(name + ".key", data.CiphertextBlob);
  }
  await openEnvelope();

  const blob = readFileSync(name + ".key");
  for (const wrong of [{}, { 部署: "営業", 用途: "明細" }, { ...context, more: "x" }]) {
    await fails(sdk.InvalidCiphertextException, kms.decrypt({ CiphertextBlob: blob, EncryptionContext: wrong }));
  }

  const x = new Uint8Array([120]);
  await kms.disableKey({ KeyId: key });
  await fails(sdk.DisabledException, kms.encrypt({ KeyId: key, Plaintext: x }));
  await kms.enableKey({ KeyId: key });
  const secret = await kms.encrypt({ KeyId: key, Plaintext: new TextEncoder().encode("秘密") });
  const again = await kms.decrypt({ CiphertextBlob: secret.CiphertextBlob, KeyId: alias });
  assert.equal(new TextDecoder().decode(again.Plaintext), "秘密");

  const gone = await kms.scheduleKeyDeletion({ KeyId: key, PendingWindowInDays: 7 });
  assert.equal(gone.KeyState, "PendingDeletion");
  assert(Math.abs(Date.now() + 7 * day - gone.DeletionDate) < day / 24, `${gone.DeletionDate}`);
  await fails(sdk.KMSInvalidStateException, kms.encrypt({ KeyId: key, Plaintext: x }));
  await kms.cancelKeyDeletion({ KeyId: key });
  assert.equal((await kms.describeKey({ KeyId: key })).KeyMetadata.KeyState, "Disabled");
  await kms.enableKey({ KeyId: key });

  await kms.createKey({});
  const listed = [];
  let pages = 0;
  for await (const page of sdk.paginateListKeys({ client: kms, pageSize: 1 }, {})) {
    pages++;
    listed.push(...page.Keys.map((k) => k.KeyId));
  }
  assert(pages >= 2 && new Set(listed).size === listed.length && listed.includes(key));

  const europe = new sdk.KMS({ region: "eu-central-1" });
  await fails(sdk.NotFoundException, europe.describeKey({ KeyId: key }));
  assert.match((await europe.createKey({})).KeyMetadata.Arn, /:eu-central-1:/);
}

await { tour, open: openEnvelope }[what]();
