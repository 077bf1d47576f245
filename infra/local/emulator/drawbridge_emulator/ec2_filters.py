"""EC2 filters that mean what they say.

MiniStack ignores a filter it doesn't know, so that a look-up by tag, mistyped, finds everything. Here such a filter
is an error, and so is a filter that AWS knows but nobody has needed yet: an emulator must not answer it wrongly.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from typing import Any

from ministack.services import ec2 as ministack_ec2

Instance = dict[str, Any]

INSTANCE_FILTERS: dict[str, Callable[[Instance], list[str]]] = {
    "instance-id": lambda i: [i["InstanceId"]],
    "instance-state-name": lambda i: [i["State"]["Name"]],
    "instance-state-code": lambda i: [str(i["State"]["Code"])],
    "instance-type": lambda i: [i["InstanceType"]],
    "image-id": lambda i: [i["ImageId"]],
    "subnet-id": lambda i: [i["SubnetId"]],
    "vpc-id": lambda i: [i["VpcId"]],
    "availability-zone": lambda i: [i["Placement"]["AvailabilityZone"]],
    "client-token": lambda i: [i.get("ClientToken", "")],
    "private-ip-address": lambda i: [i["PrivateIpAddress"]],
    "ip-address": lambda i: [i["PublicIpAddress"]],
    "instance.group-id": lambda i: [group["GroupId"] for group in i["SecurityGroups"]],
    "network-interface.group-id": lambda i: [group["GroupId"] for group in i["SecurityGroups"]],
    "iam-instance-profile.arn": lambda i: [(i.get("IamInstanceProfile") or {}).get("Arn", "")],
}

TAG_FILTERS = ("tag-key", "tag-value")

KNOWN: dict[str, tuple[str, ...]] = {
    "DescribeInstances": (*INSTANCE_FILTERS, *TAG_FILTERS),
    "DescribeSecurityGroupRules": ("group-id", "security-group-rule-id", "tag-key"),
    "DescribeSecurityGroups": ("vpc-id", "group-name", *TAG_FILTERS),
    "DescribeLaunchTemplates": ("launch-template-name", *TAG_FILTERS),
    "DescribeTags": ("resource-id", "resource-type", "key", "value"),
    "DescribeVpcs": ("vpc-id", "cidr", "is-default", "state", *TAG_FILTERS),
    "DescribeSubnets": ("subnet-id", "vpc-id", "availability-zone", *TAG_FILTERS),
    "DescribeManagedPrefixLists": ("prefix-list-name", "prefix-list-id", "owner-id"),
    "DescribePrefixLists": ("prefix-list-name", "prefix-list-id"),
    "DescribeImages": ("name", "owner-alias", "architecture", "state", "image-id"),
}
"""The filters that each call answers rightly, beside `tag:*`."""


def install() -> None:
    ministack_ec2._matches_filters = _instance_matches
    for action, handler in list(ministack_ec2._ACTION_MAP.items()):
        if action.startswith("Describe"):
            ministack_ec2._ACTION_MAP[action] = _refusing_unknown_filters(action, handler)


def _refusing_unknown_filters(action: str, handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
    known = KNOWN.get(action, ())

    def answer(params: dict[str, Any]) -> Any:
        filters = ministack_ec2._parse_filters(params)
        for name, values in filters.items():
            if name not in known and not name.startswith("tag:"):
                return ministack_ec2._error("InvalidParameterValue", f"The filter '{name}' is invalid", 400)
            if not values:
                return ministack_ec2._error("InvalidParameterValue", f"The filter '{name}' has no values", 400)
        return handler(params)

    return answer


def _instance_matches(instance: Instance, filters: dict[str, list[str]]) -> bool:
    if not ministack_ec2._resource_matches_tag_filters(instance["InstanceId"], filters):
        return False
    return all(
        any(fnmatch.fnmatchcase(actual, wanted) for actual in INSTANCE_FILTERS[name](instance) for wanted in values)
        for name, values in filters.items()
        if name in INSTANCE_FILTERS
    )
