"""Asymmetric keys: what the service makes, Python's cryptography and OpenSSL take, and
the other way round."""

import hashlib
import subprocess
import tempfile

import boto3
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, padding, rsa, utils

kms = boto3.client("kms")
MESSAGE = "請求書 100 円".encode()
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


def new(spec, usage):
    key = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"]
    return key, serialization.load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])


def digest(h):
    d = hashes.Hash(h)
    d.update(MESSAGE)
    return d.finalize()


def openssl(public, hash_name, signature, *options):
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with tempfile.NamedTemporaryFile() as k, tempfile.NamedTemporaryFile() as s:
        k.write(pem), k.flush(), s.write(signature), s.flush()
        subprocess.run(["openssl", "dgst", "-" + hash_name, "-verify", k.name, "-signature", s.name, *options], input=MESSAGE, check=True, capture_output=True)


# Signatures of the service, verified outside; and those of a data key pair, made outside.
for spec in ("RSA_2048", "RSA_3072"):
    key, public = new(spec, "SIGN_VERIFY")
    for bits, h in HASHES.items():
        for scheme in ("PSS", "PKCS1_V1_5"):
            algorithm = f"RSASSA_{scheme}_SHA_{bits}"
            pad = padding.PSS(padding.MGF1(h), h.digest_size) if scheme == "PSS" else padding.PKCS1v15()
            for given in ({"Message": MESSAGE}, {"Message": digest(h), "MessageType": "DIGEST"}):
                signature = kms.sign(KeyId=key, SigningAlgorithm=algorithm, **given)["Signature"]
                public.verify(signature, MESSAGE, pad, h)
                options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"] if scheme == "PSS" else []
                openssl(public, "sha" + bits, signature, *options)

for spec, bits in (("ECC_NIST_P256", "256"), ("ECC_NIST_P384", "384"), ("ECC_NIST_P521", "512"), ("ECC_SECG_P256K1", "256")):
    key, public = new(spec, "SIGN_VERIFY")
    h = HASHES[bits]
    for given in ({"Message": MESSAGE}, {"Message": digest(h), "MessageType": "DIGEST"}):
        signature = kms.sign(KeyId=key, SigningAlgorithm="ECDSA_SHA_" + bits, **given)["Signature"]
        public.verify(signature, MESSAGE, ec.ECDSA(h))
        openssl(public, "sha" + bits, signature)

key, public = new("ECC_NIST_EDWARDS25519", "SIGN_VERIFY")
public.verify(kms.sign(KeyId=key, SigningAlgorithm="ED25519_SHA_512", Message=MESSAGE)["Signature"], MESSAGE)

# Post-quantum: another implementation verifies, and encapsulates.
for spec, kind in (("ML_DSA_44", mldsa.MLDSA44PublicKey), ("ML_DSA_65", mldsa.MLDSA65PublicKey), ("ML_DSA_87", mldsa.MLDSA87PublicKey)):
    key, public = new(spec, "SIGN_VERIFY")
    assert isinstance(public, kind)
    public.verify(kms.sign(KeyId=key, SigningAlgorithm="ML_DSA_SHAKE_256", Message=MESSAGE)["Signature"], MESSAGE)
    mu = hashlib.shake_256(hashlib.shake_256(public.public_bytes_raw()).digest(64) + b"\0\0" + MESSAGE).digest(64)
    public.verify(kms.sign(KeyId=key, SigningAlgorithm="ML_DSA_SHAKE_256", Message=mu, MessageType="EXTERNAL_MU")["Signature"], MESSAGE)
for spec in ("ML_KEM_768", "ML_KEM_1024"):
    key, public = new(spec, "ENCAPSULATE_DECAPSULATE")
    secret, blob = public.encapsulate()
    got = kms.decapsulate(KeyId=key, EncapsulationAlgorithm="ML_KEM", SharedSecretCiphertextBlob=blob)["SharedSecret"]
    assert got == secret

# Encryption outside, decryption in the service.
key, public = new("RSA_4096", "ENCRYPT_DECRYPT")
for name, h in (("SHA_1", hashes.SHA1()), ("SHA_256", hashes.SHA256())):
    blob = public.encrypt(MESSAGE, padding.OAEP(padding.MGF1(h), h, None))
    assert kms.decrypt(KeyId=key, CiphertextBlob=blob, EncryptionAlgorithm="RSAES_OAEP_" + name)["Plaintext"] == MESSAGE

# A secret agreed on with a key that is outside.
for spec, curve in (("ECC_NIST_P256", ec.SECP256R1()), ("ECC_NIST_P384", ec.SECP384R1()), ("ECC_NIST_P521", ec.SECP521R1())):
    key, public = new(spec, "KEY_AGREEMENT")
    own = ec.generate_private_key(curve)
    der = own.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    secret = kms.derive_shared_secret(KeyId=key, KeyAgreementAlgorithm="ECDH", PublicKey=der)["SharedSecret"]
    assert secret == own.exchange(ec.ECDH(), public)

# Private keys of data key pairs.
symmetric = kms.create_key()["KeyMetadata"]["KeyId"]
for spec, kind in (("RSA_2048", rsa.RSAPrivateKey), ("ECC_NIST_P384", ec.EllipticCurvePrivateKey), ("ECC_SECG_P256K1", ec.EllipticCurvePrivateKey), ("ECC_NIST_EDWARDS25519", ed25519.Ed25519PrivateKey)):
    pair = kms.generate_data_key_pair(KeyId=symmetric, KeyPairSpec=spec, EncryptionContext={"a": "b"})
    private = serialization.load_der_private_key(pair["PrivateKeyPlaintext"], None)
    assert isinstance(private, kind)
    assert private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo) == pair["PublicKey"]
    assert kms.decrypt(CiphertextBlob=pair["PrivateKeyCiphertextBlob"], EncryptionContext={"a": "b"})["Plaintext"] == pair["PrivateKeyPlaintext"]

# A signature that OpenSSL makes with such a key, the service of course does not know;
# but one of its own, damaged, it refuses by the exception that boto3 has for it.
key, public = new("ECC_NIST_P256", "SIGN_VERIFY")
signature = bytearray(kms.sign(KeyId=key, SigningAlgorithm="ECDSA_SHA_256", Message=MESSAGE)["Signature"])
assert kms.verify(KeyId=key, SigningAlgorithm="ECDSA_SHA_256", Message=MESSAGE, Signature=bytes(signature))["SignatureValid"]
r, s = utils.decode_dss_signature(bytes(signature))
try:
    kms.verify(KeyId=key, SigningAlgorithm="ECDSA_SHA_256", Message=MESSAGE, Signature=utils.encode_dss_signature(r, s ^ 1))
    raise AssertionError("a damaged signature was taken")
except kms.exceptions.KMSInvalidSignatureException:
    pass
