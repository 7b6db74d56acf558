"""The tour with boto3.

tour.py tour NAME   goes through the life of a key, and leaves NAME.key (a data key, encrypted)
                    and NAME.sealed (the file "plain", encrypted with the data key)
tour.py open NAME   opens them again
"""
import os
import sys
from datetime import datetime, timedelta, timezone

import boto3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CONTEXT = {"部署": "経理", "用途": "明細"}
NAME = sys.argv[2]
kms = boto3.client("kms")


def read(name):
    with open(name, "rb") as f:
        return f.read()


def write(name, data):
    with open(name, "wb") as f:
        f.write(data)


def fails(error, call, **args):
    try:
        call(**args)
    except error:
        return
    raise AssertionError(f"{call} did not raise {error}")


def open_envelope():
    key = kms.decrypt(CiphertextBlob=read(NAME + ".key"), EncryptionContext=CONTEXT)["Plaintext"]
    sealed = read(NAME + ".sealed")
    assert AESGCM(key).decrypt(sealed[:12], sealed[12:], None) == read("plain"), "the file came out differently"


def tour():
    tags = [{"TagKey": "部署", "TagValue": "経理部"}, {"TagKey": "環境", "TagValue": "本番"}]
    made = kms.create_key(Description="給与計算の鍵", Tags=tags)["KeyMetadata"]
    key, arn, alias = made["KeyId"], made["Arn"], "alias/tour-" + NAME
    assert made["KeyState"] == "Enabled" and made["Description"] == "給与計算の鍵", made
    assert abs(datetime.now(timezone.utc) - made["CreationDate"]) < timedelta(hours=1), made
    found = kms.list_resource_tags(KeyId=key)["Tags"]
    assert sorted(t["TagValue"] for t in found) == ["本番", "経理部"], found

    kms.create_alias(AliasName=alias, TargetKeyId=key)
    assert kms.describe_key(KeyId=alias)["KeyMetadata"]["KeyId"] == key
    fails(kms.exceptions.AlreadyExistsException, kms.create_alias, AliasName=alias, TargetKeyId=key)
    fails(kms.exceptions.NotFoundException, kms.describe_key, KeyId="00000000-0000-4000-8000-000000000000")

    made = kms.generate_data_key(KeyId=alias, KeySpec="AES_256", EncryptionContext=CONTEXT)
    assert made["KeyId"] == arn and len(made["Plaintext"]) == 32, made
    nonce = os.urandom(12)
    write(NAME + ".sealed", nonce + AESGCM(made["Plaintext"]).encrypt(nonce, read("plain"), None))
    write(NAME + ".key", made["CiphertextBlob"])
    del made
    open_envelope()

    blob = read(NAME + ".key")
    for wrong in {}, {"部署": "営業", "用途": "明細"}, {**CONTEXT, "more": "x"}:
        fails(kms.exceptions.InvalidCiphertextException, kms.decrypt, CiphertextBlob=blob, EncryptionContext=wrong)

    kms.disable_key(KeyId=key)
    fails(kms.exceptions.DisabledException, kms.encrypt, KeyId=key, Plaintext=b"x")
    kms.enable_key(KeyId=key)
    secret = kms.encrypt(KeyId=key, Plaintext="秘密".encode())["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=secret, KeyId=alias)["Plaintext"].decode() == "秘密"

    gone = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert gone["KeyState"] == "PendingDeletion", gone
    assert abs(datetime.now(timezone.utc) + timedelta(days=7) - gone["DeletionDate"]) < timedelta(hours=1), gone
    fails(kms.exceptions.KMSInvalidStateException, kms.encrypt, KeyId=key, Plaintext=b"x")
    kms.cancel_key_deletion(KeyId=key)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"
    kms.enable_key(KeyId=key)

    kms.create_key()
    pages = list(kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 1}))
    listed = [k["KeyId"] for page in pages for k in page["Keys"]]
    assert len(pages) >= 2 and len(set(listed)) == len(listed) and key in listed, pages

    europe = boto3.client("kms", region_name="eu-central-1")
    fails(europe.exceptions.NotFoundException, europe.describe_key, KeyId=key)
    assert ":eu-central-1:" in europe.create_key()["KeyMetadata"]["Arn"]


{"tour": tour, "open": open_envelope}[sys.argv[1]]()
