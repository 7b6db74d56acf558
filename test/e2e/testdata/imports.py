"""Imported key material, wrapped by Python's cryptography, and multi-Region keys: what
was made outside opens what the service made, and one Region what another sealed."""

import os

import boto3
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, hmac, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

kms = boto3.client("kms")
HERE = kms.meta.region_name
THERE = "us-west-2" if HERE != "us-west-2" else "eu-west-1"


def oaep(h):
    return padding.OAEP(mgf=padding.MGF1(h), algorithm=h, label=None)


def wrap(algorithm, public, material):
    h = hashes.SHA1() if algorithm.endswith("SHA_1") else hashes.SHA256()
    if algorithm.startswith("RSAES_OAEP"):
        return public.encrypt(material, oaep(h))
    aes = os.urandom(32)
    return public.encrypt(aes, oaep(h)) + keywrap.aes_key_wrap_with_padding(aes, material)


def bring(key, algorithm, material, spec="RSA_2048", client=kms):
    p = client.get_parameters_for_import(KeyId=key, WrappingAlgorithm=algorithm, WrappingKeySpec=spec)
    public = serialization.load_der_public_key(p["PublicKey"])
    client.import_key_material(KeyId=key, ImportToken=p["ImportToken"], ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
                               EncryptedKeyMaterial=wrap(algorithm, public, material))


def pkcs8(private):
    return private.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def external(spec, usage, **more):
    return kms.create_key(KeySpec=spec, KeyUsage=usage, Origin="EXTERNAL", **more)["KeyMetadata"]["KeyId"]


message = b"made outside"

# Every way to wrap, for an RSA key that exists here too.
private = rsa.generate_private_key(65537, 2048)
for algorithm in ("RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"):
    for spec in ("RSA_2048", "RSA_3072", "RSA_4096"):
        key = external("RSA_2048", "ENCRYPT_DECRYPT")
        bring(key, algorithm, pkcs8(private), spec)
        sealed = private.public_key().encrypt(message, oaep(hashes.SHA256()))
        assert kms.decrypt(KeyId=key, CiphertextBlob=sealed, EncryptionAlgorithm="RSAES_OAEP_SHA_256")["Plaintext"] == message

private = ec.generate_private_key(ec.SECP384R1())
for algorithm in ("RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_256"):
    key = external("ECC_NIST_P384", "SIGN_VERIFY")
    bring(key, algorithm, pkcs8(private), "RSA_4096")
    signature = kms.sign(KeyId=key, Message=message, SigningAlgorithm="ECDSA_SHA_384")["Signature"]
    private.public_key().verify(signature, message, ec.ECDSA(hashes.SHA384()))

secret = os.urandom(48)
for algorithm in ("RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"):
    key = external("HMAC_384", "GENERATE_VERIFY_MAC")
    bring(key, algorithm, secret)
    mac = hmac.HMAC(secret, hashes.SHA384())
    mac.update(message)
    assert kms.generate_mac(KeyId=key, Message=message, MacAlgorithm="HMAC_SHA_384")["Mac"] == mac.finalize()

# A symmetric key with replicas: what one Region seals, the other opens, with the same material only.
there = boto3.client("kms", region_name=THERE)
material = os.urandom(32)
key = external("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", MultiRegion=True)
bring(key, "RSAES_OAEP_SHA_256", material)
replica = kms.replicate_key(KeyId=key, ReplicaRegion=THERE)["ReplicaKeyMetadata"]
assert replica["KeyState"] == "PendingImport" and replica["KeyId"] == key and key.startswith("mrk-"), replica
try:
    bring(key, "RSAES_OAEP_SHA_256", os.urandom(32), client=there)
    raise SystemExit("a replica took other material")
except ClientError as e:
    assert e.response["Error"]["Code"] == "IncorrectKeyMaterialException", e
bring(key, "RSAES_OAEP_SHA_256", material, client=there)
sealed = kms.encrypt(KeyId=key, Plaintext=message)["CiphertextBlob"]
opened = there.decrypt(CiphertextBlob=sealed)
assert opened["Plaintext"] == message and f":{THERE}:" in opened["KeyId"], opened
kms.update_primary_region(KeyId=key, PrimaryRegion=THERE)
assert there.describe_key(KeyId=key)["KeyMetadata"]["MultiRegionConfiguration"]["MultiRegionKeyType"] == "PRIMARY"
assert kms.describe_key(KeyId=key)["KeyMetadata"]["MultiRegionConfiguration"]["MultiRegionKeyType"] == "REPLICA"
there.delete_imported_key_material(KeyId=key)
assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == message  # each Region has its own copy
try:
    there.decrypt(CiphertextBlob=sealed)
    raise SystemExit("deleted material still opens")
except ClientError as e:
    assert e.response["Error"]["Code"] == "KMSInvalidStateException", e
print("imports and multi-Region keys: all as expected")
