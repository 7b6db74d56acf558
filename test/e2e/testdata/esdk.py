"""Encrypts or decrypts a file with the AWS Encryption SDK: encrypt|decrypt KEY IN OUT."""

import sys

import aws_encryption_sdk

what, key, source, target = sys.argv[1:]
client = aws_encryption_sdk.EncryptionSDKClient()
provider = aws_encryption_sdk.StrictAwsKmsMasterKeyProvider(key_ids=[key])
options = {"encryption_context": {"purpose": "archive"}} if what == "encrypt" else {}
with open(source, "rb") as opened, open(target, "wb") as written:
    with client.stream(mode=what, source=opened, key_provider=provider, **options) as stream:
        for chunk in stream:
            written.write(chunk)
    assert stream.header.encryption_context["purpose"] == "archive"
