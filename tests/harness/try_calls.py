"""Makes calls to AWS services and prints, as a JSON list, the error code of each, or null where it succeeded.

    try_calls.py ENDPOINT REGION KEY_ID SECRET [{"service": "s3", "operation": "get_object", "parameters": {...}}, ...]
"""

import json
import sys

import boto3
from botocore.exceptions import ClientError


def main() -> None:
    endpoint, region, key, secret, text = sys.argv[1:6]
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=region)
    codes = []
    for call in json.loads(text):
        client = session.client(call["service"], endpoint_url=endpoint)
        try:
            getattr(client, call["operation"])(**call["parameters"])
            codes.append(None)
        except ClientError as error:
            codes.append(error.response["Error"]["Code"])
    print(json.dumps(codes))


if __name__ == "__main__":
    main()
