"""Rules of EventBridge, and alarms: what they have done.

events.py KAGIMORI FILE: the program, and where the command `note` puts events.
"""

import json
import os
import subprocess
import sys
import time

import boto3

program, noted = sys.argv[1:]
kms, events, cloudtrail = boto3.client("kms"), boto3.client("events"), boto3.client("cloudtrail")


def aws(*args):
    out = subprocess.run([sys.executable, "-m", "awscli", "events", *args], capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"aws events {args}: {out.stderr}")
    return json.loads(out.stdout) if out.stdout.strip() else None


def wait(what, done, seconds=30):
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        found = done()
        if found:
            return found, time.monotonic() - began
        time.sleep(0.01)
    sys.exit(f"it never comes to it that {what}")


# A rule, as the command line of AWS makes one.
pattern = json.dumps({"source": ["aws.kms"], "detail-type": ["AWS API Call via CloudTrail"], "detail": {"eventName": [{"prefix": "Schedule"}]}})
arn = aws("put-rule", "--name", "scheduled", "--event-pattern", pattern)["RuleArn"]
aws("put-targets", "--rule", "scheduled", "--targets", "Id=hook,Arn=arn:aws:kagimori:::webhook/hook", "Id=note,Arn=arn:aws:kagimori:::command/note")
assert [r["Arn"] for r in aws("list-rules")["Rules"]] == [arn]
assert [t["Id"] for t in aws("list-targets-by-rule", "--rule", "scheduled")["Targets"]] == ["hook", "note"]
event = {"id": "1", "account": "1", "source": "aws.kms", "time": "2026-01-01T00:00:00Z", "region": "x", "resources": [],
         "detail-type": "AWS API Call via CloudTrail", "detail": {"eventName": "ScheduleKeyDeletion"}}
assert aws("test-event-pattern", "--event-pattern", pattern, "--event", json.dumps(event))["Result"]
event["detail"]["eventName"] = "CancelKeyDeletion"
assert not aws("test-event-pattern", "--event-pattern", pattern, "--event", json.dumps(event))["Result"]

key = kms.create_key()["KeyMetadata"]
kms.schedule_key_deletion(KeyId=key["KeyId"])


def note():
    try:
        with open(noted) as f:
            return json.load(f)
    except (FileNotFoundError, json.JSONDecodeError):
        return None


got, _ = wait("the command has run", note)
assert got["detail"]["requestParameters"]["keyId"] == key["KeyId"], got
aws("remove-targets", "--rule", "scheduled", "--ids", "hook", "note")
aws("delete-rule", "--name", "scheduled")

# A key is disabled when its policy is changed, in under a second.
subprocess.run([program, "alarms", "enable", "policy-changed", "--respond", "disable-key", "--to", "webhook/hook"], check=True)
took = []
for _ in range(5):
    key = kms.create_key()["KeyMetadata"]
    policy = kms.get_key_policy(KeyId=key["KeyId"])["Policy"]
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy)
    took.append(wait("the key is disabled", lambda: kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "Disabled")[1])
print(f"disabled after {min(took):.3f} to {max(took):.3f} s")
found = cloudtrail.lookup_events(LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "DisableKey"}])["Events"]
assert len(found) == 5 and "kagimori-policy-changed@" in found[0]["Username"], found
out = subprocess.run([program, "alarms", "failed"], check=True, capture_output=True, text=True).stdout
assert out.startswith("All events in ") and out.endswith(" were delivered.\n"), out
