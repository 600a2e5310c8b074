"""A program that uses Cloud Storage through google-auth as it comes from PyPI: it takes what the machine seems to be. Prints one
JSON object."""

import json
import sys
import time

import google.auth
import google.auth.transport.requests

storage, bucket, prefix, seconds = sys.argv[1:]
try:
    credentials, project = google.auth.default()
    session = google.auth.transport.requests.AuthorizedSession(credentials)
    tokens, done, statuses = set(), 0, set()
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        answer = session.put(f"{storage}/{bucket}/{prefix}/{done}", data=b"one")
        statuses.add(answer.status_code)
        tokens.add(credentials.token)
        done += 1
    beside = session.put(f"{storage}/{bucket}/beside", data=b"one").status_code
    said = {
        "account": credentials.service_account_email,
        "beside": beside,
        "objects": done,
        "project": project,
        "statuses": sorted(statuses),
        "tokens": len(tokens),
    }
except Exception as error:
    said = {"error": f"{type(error).__name__}: {error}"}
print(json.dumps(said), flush=True)
