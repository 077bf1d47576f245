"""Prints all that there is to know of a bucket, as JSON: every version with its bytes' hash and every setting of the two.

    whole_vault.py ENDPOINT REGION KEY_ID SECRET BUCKET

Settings are whatever operations of botocore's S3 model read one: `Get...` and `List...` that need a bucket and no more, or an object's
key too. A new one is read as soon as botocore knows it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def readers(model: Any, needed: set[str]) -> list[str]:
    """The operations that read something of exactly these."""
    found = []
    for name in model.operation_names:
        shape = model.operation_model(name).input_shape
        if name.startswith(("Get", "List")) and shape is not None and set(shape.required_members) == needed:
            found.append(name)
    return found


def said(client: Any, name: str, **given: Any) -> Any:
    """The answer without what is new each time, or the error's code."""
    try:
        answer = client._make_api_call(name, given)
    except ClientError as error:
        return error.response["Error"]["Code"]
    answer.pop("ResponseMetadata", None)
    for stream in ("Body", "Payload"):
        if hasattr(answer.get(stream), "read"):
            answer[stream] = hashlib.sha256(answer[stream].read()).hexdigest()
    return answer


def main() -> None:
    endpoint, region, key, secret, bucket = sys.argv[1:6]
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}),
    )
    model = client.meta.service_model
    listings = ("ListObjects", "ListObjectsV2", "ListObjectVersions")
    of_bucket = [name for name in readers(model, {"Bucket"}) if name not in listings]
    whole: dict[str, Any] = {"buckets": said(client, "ListBuckets"), "settings": {}, "versions": {}, "markers": []}
    for name in of_bucket:
        whole["settings"][name] = said(client, name, Bucket=bucket)
    of_object = readers(model, {"Bucket", "Key"})
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        whole["markers"] += page.get("DeleteMarkers", [])
        for version in page.get("Versions", []):
            this = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
            of_version = whole["versions"][f"{version['Key']} {version['VersionId']}"] = {}
            for name in of_object:
                members = model.operation_model(name).input_shape.members
                of_version[name] = said(client, name, **{member: this[member] for member in this if member in members})
    print(json.dumps(whole, default=str, sort_keys=True))


if __name__ == "__main__":
    main()
