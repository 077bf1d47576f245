"""Prints temporary credentials of a role, after letting the operator into its trust policy.

    assume_role.py ENDPOINT REGION KEY_ID SECRET ROLE

ROLE is the beginning of a role's name, as CloudFormation makes it: the stack's name, a hyphen, the logical id.
"""

import json
import sys

import boto3


def main() -> None:
    endpoint, region, key, secret, wanted = sys.argv[1:6]
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=region)
    iam = session.client("iam", endpoint_url=endpoint)
    names = [
        role["RoleName"]
        for page in iam.get_paginator("list_roles").paginate()
        for role in page["Roles"]
        if role["RoleName"].startswith(wanted)
    ]
    if len(names) != 1:
        sys.exit(f"roles that begin with {wanted}: {names or 'none'}")
    role = iam.get_role(RoleName=names[0])["Role"]
    caller = session.client("sts", endpoint_url=endpoint).get_caller_identity()["Arn"]
    trust = role["AssumeRolePolicyDocument"]
    trust["Statement"].append({"Effect": "Allow", "Principal": {"AWS": caller}, "Action": "sts:AssumeRole"})
    iam.update_assume_role_policy(RoleName=names[0], PolicyDocument=json.dumps(trust))
    sts = session.client("sts", endpoint_url=endpoint)
    credentials = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="test")["Credentials"]
    print(json.dumps({name: credentials[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")}))


if __name__ == "__main__":
    main()
