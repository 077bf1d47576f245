"""Amazon's public image parameters. MiniStack knows two; here every Amazon Linux name has a made-up image."""

from __future__ import annotations

import hashlib

from ministack.services import ssm as ministack_ssm

PREFIX = "/aws/service/ami-amazon-linux-latest/"


class _PublicImages(dict[str, str]):
    def get(self, name: str, default: str | None = None) -> str | None:
        if name in self or not str(name).startswith(PREFIX):
            return super().get(name, default)
        return f"ami-0{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def install() -> None:
    ministack_ssm._PUBLIC_AMI_PARAMETERS = _PublicImages(ministack_ssm._PUBLIC_AMI_PARAMETERS)


def from_parameter(name: str) -> str | None:
    """The image that a parameter names, a public or an own one."""
    parameter = ministack_ssm._select_parameter(name)[0]
    return parameter["Value"] if parameter else None
