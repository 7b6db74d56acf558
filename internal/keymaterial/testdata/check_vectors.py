#!/usr/bin/env python3
"""Checks Kagimori ciphertext vectors: python3 check_vectors.py FILE...

A second implementation of the ciphertext format, written from docs/formats.md on
top of the Python package "cryptography" (OpenSSL). It shares no code with the Go
one. Exits with 1 and says which vectors are wrong if there are any.
"""

import json
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.kbkdf import CounterLocation, KBKDFCMAC, Mode

HEADER, NONCE, TAG, MAX_PLAINTEXT = 50, 24, 16, 4096


class Refused(Exception):
    pass


def xaes_256_gcm(key, nonce):
    """The AES-256-GCM instance and nonce for one message."""
    kdf = KBKDFCMAC(algorithm=AES, mode=Mode.CounterMode, length=32, rlen=2, llen=None,
                    location=CounterLocation.BeforeFixed, label=None, context=None,
                    fixed=b"X\x00" + nonce[:12])
    return AESGCM(kdf.derive(key)), nonce[12:]


def material_id(key_id, material):
    info = b"kagimori key material id v1\x00" + key_id.encode()
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(material)


def header(key_id, material):
    multi_region = key_id.startswith("mrk-")
    digits = key_id[4:] if multi_region else key_id.replace("-", "")
    return bytes([1, multi_region]) + bytes.fromhex(digits) + material_id(key_id, material)


def additional_data(header, context):
    data = b"kagimori ciphertext v1" + header
    pairs = [(k.encode(), v.encode()) for k, v in (context or {}).items()]
    for pair in sorted(pairs):
        for text in pair:
            data += len(text).to_bytes(4, "big") + text
    return data


def encrypt(key_id, material, nonce, plaintext, context):
    head = header(key_id, material)
    aead, iv = xaes_256_gcm(material, nonce)
    return head + nonce + aead.encrypt(iv, plaintext, additional_data(head, context))


def decrypt(key_id, material, blob, context):
    if not HEADER + NONCE + TAG <= len(blob) <= HEADER + NONCE + TAG + MAX_PLAINTEXT:
        raise Refused("length")
    head, nonce = blob[:HEADER], blob[HEADER:HEADER + NONCE]
    if head != header(key_id, material):
        raise Refused("version, key id or material id")
    aead, iv = xaes_256_gcm(material, nonce)
    try:
        return aead.decrypt(iv, blob[HEADER + NONCE:], additional_data(head, context))
    except InvalidTag:
        raise Refused("tag")


def check_sealed(v):
    key_id, material = v["key_id"], bytes.fromhex(v["material"])
    nonce, plaintext = bytes.fromhex(v["nonce"]), bytes.fromhex(v["plaintext"])
    assert material_id(key_id, material).hex() == v["material_id"], "material id differs"
    assert additional_data(header(key_id, material), v["context"]).hex() == v["additional_data"], "additional data differs"
    assert encrypt(key_id, material, nonce, plaintext, v["context"]).hex() == v["blob"], "blob differs"
    assert decrypt(key_id, material, bytes.fromhex(v["blob"]), v["context"]) == plaintext, "plaintext differs"


def check_refused(v):
    try:
        decrypt(v["key_id"], bytes.fromhex(v["material"]), bytes.fromhex(v["blob"]), v["context"])
    except Refused:
        return
    raise AssertionError("opened, though: " + v["why"])


def main(files):
    failed = False
    for name in files:
        with open(name, encoding="utf-8") as f:
            vectors = json.load(f)
        for kind, check in (("seal", check_sealed), ("refuse", check_refused)):
            for v in vectors[kind]:
                try:
                    check(v)
                except (AssertionError, Refused) as e:
                    failed = True
                    print(f"{name}: {kind}: {v['name']}: {e}")
        print(f"{name}: {len(vectors['seal'])} sealed, {len(vectors['refuse'])} refused")
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
