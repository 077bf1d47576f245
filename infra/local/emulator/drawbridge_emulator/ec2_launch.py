"""What RunInstances is asked for: the request laid over its launch template.

Parsing and merging only. Both the IAM checks and the launch itself start from the same `Launch`.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from ministack.services import ec2 as ministack_ec2

from drawbridge_emulator import images

Tags = dict[str, str]


class Invalid(Exception):
    """A request that EC2 refuses, with its error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclasses.dataclass
class Launch:
    """A launch, with every default resolved."""

    image_id: str
    instance_type: str
    count: int
    subnet_id: str
    security_group_ids: list[str]
    public_address: bool
    user_data: str
    profile: dict[str, str]
    shutdown_behavior: str
    metadata_options: dict[str, Any]
    key_name: str
    client_token: str
    tags: dict[str, Tags]
    """By resource type."""
    template: dict[str, Any] | None = None
    overridden: set[str] = dataclasses.field(default_factory=set)
    """Which of image, subnet, security-group and instance the request itself chose."""
    image_parameter: str = ""
    """The public SSM parameter the image came from, which the caller must be allowed to read."""


def parse(params: dict[str, Any]) -> Launch:
    """Reads a RunInstances request. Raises `Invalid` as EC2 would answer."""
    template, data = _template(params)
    # The request has the shape of template data, so MiniStack's reader of the latter reads both.
    asked = ministack_ec2._parse_lt_data({f"L.{key}": value for key, value in params.items()}, prefix="L")
    overridden = {kind for kind, member in _OVERRIDES if member in asked or _one(params, member)}
    interface = (asked.get("NetworkInterfaces") or data.get("NetworkInterfaces") or [{}])[0]
    if asked.get("NetworkInterfaces"):
        overridden |= {"subnet"} if interface.get("SubnetId") else set()
        overridden |= {"security-group"} if interface.get("Groups") else set()
    subnet_id = interface.get("SubnetId") or _one(params, "SubnetId") or data.get("SubnetId") or ""
    groups = interface.get("Groups") or asked.get("SecurityGroupIds") or data.get("SecurityGroupIds") or []
    if interface and (_one(params, "SubnetId") or asked.get("SecurityGroupIds")):
        raise Invalid(
            "InvalidParameterCombination",
            "Network interfaces and an instance-level subnet ID or security groups may not be specified on the same "
            "request",
        )
    merged = {**data, **asked}
    image, parameter = _image(merged.get("ImageId", ""))
    return Launch(
        image_id=image,
        instance_type=merged.get("InstanceType") or "m1.small",
        count=_count(params),
        subnet_id=subnet_id or ministack_ec2._DEFAULT_SUBNET_ID,
        security_group_ids=list(groups) or [ministack_ec2._DEFAULT_SG_ID],
        public_address=_truth(interface.get("AssociatePublicIpAddress", _maps_public(subnet_id))),
        user_data=merged.get("UserData", ""),
        profile=merged.get("IamInstanceProfile") or {},
        shutdown_behavior=merged.get("InstanceInitiatedShutdownBehavior") or "stop",
        metadata_options=merged.get("MetadataOptions") or {},
        key_name=merged.get("KeyName", ""),
        client_token=_one(params, "ClientToken"),
        tags=_tags(data, asked),
        template=template,
        overridden=overridden,
        image_parameter=parameter,
    )


_OVERRIDES = (
    ("image", "ImageId"),
    ("instance", "InstanceType"),
    ("subnet", "SubnetId"),
    ("security-group", "SecurityGroupIds"),
)


def _one(params: dict[str, Any], name: str) -> str:
    return ministack_ec2._p(params, name)


def _truth(value: Any) -> bool:
    return value if isinstance(value, bool) else str(value).lower() == "true"


def _template(params: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    prefix = "LaunchTemplate."
    spec = {key: _one(params, prefix + key) for key in ("LaunchTemplateId", "LaunchTemplateName", "Version")}
    if not (spec["LaunchTemplateId"] or spec["LaunchTemplateName"]):
        return None, {}
    data, record, error = ministack_ec2._resolve_launch_template_data(spec)
    if error:
        name = spec["LaunchTemplateId"] or spec["LaunchTemplateName"]
        raise Invalid("InvalidLaunchTemplateId.NotFound", f"The launch template '{name}' does not exist.")
    version = spec["Version"]
    if version.isdigit() and not any(v["VersionNumber"] == int(version) for v in record["Versions"]):
        raise Invalid("InvalidLaunchTemplateId.VersionNotFound", f"Could not find launch template version {version}")
    return record, data


def _count(params: dict[str, Any]) -> int:
    least, most = int(_one(params, "MinCount") or 0), int(_one(params, "MaxCount") or 0)
    if least < 1 or most < least:
        raise Invalid("InvalidParameterValue", f"MinCount {least} and MaxCount {most} are not a valid range")
    return most


def _tags(data: dict[str, Any], asked: dict[str, Any]) -> dict[str, Tags]:
    """Tags by resource type. On the same type, the request's tags add to the template's and win over them."""
    tags: dict[str, Tags] = {}
    for source in (data, asked):
        for spec in source.get("TagSpecifications") or []:
            of_type = tags.setdefault(spec["ResourceType"], {})
            of_type |= {tag["Key"]: str(tag.get("Value", "")) for tag in spec.get("Tags") or []}
    return {kind: of_type for kind, of_type in tags.items() if of_type}


def _image(value: str) -> tuple[str, str]:
    if not value:
        raise Invalid("MissingParameter", "The request must contain the parameter ImageId")
    if value.startswith("resolve:ssm:"):
        name = value.removeprefix("resolve:ssm:").partition(":")[0]
        image = images.from_parameter(name)
        if image is None:
            raise Invalid("InvalidParameterValue", f"Could not resolve the image parameter {name}")
        return image, name
    if not re.fullmatch(r"ami-[0-9a-f]{8,17}", value):
        raise Invalid("InvalidAMIID.Malformed", f'Invalid id: "{value}" (expecting "ami-...")')
    return value, ""


def _maps_public(subnet_id: str) -> bool:
    subnet = ministack_ec2._subnets.get(subnet_id or ministack_ec2._DEFAULT_SUBNET_ID) or {}
    return _truth(subnet.get("MapPublicIpOnLaunch", False))
