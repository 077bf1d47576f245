"""Trust policies: which service may assume a role."""

from __future__ import annotations

import json
from typing import Any


def trusts(role: dict[str, Any], service: str) -> bool:
    """Whether the trust policy of a role names a service. MiniStack lets any service assume any role."""
    document = role.get("AssumeRolePolicyDocument") or {}
    if isinstance(document, str):
        document = json.loads(document)
    statements = document.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else []
        named = [services] if isinstance(services, str) else services
        if statement.get("Effect") == "Allow" and f"{service}.amazonaws.com" in named:
            return True
    return False
