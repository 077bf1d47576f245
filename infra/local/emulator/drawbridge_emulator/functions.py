"""Lambda: what a function inherits, and schedules that fire on time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ministack.services import eventbridge, lambda_svc, scheduler

SCHEDULE_LOOK_SECONDS = 1
"""How often schedules are looked at. MiniStack's 10 s would make rate(1 minute) up to ten seconds late."""

EMULATOR_SETTINGS = (
    "AUTH",
    "GATEWAY_PORT",
    "BIND_HOST",
    "MINISTACK_HOST",
    "MINISTACK_ACCOUNT_ID",
    "MINISTACK_REGION",
    "IOT_MTLS_ENABLED",
    "SFTP_ENABLED",
    "DOCKER_HOST",
)


def install(routes: Mapping[str, str]) -> None:
    """`routes`: the endpoint of a function whose name ends with its role, instead of the emulator's own."""
    scheduler._SCHEDULE_TICK_INTERVAL = SCHEDULE_LOOK_SECONDS
    eventbridge._SCHEDULER_TICK_INTERVAL = SCHEDULE_LOOK_SECONDS
    build = lambda_svc._provided_worker_env

    def clean(config: dict[str, Any], code_dir: str, port: int) -> dict[str, str]:
        """A function sees its own settings, not the emulator's."""
        environment = build(config, code_dir, port)
        own = (config.get("Environment") or {}).get("Variables") or {}
        for name in EMULATOR_SETTINGS:
            if name not in own:
                environment.pop(name, None)
        role = config["FunctionName"].rpartition("-")[2]
        if role in routes:
            environment["AWS_ENDPOINT_URL"] = routes[role]
        # One folder that functions may write to, as on AWS.
        environment["TMPDIR"] = os.environ["TMPDIR"]
        return environment

    lambda_svc._provided_worker_env = clean
