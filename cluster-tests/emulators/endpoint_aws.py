"""A program that uses S3 through boto3 as it comes from PyPI. One command a line on standard input, one JSON object a line back.

    work SECONDS  writes and reads objects for so long, with one session
    put KEY       writes one object with that session
    fresh         looks for credentials with a new session
"""

import json
import sys
import time

import boto3

endpoint, bucket, prefix = sys.argv[1:]
session = None


def client():
    global session
    if session is None:
        session = boto3.Session(region_name="us-east-1")
    return session.client("s3", endpoint_url=endpoint)


def work(seconds):
    s3, keys, done, slowest = client(), set(), 0, 0.0
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        begun = time.monotonic()
        key, body = f"{prefix}/{done}", f"object {done}".encode()
        s3.put_object(Bucket=bucket, Key=key, Body=body)
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body
        keys.add(session.get_credentials().get_frozen_credentials().access_key)
        done += 1
        slowest = max(slowest, time.monotonic() - begun)
    return {"objects": done, "keys": len(keys), "slowest_ms": round(slowest * 1000)}


def put(key):
    client().put_object(Bucket=bucket, Key=key, Body=b"one")
    return {}


def fresh():
    credentials = boto3.Session(region_name="us-east-1").get_credentials()
    return {"method": credentials.method}


for line in sys.stdin:
    name, *words = line.split()
    try:
        answer = {"work": work, "put": put, "fresh": fresh}[name](*words)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
