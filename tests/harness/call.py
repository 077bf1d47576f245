"""Makes one call to an AWS service and prints its answer as JSON.

    call.py ENDPOINT REGION KEY_ID SECRET {"service": "events", "operation": "disable_rule", "parameters": {...}}
"""

import json
import sys

import boto3


def main() -> None:
    endpoint, region, key, secret, text = sys.argv[1:6]
    call = json.loads(text)
    client = boto3.client(
        call["service"],
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name=region,
    )
    answer = getattr(client, call["operation"])(**call["parameters"])
    print(json.dumps(answer, default=str))


if __name__ == "__main__":
    main()
