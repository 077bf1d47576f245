"""Proves at every start that the repairs still hold, in an account of its own that no user sees.

Most repairs replace private functions of MiniStack and moto; one that silently stopped working would turn the tests
that rely on it into tests of nothing.
"""

from __future__ import annotations

import base64
import concurrent.futures
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import ClientError

from drawbridge_emulator import clients

ACCOUNT = "999999999999"
WAIT_SECONDS = 15.0
"""Longer than any check takes on a machine that is busy with something else."""

IMAGE = "ami-0123456789abcdef0"

Check = Callable[["Bench"], None]


class Failed(Exception):
    """A check that did not hold."""


class Bench:
    """The clients and the roles that the checks use."""

    def __init__(self, endpoint_url: str, region: str) -> None:
        self.endpoint_url = endpoint_url
        self.region = region
        names = ("cloudwatch", "ec2", "events", "iam", "s3", "sns", "sqs", "ssm", "stepfunctions")
        self._clients = {name: clients.root(name, endpoint_url, region, ACCOUNT) for name in names}

    def root(self, service: str) -> Any:
        return self._clients[service]

    def role(self, name: str, service: str, *statements: dict[str, Any]) -> str:
        iam = self.root("iam")
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
            ],
        }
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=_policy(*statements))
        return str(arn)

    def user(self, service: str, name: str, *statements: dict[str, Any]) -> Any:
        """A client with the keys of a new user."""
        iam = self.root("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=_policy(*statements))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return clients.with_keys(service, self.endpoint_url, self.region, key["AccessKeyId"], key["SecretAccessKey"])

    def outcome(self, name: str, role: str, states: dict[str, Any], **program: Any) -> dict[str, Any]:
        """Runs a state machine to its end."""
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **program}
        machine = self.root("stepfunctions").create_state_machine(
            name=name, definition=json.dumps(definition), roleArn=role
        )["stateMachineArn"]
        run = self.root("stepfunctions").start_execution(stateMachineArn=machine, name="r")["executionArn"]
        return _until(lambda: self._ended(run), f"{name} never ended")

    def _ended(self, run: str) -> dict[str, Any] | None:
        described = self.root("stepfunctions").describe_execution(executionArn=run)
        return None if described["status"] == "RUNNING" else described


def run(endpoint_url: str, region: str, checks: Sequence[Check]) -> str | None:
    """The first of these checks that failed, or None."""
    bench = Bench(endpoint_url, region)
    try:
        with concurrent.futures.ThreadPoolExecutor(len(checks)) as pool:
            outcomes = [(check, pool.submit(check, bench)) for check in checks]
            for check, future in outcomes:
                try:
                    future.result()
                except Exception as error:
                    return f"{check.__name__.replace('_', ' ')}: {error}"
    finally:
        _clean_up(bench)
    return None


# --- The checks; each name is a sentence about what holds ------------------------------------------------------------


def a_heartbeat_expires_and_is_caught(bench: Bench) -> None:
    """Also: JSONata in timeouts, Assign, SDK integration with a task token, Fail with an expression."""
    role = bench.role("heartbeat", "states", _allow("ssm:PutParameter"))
    wait = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:ssm:putParameter.waitForTaskToken",
        "Arguments": {
            "Name": "/selftest/heartbeat",
            "Type": "String",
            "Value": "{% $string({'token': $states.context.Task.Token}) %}",
        },
        "TimeoutSeconds": "{% 30 %}",
        "HeartbeatSeconds": "{% $states.context.Execution.Name = 'r' ? 1 : 60 %}",
        "Catch": [
            {
                "ErrorEquals": ["States.HeartbeatTimeout"],
                "Assign": {"failure": {"said": "{% $states.errorOutput.Error & ' \"quoted\"' %}"}},
                "Output": {},
                "Next": "Tell",
            }
        ],
        "End": True,
    }
    tell = {"Type": "Fail", "Error": "Told", "Cause": "{% $failure.said %}"}
    ended = bench.outcome("heartbeat", role, {"Wait": wait, "Tell": tell})
    _expect(ended.get("error"), "Told")
    _expect(ended.get("cause"), 'States.HeartbeatTimeout "quoted"')


def a_timed_out_execution_is_reported(bench: Bench) -> None:
    sqs, events = bench.root("sqs"), bench.root("events")
    queue = sqs.create_queue(QueueName="selftest")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.states"], "detail": {"status": ["TIMED_OUT"]}}
    events.put_rule(Name="selftest", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="selftest", Targets=[{"Id": "q", "Arn": arn}])
    role = bench.role("timeout", "states")
    ended = bench.outcome("timeout", role, {"Wait": {"Type": "Wait", "Seconds": 20, "End": True}}, TimeoutSeconds=1)
    _expect(ended["status"], "TIMED_OUT")
    messages = _until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"), "no event came")
    _expect(json.loads(messages[0]["Body"])["detail"]["executionArn"], ended["executionArn"])


def what_cannot_be_delivered_is_buried_and_the_alarm_tells(bench: Bench) -> None:
    sqs, events, sns = bench.root("sqs"), bench.root("events"), bench.root("sns")
    urls, arns = {}, {}
    for name, service in (("buried", "events"), ("told", "sns")):
        arns[name] = f"arn:aws:sqs:{bench.region}:{ACCOUNT}:{name}"
        sending = _allow("sqs:SendMessage", arns[name]) | {"Principal": {"Service": f"{service}.amazonaws.com"}}
        urls[name] = sqs.create_queue(QueueName=name, Attributes={"Policy": _policy(sending)})["QueueUrl"]
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arns["told"])
    bench.root("cloudwatch").put_metric_alarm(
        AlarmName="buried",
        Namespace="AWS/SQS",
        MetricName="ApproximateNumberOfMessagesVisible",
        Dimensions=[{"Name": "QueueName", "Value": "buried"}],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[topic],
    )
    nobody = {"Id": "n", "Arn": f"arn:aws:lambda:{bench.region}:{ACCOUNT}:function:nobody"}
    events.put_rule(Name="buried", EventPattern=json.dumps({"source": ["selftest"]}))
    events.put_targets(Rule="buried", Targets=[nobody | {"DeadLetterConfig": {"Arn": arns["buried"]}}])
    events.put_events(Entries=[{"Source": "selftest", "DetailType": "t", "Detail": "{}"}])
    for name, what in (("told", "no alarm came"), ("buried", "nothing was buried")):
        _until(lambda name=name: sqs.receive_message(QueueUrl=urls[name]).get("Messages"), what)


def a_state_machine_without_rights_is_denied(bench: Bench) -> None:
    role = bench.role("powerless", "states", _allow("ssm:GetParameter"))
    put = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:ssm:putParameter",
        "Arguments": {"Name": "/selftest/denied", "Type": "String", "Value": "x"},
        "End": True,
    }
    ended = bench.outcome("powerless", role, {"Put": put})
    _expect(ended["status"], "FAILED")
    if "not authorized" not in ended.get("cause", ""):
        raise Failed(f"it failed with {ended.get('error')}: {ended.get('cause')}")


def an_aborted_execution_stays_aborted(bench: Bench) -> None:
    """Its task ends with an error, which the catcher must not get to see."""
    states = bench.root("stepfunctions")
    role = bench.role("aborted", "states", _allow("ssm:PutParameter"))
    wait = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:ssm:putParameter.waitForTaskToken",
        "Arguments": {"Name": "/selftest/aborted", "Type": "String", "Value": "{% $states.context.Task.Token %}"},
        "TimeoutSeconds": 60,
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Later"}],
        "Next": "Later",
    }
    definition = {"QueryLanguage": "JSONata", "StartAt": "Wait", "States": {"Wait": wait, "Later": {"Type": "Succeed"}}}
    machine = states.create_state_machine(name="aborted", definition=json.dumps(definition), roleArn=role)
    start = {"stateMachineArn": machine["stateMachineArn"], "name": "r", "input": "{}"}
    run = states.start_execution(**start)["executionArn"]
    _expect(states.start_execution(**start)["executionArn"], run)
    _refused(lambda: states.start_execution(**(start | {"input": "[]"})), "ExecutionAlreadyExists")
    token = _until(lambda: _parameter(bench, "/selftest/aborted"), "its task never began")
    states.stop_execution(executionArn=run, error="E", cause="C")
    _refused(lambda: states.send_task_success(taskToken=token, output="{}"), "TaskTimedOut")
    _refused(lambda: states.send_task_success(taskToken="forged", output="{}"), "InvalidToken")
    time.sleep(0.3)
    ended = states.describe_execution(executionArn=run)
    _expect((ended["status"], ended.get("error"), ended.get("cause")), ("ABORTED", "E", "C"))
    last = states.get_execution_history(executionArn=run)["events"][-1]
    _expect(last["type"], "ExecutionAborted")


def _parameter(bench: Bench, name: str) -> str | None:
    ssm = bench.root("ssm")
    try:
        return str(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        return None


def a_launch_template_is_applied_and_its_role_must_be_passed(bench: Bench) -> None:
    ec2, iam = bench.root("ec2"), bench.root("iam")
    role = bench.role("box", "ec2")
    iam.create_instance_profile(InstanceProfileName="box")
    iam.add_role_to_instance_profile(InstanceProfileName="box", RoleName="box")
    data = {
        "ImageId": IMAGE,
        "InstanceType": "t3.micro",
        "IamInstanceProfile": {"Name": "box"},
        "InstanceInitiatedShutdownBehavior": "terminate",
        "UserData": base64.b64encode(b"#!/bin/sh").decode(),
    }
    template = ec2.create_launch_template(LaunchTemplateName="box", LaunchTemplateData=data)["LaunchTemplate"]
    launch = {
        "LaunchTemplate": {"LaunchTemplateId": template["LaunchTemplateId"]},
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": "once",
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "app", "Value": "selftest"}]}],
    }
    tagged = {"StringEquals": {"aws:RequestTag/app": "selftest", "ec2:InstanceType": "t3.micro"}}
    instance = _allow("ec2:RunInstances", "arn:aws:ec2:*:*:instance/*", tagged)
    rest = _allow("ec2:RunInstances", ["arn:aws:ec2:*:*:*/*", "arn:aws:ec2:*::image/*"])
    rest["Condition"] = {"StringEquals": {"ec2:IsLaunchTemplateResource": ["true", "false"]}}
    tags = _allow("ec2:CreateTags", "*", {"StringEquals": {"ec2:CreateAction": "RunInstances"}})
    passing = _allow("iam:PassRole", role, {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}})
    _refused(
        lambda: bench.user("ec2", "cannot-pass", instance, rest, tags).run_instances(**launch), "UnauthorizedOperation"
    )
    launcher = bench.user("ec2", "launcher", instance, rest, tags, passing)
    launched = launcher.run_instances(**launch)["Instances"][0]
    _expect(launcher.run_instances(**launch)["Instances"][0]["InstanceId"], launched["InstanceId"])
    _expect(launched["State"]["Name"], "pending")
    _expect(launched["InstanceType"], "t3.micro")
    _expect(launched["IamInstanceProfile"]["Arn"].rpartition("/")[2], "box")
    by_tag = [{"Name": "tag:app", "Values": ["selftest"]}, {"Name": "instance-state-name", "Values": ["running"]}]
    _until(lambda: ec2.describe_instances(Filters=by_tag)["Reservations"], "it never ran")
    for attribute, value in (("userData", data["UserData"]), ("instanceInitiatedShutdownBehavior", "terminate")):
        answer = ec2.describe_instance_attribute(InstanceId=launched["InstanceId"], Attribute=attribute)
        _expect(answer[attribute[0].upper() + attribute[1:]]["Value"], value)
    _refused(lambda: ec2.describe_instances(Filters=[{"Name": "no-such", "Values": ["x"]}]), "InvalidParameterValue")


def a_user_gets_what_the_policy_says_and_a_wrong_secret_gets_nothing(bench: Bench) -> None:
    bucket = "drawbridge-selftest"
    bench.root("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": bench.region})
    put = _allow("s3:PutObject", f"arn:aws:s3:::{bucket}/${{aws:username}}/*")
    user = bench.user("s3", "putter", put)
    user.put_object(Bucket=bucket, Key="putter/a", Body=b"a")
    _refused(lambda: user.put_object(Bucket=bucket, Key="other/a", Body=b"a"), "AccessDenied")
    _refused(lambda: user.get_object(Bucket=bucket, Key="putter/a"), "AccessDenied")
    key = bench.root("iam").create_access_key(UserName="putter")["AccessKey"]["AccessKeyId"]
    forger = clients.with_keys("s3", bench.endpoint_url, bench.region, key, "wrong")
    _refused(lambda: forger.put_object(Bucket=bucket, Key="putter/b", Body=b"b"), "SignatureDoesNotMatch")
    stranger = clients.with_keys("s3", bench.endpoint_url, bench.region, "AKIAIOSFODNN7EXAMPLE", "x")
    _refused(lambda: stranger.put_object(Bucket=bucket, Key="putter/c", Body=b"c"), "InvalidAccessKeyId")


CHECKS: tuple[Check, ...] = (
    a_heartbeat_expires_and_is_caught,
    a_timed_out_execution_is_reported,
    what_cannot_be_delivered_is_buried_and_the_alarm_tells,
    a_state_machine_without_rights_is_denied,
    an_aborted_execution_stays_aborted,
    a_launch_template_is_applied_and_its_role_must_be_passed,
    a_user_gets_what_the_policy_says_and_a_wrong_secret_gets_nothing,
)

OF_OUR_INTERPRETER: tuple[Check, ...] = (
    a_heartbeat_expires_and_is_caught,
    a_timed_out_execution_is_reported,
    a_state_machine_without_rights_is_denied,
    an_aborted_execution_stays_aborted,
)
"""What MiniStack's own interpreter of state machines can't do."""


def _clean_up(bench: Bench) -> None:
    """Bucket names and addresses are shared by all accounts; the rest stays where nobody looks."""
    s3, ec2 = bench.root("s3"), bench.root("ec2")
    for bucket in s3.list_buckets()["Buckets"]:
        for item in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            s3.delete_object(Bucket=bucket["Name"], Key=item["Key"])
        s3.delete_bucket(Bucket=bucket["Name"])
    reservations = ec2.describe_instances()["Reservations"]
    instances = [instance["InstanceId"] for reservation in reservations for instance in reservation["Instances"]]
    if instances:
        ec2.terminate_instances(InstanceIds=instances)


def _allow(action: str, resource: Any = "*", condition: dict[str, Any] | None = None) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return statement | ({"Condition": condition} if condition else {})


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def _expect(actual: Any, wanted: Any) -> None:
    if actual != wanted:
        raise Failed(f"expected {wanted!r}, got {actual!r}")


def _refused(call: Callable[[], Any], code: str) -> None:
    try:
        call()
    except ClientError as error:
        _expect(error.response["Error"]["Code"], code)
    else:
        raise Failed(f"expected {code}, but the call was allowed")


def _until(look: Callable[[], Any], otherwise: str) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise Failed(otherwise)
