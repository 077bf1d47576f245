"""Plays `sam deploy`, then applies what CloudFormation here accepts but ignores, and makes the users of the stack."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from drawbridge_emulator import clients, template

DEPLOY_SECONDS = 60
"""Stacks come up in about a second here."""

AGENT, OPERATOR = "agent", "operator"

BUCKET_SETTINGS = ("ObjectLockConfiguration", "LifecycleConfiguration")

Client = Callable[[str], Any]


class DeployFailed(Exception):
    """Why the stack is not up; one line for the user."""


def deploy(arguments: argparse.Namespace) -> int:
    """Deploys, and writes outputs and keys to `--out`. Returns the exit status."""
    try:
        made = _Deployment(arguments).run()
    except (DeployFailed, BotoCoreError, ClientError, OSError, ValueError) as error:
        print(f"deploy: {error}", file=sys.stderr)
        return 1
    arguments.out.touch(mode=0o600)
    arguments.out.write_text(json.dumps(made, indent=2) + "\n")
    return 0


class _Deployment:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.stack = arguments.stack_name
        self._clients: dict[str, Any] = {}
        self.template = template.load(arguments.template)
        for item in arguments.set:
            if "=" not in item:
                raise ValueError(f"--set wants KEY=VALUE, not {item!r}")
        given = dict(item.split("=", 1) for item in arguments.set)
        self.parameters = template.parameters(self.template, given)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            arguments = self.arguments
            self._clients[service] = clients.root(service, arguments.endpoint_url, arguments.region, arguments.account)
        return self._clients[service]

    def run(self) -> dict[str, Any]:
        body = template.packaged(self.template, self._upload())
        outputs = self._create_or_update(json.dumps(body))
        resources = self._resources()
        self._apply_ignored_settings(resources)
        return {
            "outputs": outputs,
            "agent": self._user(AGENT, outputs.get("AgentPolicyArn")),
            "admin": self._user(OPERATOR, "arn:aws:iam::aws:policy/AdministratorAccess"),
            "resources": resources,
        }

    def _upload(self) -> dict[str, tuple[str, str]]:
        """Uploads each file under its hash, so that the template changes when a file does, and only then."""
        s3 = self.client("s3")
        arguments = self.arguments
        bucket = f"sam-{self.stack}-{arguments.region}-{arguments.account}".lower()
        try:
            s3.head_bucket(Bucket=bucket)
        except ClientError:
            location = {"LocationConstraint": arguments.region}
            s3.create_bucket(
                Bucket=bucket, **({} if arguments.region == "us-east-1" else {"CreateBucketConfiguration": location})
            )
        uploaded: dict[str, tuple[str, str]] = {}
        files = template.local_files(self.template, arguments.template.parent, arguments.packages)
        for uri, path in files.items():
            content = path.read_bytes()
            key = f"{hashlib.sha256(content).hexdigest()}/{path.name}"
            s3.put_object(Bucket=bucket, Key=key, Body=content)
            uploaded[uri] = (bucket, key)
        return uploaded

    def _create_or_update(self, body: str) -> dict[str, str]:
        cloudformation = self.client("cloudformation")
        request = {
            "StackName": self.stack,
            "TemplateBody": body,
            "Parameters": [{"ParameterKey": k, "ParameterValue": str(v)} for k, v in self.parameters.items()],
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        }
        try:
            cloudformation.describe_stacks(StackName=self.stack)
        except ClientError:
            cloudformation.create_stack(**request)
        else:
            try:
                cloudformation.update_stack(**request)
            except ClientError as error:
                if "No updates" not in str(error):
                    raise
        return self._wait(cloudformation)

    def _wait(self, cloudformation: Any) -> dict[str, str]:
        deadline = time.monotonic() + DEPLOY_SECONDS
        while True:
            stack = cloudformation.describe_stacks(StackName=self.stack)["Stacks"][0]
            status = stack["StackStatus"]
            if not status.endswith("_IN_PROGRESS"):
                break
            if time.monotonic() > deadline:
                raise DeployFailed(f"{self.stack} is still {status} after {DEPLOY_SECONDS} s")
            time.sleep(0.1)
        if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            raise DeployFailed(f"{self.stack} is {status}: {self._first_failure(cloudformation)}")
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def _first_failure(self, cloudformation: Any) -> str:
        events = cloudformation.describe_stack_events(StackName=self.stack)["StackEvents"]
        for event in reversed(events):
            if event["ResourceStatus"].endswith("_FAILED"):
                return f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
        return "no event says why"

    def _resources(self) -> dict[str, str]:
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.stack)
        return {
            resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "")
            for page in pages
            for resource in page["StackResourceSummaries"]
        }

    def _user(self, name: str, policy: str | None) -> dict[str, str]:
        """A user with real keys, new at every deploy: keys are shown only once."""
        iam = self.client("iam")
        try:
            iam.create_user(UserName=name)
        except iam.exceptions.EntityAlreadyExistsException:
            for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
                iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        if policy:
            iam.attach_user_policy(UserName=name, PolicyArn=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}

    def _apply_ignored_settings(self, resources: dict[str, str]) -> None:
        """Reserved concurrency, Object Lock and lifecycle rules. CloudFormation on AWS sets them itself."""
        values = template.Values(self.template, {**self.parameters, **resources})
        for name, resource in self.template["Resources"].items():
            properties = resource.get("Properties", {})
            if name not in resources:
                continue
            if resource["Type"] == "AWS::Serverless::Function":
                reserved = _integers(values.of(properties.get("ReservedConcurrentExecutions")))
                _reserve(self.client("lambda"), resources[name], reserved)
            if resource["Type"] == "AWS::S3::Bucket":
                settings = {key: _integers(values.of(properties[key])) for key in BUCKET_SETTINGS if key in properties}
                _set_up_bucket(self.client("s3"), resources[name], settings)


def _reserve(client: Any, function: str, reserved: int | None) -> None:
    if reserved is None:
        client.delete_function_concurrency(FunctionName=function)
    else:
        client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=reserved)


def _set_up_bucket(s3: Any, bucket: str, settings: dict[str, Any]) -> None:
    if "ObjectLockConfiguration" in settings:
        s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=settings["ObjectLockConfiguration"])
    if "LifecycleConfiguration" in settings:
        rules = [_lifecycle_rule(rule) for rule in settings["LifecycleConfiguration"]["Rules"]]
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})


def _lifecycle_rule(rule: dict[str, Any]) -> dict[str, Any]:
    """CloudFormation words lifecycle rules differently from S3."""
    reworded = ("Id", "Prefix", "ExpirationInDays", "ExpiredObjectDeleteMarker")
    same = {key: value for key, value in rule.items() if key not in reworded}
    expiration = {
        key: rule[name]
        for key, name in (("Days", "ExpirationInDays"), ("ExpiredObjectDeleteMarker", "ExpiredObjectDeleteMarker"))
        if name in rule
    }
    return {
        "ID": rule.get("Id", ""),
        "Filter": {"Prefix": rule.get("Prefix", "")},
        **same,
        **({"Expiration": expiration} if expiration else {}),
    }


def _integers(node: Any) -> Any:
    """Parameters are text; S3 wants numbers of days."""
    if isinstance(node, list):
        return [_integers(item) for item in node]
    if isinstance(node, dict):
        return {key: _integers(value) for key, value in node.items()}
    return int(node) if isinstance(node, str) and node.isdigit() else node
