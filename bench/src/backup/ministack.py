"""Makes a bucket of MiniStack behind a chain of three roles, and tells how fast it takes puts by itself: one line of JSON."""

import json
import os
import sys
import time

import boto3
from botocore.config import Config

ENDPOINT, BUCKET, ACCOUNT = sys.argv[1:4]
HOPS, PUTS, PUT_BYTES = 3, 24, 8 << 20


def client(service, key=ACCOUNT, secret="test"):
    """Of who owns the account: MiniStack takes the account's number for its key."""
    config = Config(request_checksum_calculation="when_required", s3={"addressing_style": "path"})
    return boto3.client(
        service,
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=config,
    )


def policy(**statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


s3, iam = client("s3"), client("iam")
s3.create_bucket(Bucket=BUCKET)
user = f"arn:aws:iam::{ACCOUNT}:user/bench"
roles = [f"arn:aws:iam::{ACCOUNT}:role/bench-{hop}" for hop in range(1, HOPS + 1)]
assume = ["sts:AssumeRole", "sts:SetSourceIdentity"]
iam.create_user(UserName="bench")
iam.put_user_policy(UserName="bench", PolicyName="own", PolicyDocument=policy(Action=assume, Resource=roles[0]))
for hop, before in enumerate([user, *roles[:-1]]):
    name = f"bench-{hop + 1}"
    trust = policy(Action=assume, Principal={"AWS": before})
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    if hop + 1 < HOPS:
        own = policy(Action=assume, Resource=roles[hop + 1])
    else:
        objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:GetBucketLocation"]
        own = policy(Action=objects, Resource=[f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"])
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=own)
key = iam.create_access_key(UserName="bench")["AccessKey"]

body = os.urandom(PUT_BYTES)
begun = time.monotonic()
for number in range(PUTS):
    s3.put_object(Bucket=BUCKET, Key="plain", Body=body)
seconds = time.monotonic() - begun
s3.delete_object(Bucket=BUCKET, Key="plain")
print(
    json.dumps(
        {
            "roles": roles,
            "access_key_id": key["AccessKeyId"],
            "secret_access_key": key["SecretAccessKey"],
            "put_bytes": PUTS * PUT_BYTES,
            "put_seconds": seconds,
        }
    )
)
