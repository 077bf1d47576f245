"""The emulator and the machines, from outside: two processes, real requests, roles enforced.

`python -m unittest discover -s tests` in the folder above this one, with the interpreter of the pinned environment.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

PACKAGE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PACKAGE))

from drawbridge_emulator import clients  # noqa: E402
from drawbridge_emulator.addresses import AddressPool  # noqa: E402

REGION, ACCOUNT, BUCKET = "eu-central-1", "123456789012", "emulator-test"
IMAGE = "ami-0123456789abcdef0"

# Runs on the machine with the role's keys from its metadata service, and tells what it got on its console. Python stays
# root: its packages may lie in a home that nobody else may enter.
PROBE = f"""#!/bin/bash
trap 'echo trapped' EXIT
[[ $(env | grep -c -E 'AWS_(ACCESS|SECRET|SESSION)') == 0 ]] && echo no static keys
setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs bash -c 'cd "$HOME" && echo uid $(id -u)'
{sys.executable} - <<'PYTHON'
import boto3, botocore, os
boto3.setup_default_session(region_name=os.environ["AWS_REGION"])
s3 = boto3.client("s3", config=botocore.config.Config(s3={{"addressing_style": "path"}}))
who = boto3.client("sts").get_caller_identity()["UserId"]
s3.put_object(Bucket="{BUCKET}", Key=who.partition(":")[2] + "/hello", Body=b"hello")
print("put allowed")
for attempt in (lambda: s3.get_object(Bucket="{BUCKET}", Key=who.partition(":")[2] + "/hello"),
                lambda: s3.put_object(Bucket="{BUCKET}", Key="i-other/hello", Body=b"")):
    try:
        attempt()
    except botocore.exceptions.ClientError as error:
        print("refused", error.response["Error"]["Code"])
PYTHON
setsid sleep 1000 &
env -i setsid sleep 1001 &
echo done
sleep 1002
"""


def setUpModule() -> None:
    global emulator
    emulator = Emulator()
    unittest.addModuleCleanup(emulator.stop)
    emulator.start()


class Emulator:
    """One `serve` and one `machines` in a folder of their own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="emulator-test-"))
        self.folder.chmod(0o755)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._processes: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        self.ready = self.program("serve", "--port", str(self.port)).stdout.readline()
        if not self.ready:
            raise RuntimeError("the emulator did not start")
        self.program("machines", "--endpoint-url", self.url)

    def program(self, name: str, *arguments: str) -> Any:
        common = ["--region", REGION, "--account", ACCOUNT, "--state-dir", str(self.folder)]
        process = subprocess.Popen(
            [sys.executable, "-m", "drawbridge_emulator", name, *arguments, *common],
            cwd=PACKAGE,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            process.wait(10)
            process.stdout.close()
        shutil.rmtree(self.folder)

    def client(self, service: str) -> Any:
        return clients.root(service, self.url, REGION, ACCOUNT)


class Ready(unittest.TestCase):
    def test_it_says_so_in_one_line(self) -> None:
        self.assertEqual(json.loads(emulator.ready), {"ready": True, "endpoint_url": emulator.url})

    def test_a_taken_port_is_one_clear_line_and_status_1(self) -> None:
        ended = subprocess.run(
            [sys.executable, "-m", "drawbridge_emulator", "serve", "--port", str(emulator.port), "--region", REGION]
            + ["--account", ACCOUNT, "--state-dir", str(emulator.folder / "second")],
            cwd=PACKAGE,
            capture_output=True,
            text=True,
            timeout=20,
        )
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        self.assertRegex(ended.stderr, r"\Aemulator: cannot listen on 127\.0\.0\.1:\d+: Address already in use\n\Z")

    def test_two_emulators_never_share_an_address(self) -> None:
        ports = range(1024, 65536, 16)
        first = {AddressPool(port).take(set()) for port in ports}
        self.assertEqual(len(first), len(ports))
        self.assertTrue(all(64 <= int(str(address).split(".")[1]) <= 127 for address in first))

    def test_it_listens_on_loopback_only(self) -> None:
        listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True).stdout
        own = [line.split() for line in listening.splitlines() if f"pid={emulator._processes[0].pid}," in line]
        self.assertTrue(own)
        self.assertTrue(all(line[3].startswith("127.") for line in own), own)


class Machines(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        iam, s3 = emulator.client("iam"), emulator.client("s3")
        trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        # An instance's id is hexadecimal: no instance is called i-other.
        objects = [f"arn:aws:s3:::{BUCKET}/i-{digit}*" for digit in "0123456789abcdef"]
        put = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": objects}
        put["Condition"] = {"StringLike": {"aws:userid": "*:i-*"}}
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        iam.create_role(RoleName="box", AssumeRolePolicyDocument=_policy(trust))
        iam.put_role_policy(RoleName="box", PolicyName="put", PolicyDocument=_policy(put))
        iam.create_instance_profile(InstanceProfileName="box")
        iam.add_role_to_instance_profile(InstanceProfileName="box", RoleName="box")

    def launch(self, user_data: str, behavior: str = "terminate") -> str:
        instance = emulator.client("ec2").run_instances(
            ImageId=IMAGE,
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            UserData=user_data,
            IamInstanceProfile={"Name": "box"},
            InstanceInitiatedShutdownBehavior=behavior,
        )["Instances"][0]
        self.addCleanup(self.terminate, instance["InstanceId"])
        self.address = instance["PrivateIpAddress"]
        return str(instance["InstanceId"])

    def terminate(self, instance_id: str) -> None:
        emulator.client("ec2").terminate_instances(InstanceIds=[instance_id])

    def state(self, instance_id: str) -> str:
        answer = emulator.client("ec2").describe_instances(InstanceIds=[instance_id])
        return str(answer["Reservations"][0]["Instances"][0]["State"]["Name"])

    def console(self, instance_id: str) -> str:
        log = emulator.folder / "machines" / instance_id / "console.log"
        return log.read_text() if log.exists() else ""

    def test_user_data_runs_with_the_rights_of_the_role_and_dies_with_the_instance(self) -> None:
        instance_id = self.launch(PROBE)
        _until(lambda: "done" in self.console(instance_id))
        said = self.console(instance_id).splitlines()
        denied = "refused AccessDenied"
        self.assertEqual(said, ["no static keys", "uid 65534", "put allowed", denied, denied, "done"])
        _until(lambda: len(_sleepers()) == 3)
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{self.address}:1338/latest/meta-data/instance-id")
        self.assertEqual(refused.exception.code, 401)
        refused.exception.close()
        self.assertEqual(self.metadata("meta-data/instance-id"), instance_id)
        self.assertEqual(self.metadata("meta-data/public-ipv4"), self.address)
        self.assertEqual(self.metadata("meta-data/iam/security-credentials/"), "box")
        self.assertEqual(self.metadata("user-data"), PROBE)
        self.terminate(instance_id)
        _until(lambda: not _sleepers())
        folder = emulator.folder / "machines" / instance_id
        _until(lambda: [path.name for path in folder.iterdir()] == ["console.log"])
        with self.assertRaises(urllib.error.URLError):
            self.metadata("meta-data/instance-id")

    def metadata(self, path: str) -> str:
        base, token = f"http://{self.address}:1338/latest", "X-aws-ec2-metadata-token"
        asking = urllib.request.Request(f"{base}/api/token", method="PUT", headers={f"{token}-ttl-seconds": "60"})
        with urllib.request.urlopen(asking) as answer:
            headers = {token: answer.read().decode()}
        with urllib.request.urlopen(urllib.request.Request(f"{base}/{path}", headers=headers)) as answer:
            return str(answer.read().decode())

    def test_a_machine_that_powers_off_terminates_its_instance(self) -> None:
        instance_id = self.launch("#!/bin/bash\ntrap 'shutdown -P now' EXIT\nexit 3\n")
        _until(lambda: self.state(instance_id) == "terminated")

    def test_or_stops_it_when_told_so(self) -> None:
        instance_id = self.launch("#!/bin/sh\nshutdown -P now; sleep 1002\n", behavior="stop")
        _until(lambda: self.state(instance_id) == "stopped")
        self.assertEqual(_sleepers(), [])

    def test_a_shutdown_can_be_cancelled_and_put_off(self) -> None:
        noted = 'ls "$DRAWBRIDGE_MACHINE/power-off-at"'
        instance_id = self.launch(
            f"#!/bin/sh\nshutdown -P +1; shutdown -c; {noted} || shutdown -P +1; {noted} && echo armed; sleep 1002\n"
        )
        _until(lambda: "armed" in self.console(instance_id))
        self.assertIn("No such file", self.console(instance_id))
        time.sleep(0.6)
        self.assertEqual(self.state(instance_id), "running")


class Executions(unittest.TestCase):
    def setUp(self) -> None:
        self.states = emulator.client("stepfunctions")

    def machine(self, name: str, states: dict[str, Any], *statements: dict[str, Any]) -> str:
        iam = emulator.client("iam")
        trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=_policy(*statements))
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states}
        made = self.states.create_state_machine(name=name, definition=json.dumps(definition), roleArn=role)
        return str(made["stateMachineArn"])

    def test_the_same_start_twice_is_one_execution(self) -> None:
        machine = self.machine("twice", {"Wait": {"Type": "Wait", "Seconds": 30, "End": True}})
        start = {"stateMachineArn": machine, "name": "run", "input": '{"a":1}'}
        first = self.states.start_execution(**start)["executionArn"]
        self.assertEqual(self.states.start_execution(**start)["executionArn"], first)
        self.refused("ExecutionAlreadyExists", lambda: self.states.start_execution(**(start | {"input": "{}"})))
        self.states.stop_execution(executionArn=first, error="Operator", cause="enough")
        ended = self.states.describe_execution(executionArn=first)
        self.assertEqual((ended["status"], ended["error"], ended["cause"]), ("ABORTED", "Operator", "enough"))
        self.refused("ExecutionAlreadyExists", lambda: self.states.start_execution(**start))

    def test_a_token_works_once_and_a_heartbeat_keeps_it_alive(self) -> None:
        wait = {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:ssm:putParameter.waitForTaskToken",
            "Arguments": {"Name": "/test/token", "Type": "String", "Value": "{% $states.context.Task.Token %}"},
            "TimeoutSeconds": 60,
            "HeartbeatSeconds": "{% $states.input.seconds %}",
            "Assign": {"said": "{% $states.result.said %}"},
            "Next": "Tell",
        }
        tell = {"Type": "Succeed", "Output": "{% $said %}"}
        put = {"Effect": "Allow", "Action": "ssm:PutParameter", "Resource": "*"}
        machine = self.machine("token", {"Wait": wait, "Tell": tell}, put)
        run = self.states.start_execution(stateMachineArn=machine, input='{"seconds":3}')["executionArn"]
        token = _until(self.token)
        for _ in range(4):
            time.sleep(1)
            self.states.send_task_heartbeat(taskToken=token)
        said = 'a "quote" and a \\'
        self.states.send_task_success(taskToken=token, output=json.dumps({"said": said}))
        self.refused("TaskTimedOut", lambda: self.states.send_task_success(taskToken=token, output="{}"))
        self.refused("InvalidToken", lambda: self.states.send_task_heartbeat(taskToken="forged"))
        ended = _until(lambda: self.ended(run))
        self.assertEqual((ended["status"], json.loads(ended["output"])), ("SUCCEEDED", said))

    def token(self) -> str | None:
        ssm = emulator.client("ssm")
        try:
            return str(ssm.get_parameter(Name="/test/token")["Parameter"]["Value"])
        except ssm.exceptions.ParameterNotFound:
            return None

    def ended(self, run: str) -> dict[str, Any] | None:
        described = self.states.describe_execution(executionArn=run)
        return None if described["status"] == "RUNNING" else described

    def refused(self, code: str, call: Callable[[], Any]) -> None:
        with self.assertRaises(ClientError) as refused:
            call()
        self.assertEqual(refused.exception.response["Error"]["Code"], code)


class Rules(unittest.TestCase):
    def test_rules_are_found_by_tag_and_revoked_by_id(self) -> None:
        ec2 = emulator.client("ec2")
        group = ec2.create_security_group(GroupName="g", Description="g")["GroupId"]
        permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "1.2.3.4/32"}]}
        tags = [{"ResourceType": "security-group-rule", "Tags": [{"Key": "run", "Value": "r-1"}]}]
        opening = {"GroupId": group, "IpPermissions": [permission], "TagSpecifications": tags}
        ec2.authorize_security_group_ingress(**opening)
        with self.assertRaises(ClientError) as twice:
            ec2.authorize_security_group_ingress(**opening)
        self.assertEqual(twice.exception.response["Error"]["Code"], "InvalidPermission.Duplicate")
        tag = {"Name": "tag:run", "Values": ["r-*"]}
        found = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}, tag])
        ids = [rule["SecurityGroupRuleId"] for rule in found["SecurityGroupRules"]]
        self.assertEqual(len(ids), 1)
        ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=ids)
        self.assertEqual(ec2.describe_security_group_rules(Filters=[tag])["SecurityGroupRules"], [])


class Endings(unittest.TestCase):
    def test_nothing_outlives_a_killed_emulator(self) -> None:
        other = Emulator()
        self.addCleanup(other.stop)
        other.start()
        function = _python_function(other)
        other.client("lambda").invoke(FunctionName=function, Payload=b"{}")
        self.assertEqual(len(_processes_with(other.folder)), 1)
        ec2 = other.client("ec2")
        ec2.run_instances(
            ImageId=IMAGE, MinCount=1, MaxCount=1, UserData="#!/bin/sh\nsetsid sleep 1000 &\nsleep 1001\n"
        )
        _until(lambda: len(_sleepers()) == 2)
        for process in other._processes:
            process.kill()
        _until(lambda: not _processes_with(other.folder) and not _sleepers())


def _python_function(other: Emulator) -> str:
    """A function on the native runtime: it answers every event, and waits for the next."""
    import io
    import zipfile

    bootstrap = f"""#!{sys.executable}
import os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    event = urllib.request.urlopen(api + "next")
    answer = api + event.headers["Lambda-Runtime-Aws-Request-Id"] + "/response"
    urllib.request.urlopen(urllib.request.Request(answer, data=b"{{}}", method="POST"))
"""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, bootstrap)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = other.client("iam").create_role(RoleName="f", AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
    made = other.client("lambda").create_function(
        FunctionName="f",
        Runtime="provided.al2023",
        Handler="bootstrap",
        Role=role,
        Code={"ZipFile": content.getvalue()},
    )
    return str(made["FunctionName"])


def _processes_with(folder: Path) -> list[str]:
    """Processes that run a program out of the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = entry.joinpath("cmdline").read_text()
        except OSError:
            continue
        if f"{folder}/tmp/" in command:
            found.append(command)
    return found


def _sleepers() -> list[str]:
    """The sleeps that the machines of these tests leave running."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = entry.joinpath("cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:1] == [b"sleep"] and words[1] in (b"1000", b"1001", b"1002"):
            found.append(entry.name)
    return found


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def _until(look: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError("it never came true")
        time.sleep(0.05)
    return found


if __name__ == "__main__":
    unittest.main()
