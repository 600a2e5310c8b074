"""moto's server, with the checks that it leaves out: the end of a session, a missing external id, an explicit Deny, exact
principals, the trust policy of another account's role, roles that do not exist, the bounds of DurationSeconds and the hour
of chained roles.

    python strict_moto.py -H 127.0.0.1 -p 5000

STRICT_MIN_SECS is the shortest session, 900 if it is not set. For moto 5.2.5: it replaces functions inside of it.
"""

import json
import os
import sys

from moto.core.exceptions import InvalidClientTokenIdError
from moto.core.utils import utcnow
from moto.iam import access_control
from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.s3.exceptions import S3ClientError
from moto.sts.models import sts_backends
from moto.utilities.utils import get_partition

SHORTEST = int(os.environ.get("STRICT_MIN_SECS", "900"))
CHAINED_LONGEST = 3600


class ExpiredAtS3(S3ClientError):
    code = 400

    def __init__(self):
        super().__init__("ExpiredToken", "The provided token has expired.")


class RefusedBySts(InvalidClientTokenIdError):
    """Its parent has one fixed code; this one says its own."""

    def __init__(self, status, code, message):
        super(InvalidClientTokenIdError, self).__init__(code, message)
        self.code = status


def session_of(account, partition, key):
    sessions = sts_backends[account][partition].assumed_roles
    return next((session for session in sessions if session.access_key_id == key), None)


def named_by(principals, caller):
    """Whether a trust policy names who asks: exactly, by role or by account."""
    principals = [principals] if isinstance(principals, str) else list(principals or [])
    account = caller.split(":")[4]
    names = {caller, "*", account, f"arn:aws:iam::{account}:root"}
    if ":assumed-role/" in caller:
        names.add(f"arn:aws:iam::{account}:role/{caller.split('/')[1]}")
    return any(principal in names for principal in principals)


def trusts(document, caller, form):
    statements = json.loads(document)["Statement"]
    allowed = False
    for statement in statements if isinstance(statements, list) else [statements]:
        actions = statement["Action"]
        actions = actions if isinstance(actions, list) else [actions]
        principal = statement.get("Principal")
        principal = principal if isinstance(principal, str) else (principal or {}).get("AWS")
        if not any(access_control.IAMPolicyStatement._match(action, "sts:AssumeRole") for action in actions):
            continue
        if not named_by(principal, caller):
            continue
        wanted = (statement.get("Condition") or {}).get("StringEquals", {}).get("sts:ExternalId")
        if wanted is not None:
            wanted = [wanted] if isinstance(wanted, str) else wanted
            if form.get("ExternalId", [None])[0] not in wanted:
                continue
        if statement["Effect"] == "Deny":
            return False
        allowed = True
    return allowed


def check_expiry(self, *args, **kwargs):
    original_init(self, *args, **kwargs)
    key = getattr(self._access_key, "_access_key_id", "")
    session = session_of(self.account_id, get_partition(self._region), key)
    if session is not None and utcnow() >= session.expiration.replace(tzinfo=None):
        if isinstance(self, access_control.S3IAMRequest):
            raise ExpiredAtS3()
        raise RefusedBySts(403, "ExpiredToken", "The security token included in the request is expired")


def check_action(self, resource):
    if self._action == "sts:GetCallerIdentity":
        return None
    if self._action != "sts:AssumeRole":
        return original_check(self, resource)
    account, partition = resource.split(":")[4], get_partition(self._region)
    try:
        role = iam_backends[account][partition].get_role_by_arn(resource)
    except NotFoundException:
        self._raise_access_denied()
    if not trusts(role.assume_role_policy_document, self._access_key.arn, self._data):
        self._raise_access_denied()
    allowed = False
    for policy in self._access_key.collect_policies():
        said = access_control.IAMPolicy(policy).is_action_permitted(self._action, resource)
        if said == access_control.PermissionResult.DENIED:
            self._raise_access_denied()
        allowed |= said == access_control.PermissionResult.PERMITTED
    if not allowed:
        self._raise_access_denied()
    asked = int(self._data.get("DurationSeconds", ["3600"])[0])
    chained = ":assumed-role/" in self._access_key.arn
    longest = int(role.max_session_duration or 3600)
    if asked < SHORTEST or asked > longest or (chained and asked > CHAINED_LONGEST):
        raise RefusedBySts(400, "ValidationError", "The requested DurationSeconds is out of range")
    return None


original_init = access_control.IAMRequestBase.__init__
access_control.IAMRequestBase.__init__ = check_expiry
original_check = access_control.IAMRequestBase.check_action_permitted
access_control.IAMRequestBase.check_action_permitted = check_action

if __name__ == "__main__":
    from moto.server import main

    main(sys.argv[1:])
