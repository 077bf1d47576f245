"""Instances as Drawbridge needs them: launched from a template, at an address that exists, through EC2's states.

MiniStack's instances are records that run from the start and ignore most of the request. No machine runs here
either; `machine` is what looks at these records and plays the machines.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from html import escape
from typing import Any

from ministack.services import ec2 as ministack_ec2

from drawbridge_emulator import ec2_filters, ec2_launch, ec2_rules
from drawbridge_emulator.addresses import AddressPool
from drawbridge_emulator.ec2_launch import Invalid, Launch

LOG = logging.getLogger(__name__)

PENDING_SECONDS = 1.0
"""How long an instance is pending. On AWS, some seconds."""

SHUTTING_DOWN_SECONDS = 0.3
"""How long shutting-down and stopping take. On AWS, up to a minute or two."""

STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
ENDED = ("shutting-down", "terminated")

Params = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]

_INSTANCE_ID = re.compile(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})")
_lock = threading.RLock()
"""Held while instances change, since timers change them beside the requests."""


def install(port: int) -> None:
    pool = AddressPool(port)
    actions: dict[str, Callable[[Params], Response]] = {
        "RunInstances": lambda params: _run_instances(params, pool),
        "TerminateInstances": _terminate_instances,
        "StopInstances": _stop_instances,
        "DescribeInstanceAttribute": _describe_instance_attribute,
        "CreateTags": _create_tags,
    }
    for action, handler in actions.items():
        ministack_ec2._ACTION_MAP[action] = _answering(handler)
    ec2_rules.install()
    ec2_filters.install()
    _describe_more()


def _answering(handler: Callable[[Params], Response]) -> Callable[[Params], Response]:
    def answer(params: Params) -> Response:
        try:
            if _one(params, "DryRun").lower() == "true":
                raise Invalid("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
            with _lock:
                return handler(params)
        except Invalid as error:
            return ministack_ec2._error(error.code, escape(error.message), 412 if "DryRun" in error.code else 400)

    return answer


def _one(params: Params, name: str) -> str:
    return ministack_ec2._p(params, name)


# --- Launching -------------------------------------------------------------------------------------------------------


def _run_instances(params: Params, pool: AddressPool) -> Response:
    launch = ec2_launch.parse(params)
    again = _launched_before(params, launch)
    if again:
        return _reservation(again)
    subnet = ministack_ec2._subnets.get(launch.subnet_id)
    if subnet is None:
        raise Invalid("InvalidSubnetID.NotFound", f"The subnet ID '{launch.subnet_id}' does not exist")
    for group in launch.security_group_ids:
        if group not in ministack_ec2._security_groups:
            raise Invalid("InvalidGroup.NotFound", f"The security group '{group}' does not exist")
    profile = _profile(launch)
    addresses = _addresses(pool, launch.count)
    instances = ministack_ec2._launch_instances_internal(
        image_id=launch.image_id,
        instance_type=launch.instance_type,
        subnet_id=launch.subnet_id,
        count=launch.count,
        key_name=launch.key_name,
        user_data=launch.user_data,
        sg_ids=launch.security_group_ids,
        iam_profile=profile,
    )
    for instance, address in zip(instances, addresses, strict=False):
        _furnish(instance, launch, subnet, address, _fingerprint(params))
    LOG.info("launched %s", [(i["InstanceId"], i["PrivateIpAddress"]) for i in instances])
    return _reservation(instances)


def _furnish(instance: dict[str, Any], launch: Launch, subnet: dict[str, Any], address: str, asked: str) -> None:
    """Overwrites what MiniStack made up."""
    zone = subnet.get("AvailabilityZone") or instance["Placement"]["AvailabilityZone"]
    instance |= {
        # The one address is both: inside and outside of an emulated network are the same machine.
        "PrivateIpAddress": address,
        "PublicIpAddress": address if launch.public_address else "",
        "PublicDnsName": "",
        "PrivateDnsName": f"ip-{address.replace('.', '-')}.internal",
        "Placement": {"AvailabilityZone": zone, "Tenancy": "default"},
        "ShutdownBehavior": launch.shutdown_behavior,
        "MetadataOptions": launch.metadata_options,
        "ClientToken": launch.client_token,
        "ClientTokenZone": zone,
        "Asked": asked,
    }
    _tag(instance["InstanceId"], launch.tags.get("instance", {}))
    for mapping in instance["BlockDeviceMappings"]:
        _tag(mapping["Ebs"]["VolumeId"], launch.tags.get("volume", {}))
    _enter(instance, "pending")
    _later(PENDING_SECONDS, instance, "pending", "running")


def _launched_before(params: Params, launch: Launch) -> list[dict[str, Any]]:
    """The instances that this client token launched. On AWS a token counts within one zone; so it does here."""
    if not launch.client_token:
        return []
    zone = (ministack_ec2._subnets.get(launch.subnet_id) or {}).get("AvailabilityZone")
    known = [
        instance
        for instance in ministack_ec2._instances.values()
        if instance.get("ClientToken") == launch.client_token and instance.get("ClientTokenZone") == zone
    ]
    if known and known[0]["Asked"] != _fingerprint(params):
        raise Invalid(
            "IdempotentParameterMismatch",
            "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
        )
    return known


def _fingerprint(params: Params) -> str:
    return repr(sorted((key, value) for key, value in params.items() if not key.startswith("X-Amz")))


def _profile(launch: Launch) -> dict[str, str] | None:
    if not launch.profile:
        return None
    arn, name = launch.profile.get("Arn", ""), launch.profile.get("Name", "")
    profile, error = ministack_ec2._resolve_iam_instance_profile(iam_arn=arn, iam_name=name)
    if error:
        member, value = ("arn", arn) if arn else ("name", name)
        raise Invalid("InvalidParameterValue", f"Value ({value}) for parameter iamInstanceProfile.{member} is invalid")
    return profile


def _addresses(pool: AddressPool, count: int) -> list[str]:
    in_use = {
        instance["PrivateIpAddress"]
        for instance in ministack_ec2._instances._data.values()
        if instance["State"]["Name"] != "terminated"
    }
    addresses: list[str] = []
    for _ in range(count):
        address = pool.take(in_use | set(addresses))
        if address is None:
            raise Invalid("InsufficientFreeAddressesInSubnet", "All loopback addresses of this emulator are in use.")
        addresses.append(address)
    return addresses


def _reservation(instances: list[dict[str, Any]]) -> Response:
    items = "".join(ministack_ec2._instance_xml(instance) for instance in instances)
    reservation = f"r-{instances[0]['InstanceId'][2:]}"
    owner = ministack_ec2.get_account_id()
    inner = (
        f"<reservationId>{reservation}</reservationId><ownerId>{owner}</ownerId><groupSet/>"
        f"<instancesSet>{items}</instancesSet>"
    )
    return ministack_ec2._xml(200, "RunInstancesResponse", inner)


# --- States ----------------------------------------------------------------------------------------------------------


def _enter(instance: dict[str, Any], state: str) -> None:
    instance["State"] = {"Code": STATES[state], "Name": state}


def _later(seconds: float, instance: dict[str, Any], expected: str, state: str) -> None:
    def step() -> None:
        with _lock:
            if instance["State"]["Name"] == expected:
                _enter(instance, state)
                if state == "terminated":
                    instance.update(PublicIpAddress="", _terminated_at=time.time())

    timer = threading.Timer(seconds, step)
    timer.daemon = True
    timer.start()


def _named(params: Params) -> list[dict[str, Any]]:
    """The instances of a request. One id that is malformed or unknown fails all of it, as on AWS."""
    ids = ministack_ec2._parse_member_list(params, "InstanceId")
    for instance_id in ids:
        if not _INSTANCE_ID.fullmatch(instance_id):
            raise Invalid("InvalidInstanceID.Malformed", f'Invalid id: "{instance_id}"')
        if instance_id not in ministack_ec2._instances:
            raise Invalid("InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist")
    return [ministack_ec2._instances[instance_id] for instance_id in dict.fromkeys(ids)]


def _terminate_instances(params: Params) -> Response:
    return _leave(params, "TerminateInstances", "shutting-down", "terminated", keep=ENDED)


def _stop_instances(params: Params) -> Response:
    for instance in _named(params):
        if instance["State"]["Name"] in ENDED:
            raise Invalid("IncorrectInstanceState", f"The instance '{instance['InstanceId']}' cannot be stopped.")
    return _leave(params, "StopInstances", "stopping", "stopped", keep=("stopping", "stopped"))


def _leave(params: Params, action: str, passing: str, final: str, keep: tuple[str, ...]) -> Response:
    items = ""
    for instance in _named(params):
        before = dict(instance["State"])
        if before["Name"] not in keep:
            _enter(instance, passing)
            _later(SHUTTING_DOWN_SECONDS, instance, passing, final)
        after = instance["State"]
        LOG.info("%s %s: %s -> %s", action, instance["InstanceId"], before["Name"], after["Name"])
        items += (
            f"<item><instanceId>{instance['InstanceId']}</instanceId>"
            f"<previousState><code>{before['Code']}</code><name>{before['Name']}</name></previousState>"
            f"<currentState><code>{after['Code']}</code><name>{after['Name']}</name></currentState></item>"
        )
    return ministack_ec2._xml(200, f"{action}Response", f"<instancesSet>{items}</instancesSet>")


# --- Describing and tagging ------------------------------------------------------------------------------------------


def _describe_instance_attribute(params: Params) -> Response:
    instance = (_named({"InstanceId.1": params.get("InstanceId", [""])}) or [{}])[0]
    answers = {
        "userData": instance.get("UserData", ""),
        "instanceInitiatedShutdownBehavior": instance.get("ShutdownBehavior", "stop"),
    }
    attribute = _one(params, "Attribute")
    if attribute not in answers:
        return ministack_ec2._describe_instance_attribute(params)
    value = answers[attribute]
    content = f"<value>{escape(value)}</value>" if value else ""
    inner = f"<instanceId>{instance['InstanceId']}</instanceId><{attribute}>{content}</{attribute}>"
    return ministack_ec2._xml(200, "DescribeInstanceAttributeResponse", inner)


def _describe_more() -> None:
    """Adds to a described instance what MiniStack leaves out, and leaves out an address that it hasn't got."""
    instance_xml = ministack_ec2._instance_xml

    def with_more(instance: dict[str, Any]) -> str:
        options = instance.get("MetadataOptions") or {}
        more = f"<clientToken>{escape(instance.get('ClientToken', ''))}</clientToken>"
        if options:
            more += (
                "<metadataOptions><state>applied</state>"
                f"<httpTokens>{options.get('HttpTokens', 'optional')}</httpTokens>"
                f"<httpPutResponseHopLimit>{options.get('HttpPutResponseHopLimit', 1)}</httpPutResponseHopLimit>"
                f"<httpEndpoint>{options.get('HttpEndpoint', 'enabled')}</httpEndpoint></metadataOptions>"
            )
        xml = instance_xml(instance).replace("<ipAddress></ipAddress>", "")
        head, _, tail = xml.rpartition("</item>")
        return f"{head}{more}</item>{tail}"

    ministack_ec2._instance_xml = with_more


def _create_tags(params: Params) -> Response:
    """Refuses what doesn't exist; MiniStack would tag anything."""
    for resource in ministack_ec2._parse_member_list(params, "ResourceId"):
        if resource.startswith("i-") and resource not in ministack_ec2._instances:
            raise Invalid("InvalidInstanceID.NotFound", f"The instance ID '{resource}' does not exist")
    return ministack_ec2._create_tags(params)


def _tag(resource: str, tags: dict[str, str]) -> None:
    if tags:
        ministack_ec2._tags[resource] = [{"Key": key, "Value": value} for key, value in tags.items()]
