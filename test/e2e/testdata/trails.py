"""A trail to an S3 server, and `aws cloudtrail validate-logs` over what it delivered.

trails.py URL FOLDER: of the S3 server, and where it keeps its buckets.
"""

import contextlib
import datetime
import io
import os
import shutil
import subprocess
import sys
import time

import awscli.clidriver
import boto3

url, folder = sys.argv[1:]
os.environ["AWS_ENDPOINT_URL_S3"] = url
began = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=5)
s3, trails, kms = boto3.client("s3"), boto3.client("cloudtrail"), boto3.client("kms")


def objects(match):
    listed = s3.list_objects_v2(Bucket="audit").get("Contents", [])
    return [o["Key"] for o in listed if match in o["Key"] and not o["Key"].endswith("/")]


def wait(what, done):
    for _ in range(600):
        found = done()
        if found:
            return found
        time.sleep(0.1)
    sys.exit(f"not {what} after a minute; the bucket has {objects('')}; {trails.get_trail_status(Name=arn)}")


# The bucket must be there.
try:
    trails.create_trail(Name="main", S3BucketName="audit")
    sys.exit("a trail was made without a bucket")
except trails.exceptions.S3BucketDoesNotExistException:
    pass
s3.create_bucket(Bucket="audit")
arn = trails.create_trail(Name="main", S3BucketName="audit", S3KeyPrefix="logs", EnableLogFileValidation=True)["TrailARN"]


def log(calls):
    """Has some calls delivered, with a digest of its own."""
    digests = objects("/CloudTrail-Digest/")
    trails.start_logging(Name=arn)
    time.sleep(1.1)  # digests are about seconds
    for _ in range(calls):
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"部署": "経理"})
    trails.stop_logging(Name=arn)
    return wait("a digest", lambda: set(objects("/CloudTrail-Digest/")) - set(digests)).pop()


digest = log(20)
logs = objects("/CloudTrail/")
assert logs and trails.get_trail_status(Name=arn)["IsLogging"] is False
validate = ["cloudtrail", "validate-logs", "--trail-arn", arn, "--start-time", began.isoformat(), "--verbose"]


def validated():
    """Runs validate-logs in this process: its exit status, and what it says."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = awscli.clidriver.create_clidriver().main(validate)
    return status, out.getvalue()


# As it is, it is valid: with the program itself, and within this process.
done = subprocess.run(["aws", *validate], capture_output=True, text=True)
if done.returncode != 0 or "INVALID" in done.stdout or done.stdout.count("\tvalid") != 1 + len(logs):
    sys.exit(f"validate-logs: {done.returncode}\n{done.stdout}{done.stderr}")
status, said = validated()
if status != 0 or said.count("\tvalid") != 1 + len(logs):
    sys.exit(f"validate-logs in this process: {status}\n{said}")

# Each change is found: bytes of the log file and of the digest, which lie in files of the
# server, and files that are gone or in another place. Twenty bytes of each are tried, as how
# long a log file is depends on where the delivery was split.
for key in [logs[0], digest]:
    path = os.path.join(folder, "audit", key)
    original = open(path, "rb").read()
    for i in range(10, len(original), (len(original) - 10) // 20):  # the first ten are gzip's header, which says nothing
        changed = bytearray(original)
        changed[i] ^= 1
        open(path, "wb").write(changed)
        status, said = validated()
        if status == 0 or "INVALID" not in said:
            sys.exit(f"byte {i} of {key} was changed, and validate-logs says:\n{said}")
    open(path, "wb").write(original)
    os.rename(path, path + ".away")
    status, said = validated()
    if key == digest:
        # Nobody knows of a last digest that is gone; then nothing of it is called valid.
        if "\tvalid" in said:
            sys.exit(f"{key} is gone, and validate-logs says:\n{said}")
    elif status == 0 or "INVALID: not found" not in said:
        sys.exit(f"{key} is gone, and validate-logs says:\n{said}")
    os.rename(path + ".away", path)
status, said = validated()
if status != 0:
    sys.exit(f"all is as before, and validate-logs says:\n{said}")

# A digest in the place of another.
second = log(1)
first_path, second_path = (os.path.join(folder, "audit", k) for k in (digest, second))
shutil.copy(second_path, second_path + ".kept")
shutil.copy(first_path, second_path)
status, said = validated()
if status == 0 or "INVALID" not in said:
    sys.exit(f"a digest was put in the place of another, and validate-logs says:\n{said}")
os.replace(second_path + ".kept", second_path)
status, said = validated()
if status != 0:
    sys.exit(f"in the end validate-logs says:\n{said}")
