"""Security group rules: a rule that exists is refused, and filters may hold wildcards, as on AWS."""

from __future__ import annotations

import fnmatch
from typing import Any

from ministack.services import ec2 as ministack_ec2

Params = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]


def install() -> None:
    ministack_ec2._ACTION_MAP["AuthorizeSecurityGroupIngress"] = _authorize_ingress
    ministack_ec2._ACTION_MAP["DescribeSecurityGroupRules"] = _describe_rules


def _authorize_ingress(params: Params) -> Response:
    group = ministack_ec2._security_groups.get(ministack_ec2._p(params, "GroupId")) or {}
    for asked in ministack_ec2._parse_ip_permissions(params, "IpPermissions"):
        if any(ministack_ec2._rules_match(asked, present) for present in group.get("IpPermissions", [])):
            return ministack_ec2._error("InvalidPermission.Duplicate", "the specified rule already exists", 400)
    return ministack_ec2._authorize_sg_ingress(params)


def _describe_rules(params: Params) -> Response:
    """MiniStack compares tag values as they are; here, wildcards become all the values that they match."""
    expanded: Params = {}
    position = 1
    while name := ministack_ec2._p(params, f"Filter.{position}.Name"):
        patterns = ministack_ec2._parse_member_list(params, f"Filter.{position}.Value")
        values = patterns
        if name.startswith("tag:"):
            known = _values(name.removeprefix("tag:"))
            values = [value for value in known if any(fnmatch.fnmatchcase(value, p) for p in patterns)] or patterns
        expanded |= {f"Filter.{position}.Value.{index}": [value] for index, value in enumerate(values, start=1)}
        position += 1
    return ministack_ec2._describe_security_group_rules({**params, **expanded})


def _values(key: str) -> list[str]:
    tags = (tag for of_one in ministack_ec2._tags.values() for tag in of_one)
    return sorted({tag["Value"] for tag in tags if tag["Key"] == key})
