"""Plays the machines of an emulated EC2: a machine runs as long as its instance does.

The only program that holds the account's root keys; it looks at instances and gives each machine its role's keys.
"""

from __future__ import annotations

import base64
import datetime
import logging
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from drawbridge_emulator import clients, processes
from drawbridge_emulator.imds import Metadata
from drawbridge_emulator.machine import ROOM, Machine, install_programs
from drawbridge_emulator.trust import trusts

LOOK_SECONDS = 0.25
POWERED_OFF_SECONDS = 5.0
"""How long EC2 takes to see that a machine has powered itself off. On AWS, some seconds, and more for a slow shutdown."""
SESSION_SECONDS = 3600
RENEW_SECONDS = 300
"""A role's keys are renewed when they would end within this time."""

LOG = logging.getLogger("machines")


def run(endpoint_url: str, region: str, account: str, state_dir: Path, box_endpoint_url: str | None) -> int:
    """Plays machines until SIGTERM or SIGINT. They are told of `box_endpoint_url`, if it is given."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s machines %(message)s", force=True)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    folder = state_dir.resolve() / "machines"
    processes.when_we_are_gone_kill(processes.started_with(f"{ROOM}={folder}".encode()))
    processes.adopt_orphans()
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    room = Room(endpoint_url, region, account, folder, box_endpoint_url or endpoint_url)
    LOG.info("watching %s", endpoint_url)
    try:
        while not stop.wait(LOOK_SECONDS):
            try:
                room.look()
            except (BotoCoreError, ClientError, OSError) as error:
                LOG.warning("could not look: %s", error)
    finally:
        room.clear()
    return 0


class Room:
    """The machines that run, by instance id."""

    def __init__(self, endpoint_url: str, region: str, account: str, folder: Path, box_endpoint_url: str) -> None:
        self._box_endpoint_url, self._region, self._account, self._folder = box_endpoint_url, region, account, folder
        self._ec2, self._iam, self._sts = (
            clients.root(name, endpoint_url, region, account) for name in ("ec2", "iam", "sts")
        )
        self._programs = install_programs(folder / "bin")
        self._machines: dict[str, Machine] = {}
        self._ended: set[str] = set()
        """Instances whose machine is over, though they still run: it powered itself off, or could not start."""
        self._powered_off: dict[str, float] = {}
        """Those of them that EC2 has yet to see, and when it does, by the monotonic clock."""

    def look(self) -> None:
        """Starts and ends machines until they agree with the instances."""
        pages = self._ec2.get_paginator("describe_instances").paginate()
        instances = {
            instance["InstanceId"]: instance
            for page in pages
            for reservation in page["Reservations"]
            for instance in reservation["Instances"]
        }
        running = {key for key, instance in instances.items() if instance["State"]["Name"] == "running"}
        for instance_id in set(self._machines) - running:
            self._end(instance_id, "its instance left running")
        self._ended &= running
        for instance_id in running - set(self._machines) - self._ended:
            self._start(instances[instance_id])
        processes.reap(keep={machine.pid for machine in self._machines.values()})
        for instance_id, machine in list(self._machines.items()):
            if machine.wants_to_power_off():
                # First the machine: on AWS, too, nothing runs any more when the instance changes its state.
                self._end(instance_id, "it powered itself off")
                self._ended.add(instance_id)
                self._powered_off[instance_id] = time.monotonic() + POWERED_OFF_SECONDS
        for instance_id, seen_at in list(self._powered_off.items()):
            if instance_id not in running:
                del self._powered_off[instance_id]
            elif time.monotonic() >= seen_at:
                self._tell(instance_id)

    def clear(self) -> None:
        """Ends every machine."""
        for instance_id in list(self._machines):
            self._end(instance_id, "the emulator ends")

    def _start(self, instance: dict[str, Any]) -> None:
        instance_id = instance["InstanceId"]
        try:
            metadata = self._metadata(instance)
            self._machines[instance_id] = Machine(
                self._folder / instance_id, self._programs, metadata, self._box_endpoint_url
            )
            LOG.info("start %s at %s role=%s", instance_id, metadata.address, metadata.role or "none")
        except (OSError, ClientError) as error:
            self._ended.add(instance_id)
            LOG.error("cannot start %s: %s", instance_id, error)

    def _end(self, instance_id: str, reason: str) -> None:
        machine = self._machines.pop(instance_id)
        left = machine.cut_power()
        status = machine.booted()
        machine.remove()
        LOG.info("end %s: %s user_data_status=%s left=%s", instance_id, reason, status, sorted(left))

    def _tell(self, instance_id: str) -> None:
        """Has EC2 do with an instance that powered off what its shutdown behaviour says. Tried at each look."""
        name = "instanceInitiatedShutdownBehavior"
        answer = self._ec2.describe_instance_attribute(InstanceId=instance_id, Attribute=name)
        behavior = answer["InstanceInitiatedShutdownBehavior"]["Value"]
        change = self._ec2.terminate_instances if behavior == "terminate" else self._ec2.stop_instances
        change(InstanceIds=[instance_id])
        del self._powered_off[instance_id]
        LOG.info("%s %s", behavior, instance_id)

    def _metadata(self, instance: dict[str, Any]) -> Metadata:
        instance_id = instance["InstanceId"]
        answer = self._ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
        role = self._role(instance)
        return Metadata(
            instance_id=instance_id,
            address=instance["PrivateIpAddress"],
            public_address=instance.get("PublicIpAddress", ""),
            region=self._region,
            zone=instance["Placement"]["AvailabilityZone"],
            account=self._account,
            image_id=instance["ImageId"],
            instance_type=instance["InstanceType"],
            user_data=base64.b64decode(answer.get("UserData", {}).get("Value", "")),
            role=role.get("RoleName", ""),
            credentials=Credentials(self._sts, role.get("Arn", ""), instance_id).current,
        )

    def _role(self, instance: dict[str, Any]) -> dict[str, Any]:
        """The role of the instance's profile, if EC2 may assume it."""
        arn = instance.get("IamInstanceProfile", {}).get("Arn")
        if not arn:
            return {}
        profile = self._iam.get_instance_profile(InstanceProfileName=arn.rpartition("/")[2])["InstanceProfile"]
        for role in profile["Roles"]:
            if trusts(role, "ec2"):
                return dict(role)
            LOG.warning("%s: ec2.amazonaws.com may not assume %s", instance["InstanceId"], role["Arn"])
        return {}


class Credentials:
    """The keys of a machine's role. The session is named after the instance, so that `aws:userid` tells which."""

    def __init__(self, sts: Any, role_arn: str, instance_id: str) -> None:
        self._sts, self._role_arn, self._instance_id = sts, role_arn, instance_id
        self._keys: dict[str, str] = {}
        self._renew_at = datetime.datetime.min.replace(tzinfo=datetime.UTC)
        self._lock = threading.Lock()

    def current(self) -> dict[str, str]:
        with self._lock:
            now = datetime.datetime.now(tz=datetime.UTC)
            if now >= self._renew_at:
                keys = self._sts.assume_role(
                    RoleArn=self._role_arn, RoleSessionName=self._instance_id, DurationSeconds=SESSION_SECONDS
                )["Credentials"]
                ends = keys["Expiration"].astimezone(datetime.UTC)
                self._renew_at = ends - datetime.timedelta(seconds=RENEW_SECONDS)
                self._keys = {
                    "Code": "Success",
                    "Type": "AWS-HMAC",
                    "LastUpdated": f"{now:%Y-%m-%dT%H:%M:%SZ}",
                    "AccessKeyId": keys["AccessKeyId"],
                    "SecretAccessKey": keys["SecretAccessKey"],
                    "Token": keys["SessionToken"],
                    "Expiration": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
                }
            return dict(self._keys)
