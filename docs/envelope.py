"""Envelope encryption: a file is encrypted here, under a data key that only the
key service can open.

    envelope.py seal FILE KEY     writes FILE.sealed
    envelope.py open FILE         prints what FILE.sealed holds

Needs boto3 and cryptography. The endpoint and the credentials come from the
environment, as for every AWS SDK.
"""

import json
import os
import sys
from base64 import b64decode, b64encode

import boto3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

kms = boto3.client("kms")
what, name = sys.argv[1:3]
context = {"file": os.path.basename(name)}  # must be the same when it is opened

if what == "seal":
    key = kms.generate_data_key(KeyId=sys.argv[3], KeySpec="AES_256", EncryptionContext=context)
    nonce = os.urandom(12)
    with open(name, "rb") as f:
        data = AESGCM(key["Plaintext"]).encrypt(nonce, f.read(), None)
    sealed = {"key": key["CiphertextBlob"], "nonce": nonce, "data": data}
    with open(name + ".sealed", "w") as f:
        json.dump({k: b64encode(v).decode() for k, v in sealed.items()}, f)
else:
    with open(name + ".sealed") as f:
        sealed = {k: b64decode(v) for k, v in json.load(f).items()}
    key = kms.decrypt(CiphertextBlob=sealed["key"], EncryptionContext=context)
    sys.stdout.buffer.write(AESGCM(key["Plaintext"]).decrypt(sealed["nonce"], sealed["data"], None))
