// Encrypts or decrypts a file with the AWS Encryption SDK: encrypt|decrypt KEY IN OUT.
import assert from "node:assert/strict";
import { createReadStream, createWriteStream } from "node:fs";
import { createRequire } from "node:module";
import { pipeline } from "node:stream/promises";

const packages = createRequire(process.env.NODE_PACKAGES + "/");
const { KmsKeyringNode, buildClient, CommitmentPolicy } = packages("@aws-crypto/client-node");

const [what, generatorKeyId, source, target] = process.argv.slice(2);
const { encryptStream, decryptStream } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);
const keyring = new KmsKeyringNode({ generatorKeyId });
const stream = what === "encrypt" ? encryptStream(keyring, { encryptionContext: { purpose: "archive" } }) : decryptStream(keyring);
let header;
stream.once("MessageHeader", (h) => { header = h; });
await pipeline(createReadStream(source), stream, createWriteStream(target));
if (what === "decrypt") assert.equal(header.encryptionContext.purpose, "archive");
