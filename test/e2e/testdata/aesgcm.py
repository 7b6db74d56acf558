"""AES-256-GCM for the shell: aesgcm.py seal|open IN OUT, the key in base64 on standard input."""
import base64
import os
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

what, source, target = sys.argv[1:]
aes = AESGCM(base64.b64decode(sys.stdin.read()))
with open(source, "rb") as f:
    data = f.read()
if what == "seal":
    nonce = os.urandom(12)
    data = nonce + aes.encrypt(nonce, data, None)
else:
    data = aes.decrypt(data[:12], data[12:], None)
with open(target, "wb") as f:
    f.write(data)
