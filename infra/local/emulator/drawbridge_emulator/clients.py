"""boto3 clients for the parts that run beside the emulator."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config


def root(service: str, endpoint_url: str, region: str, account: str) -> Any:
    """A client with the account's root rights: MiniStack takes an account number for its root's key.

    For the emulator's own programs only. Never put these keys where a box, a function or an agent can read them.
    """
    return with_keys(service, endpoint_url, region, account, "root")


def with_keys(service: str, endpoint_url: str, region: str, key: str, secret: str, token: str | None = None) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}, max_pool_connections=16),
    )
