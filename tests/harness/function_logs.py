"""Prints every log event of a stack's functions, each behind its log group's name.

    function_logs.py ENDPOINT REGION KEY_ID SECRET PREFIX
"""

import sys

import boto3


def main() -> None:
    endpoint, region, key, secret, prefix = sys.argv[1:6]
    logs = boto3.client(
        "logs", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret, region_name=region
    )
    for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
        for group in page["logGroups"]:
            name = group["logGroupName"]
            for events in logs.get_paginator("filter_log_events").paginate(logGroupName=name):
                for event in events["events"]:
                    print(name, event["message"].rstrip())


if __name__ == "__main__":
    main()
