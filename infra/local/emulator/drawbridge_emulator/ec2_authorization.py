"""Which permissions an EC2 call needs, from the service authorization reference.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ministack.services import ec2 as ministack_ec2
from ministack.services import iam as ministack_iam

from drawbridge_emulator import ec2_launch
from drawbridge_emulator.iam import Check, Request, pass_role

KINDS = {
    "i": "instance",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "lt": "launch-template",
    "subnet": "subnet",
    "vpc": "vpc",
    "vol": "volume",
    "eni": "network-interface",
    "ami": "image",
}
"""Resource types by the prefix of an id."""


def checks(request: Request) -> Iterator[Check]:
    """Every question that a call puts to the caller's policies."""
    action = request.action
    if action == "RunInstances":
        yield from _run_instances(request)
    elif action in ("TerminateInstances", "StopInstances", "StartInstances", "RebootInstances"):
        for instance in _listed(request, "InstanceId"):
            yield _on_existing(request, instance)
    elif action == "DescribeInstanceAttribute":
        yield _on_existing(request, _one(request, "InstanceId"))
    elif action in ("AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"):
        yield _on_existing(request, _one(request, "GroupId"))
        yield from _tagged_on_create(request, {"security-group-rule": _tags(request, "security-group-rule")})
    elif action in ("RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress"):
        yield _on_existing(request, _one(request, "GroupId"))
    elif action in ("CreateTags", "DeleteTags"):
        for resource in _listed(request, "ResourceId"):
            yield _on_existing(request, resource)
    elif action.startswith("Describe"):
        yield Check(f"ec2:{action}", "*")


def _run_instances(request: Request) -> Iterator[Check]:
    try:
        launch = ec2_launch.parse(request.params)
    except ec2_launch.Invalid:
        # The service will say what's wrong with the request; the right to launch anything at all comes first.
        yield Check("ec2:RunInstances", _arn(request, "instance", "*"))
        return
    template = launch.template or {}
    common: dict[str, Any] = {"ec2:Region": request.region}
    if template:
        common["ec2:LaunchTemplate"] = _arn(request, "launch-template", template["LaunchTemplateId"])
    subnet = ministack_ec2._subnets.get(launch.subnet_id) or {}
    vpc = _arn(request, "vpc", subnet.get("VpcId", ""))
    subnet_arn = _arn(request, "subnet", launch.subnet_id)
    zone = {"ec2:AvailabilityZone": subnet.get("AvailabilityZone")}
    interface = {"ec2:Vpc": vpc, "ec2:Subnet": subnet_arn, "ec2:AssociatePublicIpAddress": str(launch.public_address)}
    resources: list[tuple[str, str, dict[str, Any]]] = [
        ("image", _image_arn(request, launch.image_id), {"ec2:Owner": "amazon", "ec2:ImageType": "machine"}),
        ("instance", _arn(request, "instance", "*"), {**zone, **_instance_keys(request, launch)}),
        ("volume", _arn(request, "volume", "*"), zone),
        ("network-interface", _arn(request, "network-interface", "*"), {**zone, **interface}),
        ("subnet", subnet_arn, {**zone, "ec2:Vpc": vpc, **_resource_tags(launch.subnet_id)}),
    ]
    for group in launch.security_group_ids:
        resources.append(
            ("security-group", _arn(request, "security-group", group), {"ec2:Vpc": vpc, **_resource_tags(group)})
        )
    if template:
        template_id = template["LaunchTemplateId"]
        resources.append(("launch-template", common["ec2:LaunchTemplate"], _resource_tags(template_id)))
    for kind, arn, keys in resources:
        from_template = bool(template) and kind not in launch.overridden
        keys = {**common, **keys, "ec2:IsLaunchTemplateResource": str(from_template).lower()}
        yield Check("ec2:RunInstances", arn, keys, tags=launch.tags.get(kind, {}))
    yield from _create_tags(request, launch.tags)
    for role in _roles(launch.profile):
        yield pass_role(role, "ec2")
    if launch.image_parameter:
        # Amazon's public parameters belong to no account.
        yield Check("ssm:GetParameters", f"arn:aws:ssm:{request.region}::parameter{launch.image_parameter}")


def _instance_keys(request: Request, launch: ec2_launch.Launch) -> dict[str, Any]:
    options = launch.metadata_options
    keys = {
        "ec2:InstanceType": launch.instance_type,
        "ec2:MetadataHttpTokens": options.get("HttpTokens", "optional"),
        "ec2:MetadataHttpEndpoint": options.get("HttpEndpoint", "enabled"),
        "ec2:MetadataHttpPutResponseHopLimit": str(options.get("HttpPutResponseHopLimit", 1)),
        "ec2:Tenancy": "default",
        "ec2:EbsOptimized": "false",
    }
    if launch.profile:
        name = launch.profile.get("Name", "")
        keys["ec2:InstanceProfile"] = (
            launch.profile.get("Arn") or f"arn:aws:iam::{request.account}:instance-profile/{name}"
        )
    return keys


def _tagged_on_create(request: Request, tags: dict[str, dict[str, str]]) -> Iterator[Check]:
    """A call that creates a tagged resource needs its own action on that resource, and CreateTags."""
    for kind, of_kind in tags.items():
        arn = _arn(request, kind, "*")
        yield Check(f"ec2:{request.action}", arn, tags=of_kind)
    yield from _create_tags(request, tags)


def _create_tags(request: Request, tags: dict[str, dict[str, str]]) -> Iterator[Check]:
    for kind, of_kind in tags.items():
        if of_kind:
            keys = {"ec2:CreateAction": request.action}
            yield Check("ec2:CreateTags", _arn(request, kind, "*"), keys, tags=of_kind)


def _on_existing(request: Request, resource: str) -> Check:
    kind = KINDS.get(resource.partition("-")[0], "*")
    keys = _resource_tags(resource)
    instance = ministack_ec2._instances.get(resource) if kind == "instance" else None
    if instance:
        keys["ec2:InstanceType"] = instance["InstanceType"]
        keys["ec2:InstanceProfile"] = (instance.get("IamInstanceProfile") or {}).get("Arn")
    return Check(f"ec2:{request.action}", _arn(request, kind, resource or "*"), keys)


def _resource_tags(resource: str) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for tag in ministack_ec2._tags.get(resource, []):
        keys[f"ec2:ResourceTag/{tag['Key']}".lower()] = tag["Value"]
        keys[f"aws:ResourceTag/{tag['Key']}".lower()] = tag["Value"]
    return keys


def _roles(profile: dict[str, str]) -> list[str]:
    if not profile:
        return []
    found = ministack_iam._lookup_instance_profile(name=profile.get("Name", ""), arn=profile.get("Arn", "")) or {}
    names = [role if isinstance(role, str) else role.get("RoleName", "") for role in found.get("Roles", [])]
    return [ministack_iam._roles[name]["Arn"] for name in names if name in ministack_iam._roles]


def _tags(request: Request, kind: str) -> dict[str, str]:
    specs = ministack_ec2._parse_lt_data({f"L.{k}": v for k, v in request.params.items()}, prefix="L")
    of_kind = [spec for spec in specs.get("TagSpecifications", []) if spec["ResourceType"] == kind]
    return {tag["Key"]: tag["Value"] for spec in of_kind for tag in spec["Tags"]}


def _one(request: Request, name: str) -> str:
    return ministack_ec2._p(request.params, name)


def _listed(request: Request, name: str) -> list[str]:
    return ministack_ec2._parse_member_list(request.params, name)


def _arn(request: Request, kind: str, name: str) -> str:
    return f"arn:aws:ec2:{request.region}:{request.account}:{kind}/{name}"


def _image_arn(request: Request, image: str) -> str:
    """Public images belong to no account in an ARN."""
    return f"arn:aws:ec2:{request.region}::image/{image}"
