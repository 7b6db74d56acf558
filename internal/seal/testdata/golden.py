#!/usr/bin/env python3
"""Makes the golden files from nothing but the documented formats.

A second implementation, against which TestGolden holds the first. It needs
Python's cryptography module and writes the same files every time.
"""
import base64, hashlib, json, struct
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

def b64(b): return base64.b64encode(b).decode()
def hkdf(secret, info, size=32): return HKDF(hashes.SHA256(), size, None, info.encode()).derive(secret)
def bind(*fields): return b"".join(struct.pack(">I", len(f.encode())) + f.encode() for f in fields)

def wrap(secret, label, nonce, key, binding):
    return nonce + AESGCM(hkdf(secret, label)).encrypt(nonce, key, binding)

def xaes(key, nonce, plaintext, additional):
    def aes(block): return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)
    l = int.from_bytes(aes(bytes(16)), "big")
    k1 = (l << 1) & (1 << 128) - 1 ^ (0b10000111 if l >> 127 else 0)
    def cmac(i):
        m = bytes([0, i]) + b"X\0" + nonce[:12]
        return aes((int.from_bytes(m, "big") ^ k1).to_bytes(16, "big"))
    return nonce + AESGCM(cmac(1) + cmac(2)).encrypt(nonce[12:], plaintext, additional)

def recovery(values):
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    text = "".join(alphabet[v] for v in values)
    bits = int.from_bytes(hashlib.sha256(b"kagimori v1 recovery passphrase" + text.encode()).digest()[:3], "big") >> 4
    return text + "".join(alphabet[bits >> s & 31] for s in (15, 10, 5, 0))

root, file_key = bytes(range(32)), bytes(range(32, 64))
store_keys = [bytes(range(64, 96)), bytes(range(96, 128))]
created, later = "2026-01-02T03:04:05Z", "2026-02-03T04:05:06Z"
passphrase = recovery(list(range(4, 32)))
fingerprint = hkdf(root, "kagimori v1 root fingerprint", 16).hex()
file_id = hkdf(file_key, "kagimori v1 key file id", 8).hex()
salt = bytes(range(128, 160))

def slot(id, kind, label, params, secret, nonce):
    fields = [x for name in sorted(params) for x in (name, params[name])]
    binding = bind("kagimori v1 root slot", fingerprint, created, id, kind, label, created, *fields)
    wrapped = wrap(secret, "kagimori v1 root slot", nonce, root, binding)
    return {"id": id, "kind": kind, "label": label, "created": created,
            "params": dict(sorted(params.items())), "wrapped": b64(wrapped)}

document = {
    "version": 1,
    "fingerprint": fingerprint,
    "created": created,
    "slots": [
        slot("00000001", "file", "first", {"id": file_id, "path": "root.key"}, file_key, bytes(12)),
        slot("0000000f", "passphrase", "復旧",
             {"form": "recovery", "kdf": "PBKDF2-HMAC-SHA512", "iterations": "210000", "salt": b64(salt)},
             hashlib.pbkdf2_hmac("sha512", passphrase.encode(), salt, 210000, 32), bytes([1] * 12)),
    ],
    "store_keys": [{"id": 1, "created": created}, {"id": 2, "created": later}],
    "wrapped": b64(wrap(root, "kagimori v1 root store keys", bytes([2] * 12), b"".join(store_keys),
                        bind("kagimori v1 root store keys", fingerprint, created, "1", created, "2", later))),
}
header = bytes([1, 0, 0, 0, 2])
values = {
    "Passphrase": "-".join(passphrase[i:i + 4] for i in range(0, 32, 4)),
    "Fingerprint": fingerprint,
    "Derived": hkdf(root, "kagimori v1 purpose test").hex(),
    "Sealed": b64(header + xaes(store_keys[1], bytes(range(24)), b"record", header + b"place")),
}
with open("golden.json", "w") as f:
    f.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
with open("golden.values.json", "w") as f:
    f.write(json.dumps(values, indent=2) + "\n")
with open("golden.key", "w") as f:
    f.write(f"Any text.\n\n-----BEGIN KAGIMORI KEY FILE-----\nId: {file_id}\n\n{b64(file_key)}\n-----END KAGIMORI KEY FILE-----\n")
