// JWTs that the service signs, verified by the npm package jose and by Node's crypto;
// and what Node's crypto encrypted, decrypted by the service.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import { createRequire } from "node:module";

const packages = createRequire(process.env.NODE_PACKAGES + "/");
const { KMS } = packages("@aws-sdk/client-kms");
const jose = packages("jose");

const kms = new KMS();
const encoded = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const create = async (KeySpec, KeyUsage) => (await kms.createKey({ KeySpec, KeyUsage })).KeyMetadata.KeyId;
const publicKey = async (KeyId) =>
  crypto.createPublicKey({ key: Buffer.from((await kms.getPublicKey({ KeyId })).PublicKey), format: "der", type: "spki" });

// AWS KMS signs in DER, JWS has r and s side by side (RFC 7518, section 3.4).
function joined(der, size) {
  const parts = [];
  let at = der[1] & 0x80 ? 3 : 2;
  while (parts.length < 2) {
    assert.equal(der[at], 2);
    parts.push(der.subarray(at + 2, at + 2 + der[at + 1]));
    at += 2 + der[at + 1];
  }
  return Buffer.concat(parts.map((p) => Buffer.concat([Buffer.alloc(size), p]).subarray(-size)));
}

const sizes = { ES256: 32, ES384: 48, ES512: 66 };
for (const [alg, spec, SigningAlgorithm] of [
  ["ES256", "ECC_NIST_P256", "ECDSA_SHA_256"], ["ES384", "ECC_NIST_P384", "ECDSA_SHA_384"], ["ES512", "ECC_NIST_P521", "ECDSA_SHA_512"],
  ["RS256", "RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256"], ["PS256", "RSA_2048", "RSASSA_PSS_SHA_256"], ["PS512", "RSA_3072", "RSASSA_PSS_SHA_512"],
  ["EdDSA", "ECC_NIST_EDWARDS25519", "ED25519_SHA_512"],
]) {
  const KeyId = await create(spec, "SIGN_VERIFY");
  const key = await publicKey(KeyId);
  const input = encoded({ alg, kid: KeyId }) + "." + encoded({ sub: "決済", aud: "shop", exp: 4102444800 });
  const made = Buffer.from((await kms.sign({ KeyId, Message: Buffer.from(input), MessageType: "RAW", SigningAlgorithm })).Signature);
  const signature = alg in sizes ? joined(made, sizes[alg]) : made;
  const jwt = input + "." + signature.toString("base64url");
  const { payload, protectedHeader } = await jose.jwtVerify(jwt, key, { audience: "shop" });
  assert.equal(payload.sub, "決済");
  assert.equal(protectedHeader.kid, KeyId);

  signature[7] ^= 1;
  await assert.rejects(jose.jwtVerify(input + "." + signature.toString("base64url"), key), jose.errors.JWSSignatureVerificationFailed);
  const other = await publicKey(await create(spec, "SIGN_VERIFY"));
  await assert.rejects(jose.jwtVerify(jwt, other), jose.errors.JWSSignatureVerificationFailed);
}

const KeyId = await create("RSA_3072", "ENCRYPT_DECRYPT");
const key = await publicKey(KeyId);
for (const [EncryptionAlgorithm, oaepHash] of [["RSAES_OAEP_SHA_1", "sha1"], ["RSAES_OAEP_SHA_256", "sha256"]]) {
  const CiphertextBlob = crypto.publicEncrypt({ key, oaepHash }, Buffer.from("請求書"));
  const { Plaintext } = await kms.decrypt({ KeyId, CiphertextBlob, EncryptionAlgorithm });
  assert.equal(Buffer.from(Plaintext).toString(), "請求書");
}

// A shared secret, made on both sides.
const agreement = await create("ECC_NIST_P384", "KEY_AGREEMENT");
const mine = crypto.generateKeyPairSync("ec", { namedCurve: "P-384" });
const { SharedSecret } = await kms.deriveSharedSecret({
  KeyId: agreement, KeyAgreementAlgorithm: "ECDH", PublicKey: mine.publicKey.export({ format: "der", type: "spki" }),
});
assert.deepEqual(Buffer.from(SharedSecret), crypto.diffieHellman({ privateKey: mine.privateKey, publicKey: await publicKey(agreement) }));
console.log("jose and Node's crypto: all as expected");
