"""Tries every action of S3 that botocore knows with one principal's key, and prints what came of each as JSON.

    every_s3_action.py ENDPOINT REGION KEY_ID SECRET {"session_token": null, "bucket": "...", "versions": [["key", "id"], ...],
                       "upload": ["key", "id"], "fresh": "repo/.../data/00/", "operator": ["key id", "secret"]}

Parameters come from the service model: what an operation needs, and of what it may have all that names a version, an upload, or a way
around a lock. `versions` and `upload` are real ones. `fresh` begins the keys that are put anew, and each is used once.

Each line of the answer: {"call": what it was, "code": AWS's error code or null, "leaked": whether the answer holds bytes of an
object}. With the operator's key the script reads what may not come back.
"""

from __future__ import annotations

import datetime
import itertools
import json
import sys
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ENOUGH = 12
"""Bytes of an object that don't come about by chance."""

SECONDS = 120
"""How long one call may take on a busy machine."""

ADDRESSES = {"Bucket": "bucket", "Key": "key", "VersionId": "version", "UploadId": "upload"}

SWITCHES = ("BypassGovernanceRetention", "ConfirmRemoveSelfBucketAccess")
"""What makes an operation do more than it would by itself."""


class Target:
    """What one call is aimed at."""

    def __init__(self, bucket: str, key: str, version: str | None, upload: str | None) -> None:
        self.bucket, self.key, self.version, self.upload = bucket, key, version, upload

    def value(self, member: str) -> str | None:
        if member in ADDRESSES:
            return getattr(self, ADDRESSES[member])
        if member == "CopySource":
            return f"{self.bucket}/{self.key}"
        return "theirs" if member == "Id" else None


def made(shape: Any, member: str, target: Target) -> Any:
    """The least value of a shape that S3 would look at."""
    if getattr(shape, "is_tagged_union", False):
        first = next(iter(shape.members))
        return {first: made(shape.members[first], first, target)}
    if shape.type_name == "structure":
        return {name: made(shape.members[name], name, target) for name in shape.required_members}
    if shape.type_name == "list":
        return [made(shape.member, member, target)]
    if shape.type_name == "map":
        return {"theirs": made(shape.value, member, target)}
    if shape.type_name == "string":
        return target.value(member) or (shape.enum[0] if shape.enum else "theirs".ljust(shape.metadata.get("min", 0), "x"))
    if shape.type_name == "timestamp":
        return datetime.datetime.now(datetime.timezone.utc)
    return {"integer": 1, "long": 1, "boolean": True, "blob": b"theirs", "float": 1.0, "double": 1.0}[shape.type_name]


def parameters(operation: Any, target: Target) -> dict[str, Any]:
    shape = operation.input_shape
    if shape is None:
        return {}
    given = made(shape, "", target)
    for name in shape.members:
        if name in ADDRESSES and target.value(name) and name not in given:
            given[name] = target.value(name)
        if name in SWITCHES:
            given[name] = True
        # A configuration is the point of the operation that puts it, though the model calls it optional.
        if operation.name.startswith("Put") and shape.members[name].type_name == "structure" and name not in given:
            given[name] = made(shape.members[name], name, target)
    return given


def by_the_model(model: Any, options: dict[str, Any]) -> Any:
    """Every operation: on the first version, without a version, and on the last one."""
    bucket, (upload_key, upload) = options["bucket"], options["upload"]
    first, last = options["versions"][0], options["versions"][-1]
    for name in model.operation_names:
        operation = model.operation_model(name)
        members = operation.input_shape.members if operation.input_shape else {}
        if "UploadId" in members:
            targets = [Target(bucket, upload_key, None, upload)]
        elif "Key" in members:
            targets = [Target(bucket, first[0], first[1], None), Target(bucket, last[0], None, None)]
        else:
            targets = [Target(bucket, first[0], None, None)]
        for number, target in enumerate(targets):
            yield f"{name} {number}", name, parameters(operation, target)


HEADERS = {
    "retention": {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": datetime.datetime(2099, 1, 1)},
    "legal hold": {"ObjectLockLegalHoldStatus": "ON"},
    "tags": {"Tagging": "theirs=1"},
    "acl": {"ACL": "public-read"},
    "grant": {"GrantRead": 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'},
    "storage class": {"StorageClass": "DEEP_ARCHIVE"},
    "kms": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:aws:kms:eu-central-1:111111111111:key/theirs"},
    "customer's key": {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "0" * 32},
    "redirect": {"WebsiteRedirectLocation": "https://example.invalid/"},
}
"""What a put may carry beyond its bytes, and the gate's puts never do."""


def puts(options: dict[str, Any]) -> Any:
    """Puts: the two that the box is there for, and all that look like them."""
    numbers = itertools.count()
    once = {"IfNoneMatch": "*"}

    def put(what: str, key: str, **more: Any) -> tuple[str, str, dict[str, Any]]:
        return what, "PutObject", {"Bucket": options["bucket"], "Key": key, "Body": b"theirs", **more}

    def fresh() -> str:
        return f"{options['fresh']}{next(numbers)}"

    yield put("a new object of a repository", fresh(), **once)
    yield put("a new object of a run", fresh().replace("repo/", "runs/", 1), **once)
    yield put("a new object, not only if there is none", fresh())
    for what, headers in HEADERS.items():
        yield put(f"a new object with {what}", fresh(), **once, **headers)
    for prefix in ("artifacts/", "", "repo", "runs"):
        yield put(f"a new object in {prefix or 'the root'}", f"{prefix}theirs", **once)
    for number, key in enumerate(sorted({key for key, _ in options["versions"]})):
        yield put(f"over object {number}", key)
        yield put(f"over object {number} if there is none", key, **once)
        yield f"delete object {number}", "DeleteObject", {"Bucket": options["bucket"], "Key": key}
    for number, (key, version) in enumerate(options["versions"]):
        this = {"Bucket": options["bucket"], "Key": key, "VersionId": version}
        yield f"read version {number}", "GetObject", this
        yield f"delete version {number}", "DeleteObject", {**this, "BypassGovernanceRetention": True}
        copy = {"Bucket": this["Bucket"], "Key": fresh(), "CopySource": f"{this['Bucket']}/{key}?versionId={version}"}
        yield f"copy version {number}", "CopyObject", {**copy, "IfNoneMatch": "*"}
    mine = {"Bucket": options["bucket"], "Key": fresh()}
    yield "begin a multipart upload", "CreateMultipartUpload", mine
    select = {"Expression": "SELECT * FROM S3Object", "ExpressionType": "SQL"}
    formats = {"InputSerialization": {"CSV": {}}, "OutputSerialization": {"CSV": {}}}
    key = options["versions"][0][0]
    yield "select", "SelectObjectContent", {"Bucket": options["bucket"], "Key": key, **select, **formats}


class Leaks:
    """The vault's bytes, and whether an answer holds any."""

    def __init__(self, operator: Any, options: dict[str, Any]) -> None:
        self.secrets = []
        for key, version in options["versions"]:
            found = operator.get_object(Bucket=options["bucket"], Key=key, VersionId=version)
            content = found["Body"].read()
            if len(content) >= ENOUGH:
                self.secrets.append(content[:ENOUGH])
        self.answer = b""

    def hear(self, http_response: Any = None, **_: Any) -> None:
        self.answer = bytes(getattr(http_response, "content", b"") or b"")

    def leaked(self, read: bytes) -> bool:
        return any(secret in self.answer + read for secret in self.secrets)


def attempt(client: Any, leaks: Leaks, name: str, given: dict[str, Any]) -> tuple[str | None, bool]:
    """AWS's error code, `not sent` if botocore refused, or None; and whether bytes came back."""
    leaks.answer = b""
    read = b""
    try:
        # A copy: botocore adds to it.
        answer = client._make_api_call(name, dict(given))
        for stream in (answer.get("Body"), answer.get("Payload")):
            events = (str(event).encode() for event in stream or []) if not hasattr(stream, "read") else [stream.read()]
            read += b"".join(events)
    except ClientError as error:
        return error.response["Error"]["Code"], leaks.leaked(read)
    except BotoCoreError as error:
        return f"not sent: {type(error).__name__}", leaks.leaked(read)
    return None, leaks.leaked(read)


def main() -> None:
    endpoint, region, key, secret, text = sys.argv[1:6]
    options = json.loads(text)
    # One try each, and no checks of parameters: what is wrong is for S3 to say.
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=SECONDS,
        read_timeout=SECONDS,
        s3={"addressing_style": "path"},
        # WriteGetObjectResponse would go to a host of its own.
        inject_host_prefix=False,
    )

    def client_of(key: str, secret: str, token: str | None) -> Any:
        session = boto3.Session(key, secret, token, region)
        return session.client("s3", endpoint_url=endpoint, config=config)

    client = client_of(key, secret, options["session_token"])
    leaks = Leaks(client_of(*options["operator"], None), options)
    client.meta.events.register("after-call", leaks.hear)
    results = []
    for what, name, given in itertools.chain(puts(options), by_the_model(client.meta.service_model, options)):
        code, leaked = attempt(client, leaks, name, given)
        results.append({"call": what, "code": code, "leaked": leaked})
    print(json.dumps(results))


if __name__ == "__main__":
    main()
