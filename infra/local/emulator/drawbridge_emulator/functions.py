"""Lambda: what a function inherits, where its answers and failures go, and schedules that fire on time."""

from __future__ import annotations

import contextvars
import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.responses import get_region
from ministack.services import eventbridge, lambda_svc, scheduler

from drawbridge_emulator.iam import RoleRefused

LOG = logging.getLogger(__name__)

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


def install(client_for: Callable[[str, str, str], Any], routes: Mapping[str, str]) -> None:
    """`client_for(role_arn, service, region)` gives the client with which a function's role passes on its answers and failures;
    `routes`, the endpoint of a function whose name ends with its role, instead of the emulator's own.
    """
    _publish_failures_as_the_role(client_for)
    _pass_answers_on_as_the_role(client_for)
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


def _publish_failures_as_the_role(client_for: Callable[[str, str, str], Any]) -> None:
    """An OnFailure topic hears of an asynchronous invocation that failed for good, if the function's role may publish there.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """
    route = lambda_svc._route_async_failure

    def route_or_publish(target: str, function: str, event: Any, result: dict[str, Any]) -> None:
        if ":sns:" not in target:
            route(target, function, event, result)
            return
        config = lambda_svc._functions[function]["config"]
        record = _record(config, "RetriesExhausted", event, result)
        record["responseContext"]["functionError"] = result.get("function_error") or "Unhandled"
        try:
            client = client_for(config["Role"], "sns", get_region())
            client.publish(TopicArn=target, Message=json.dumps(record))
        except (BotoCoreError, ClientError, RoleRefused) as error:
            LOG.error("the failure of %s is lost: %s", function, error)

    lambda_svc._route_async_failure = route_or_publish


def _pass_answers_on_as_the_role(client_for: Callable[[str, str, str], Any]) -> None:
    """An OnSuccess event bus gets the answer of every asynchronous invocation, if the function's role may put events there.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """
    execute, invoke = lambda_svc._execute_function, lambda_svc.invoke_async_with_retry
    # Each asynchronous invocation runs in a thread that copies this.
    asynchronous: contextvars.ContextVar[bool] = contextvars.ContextVar("drawbridge_asynchronous", default=False)

    def invoke_marked(function: dict[str, Any], event: Any) -> None:
        token = asynchronous.set(True)
        try:
            invoke(function, event)
        finally:
            asynchronous.reset(token)

    def execute_and_pass_on(function: dict[str, Any], event: Any) -> dict[str, Any]:
        result: dict[str, Any] = execute(function, event)
        settings = (function.get("event_invoke_configs") or {}).get("$LATEST") or {}
        bus = (settings.get("DestinationConfig") or {}).get("OnSuccess", {}).get("Destination", "")
        if asynchronous.get() and ":event-bus/" in bus and not result.get("error"):
            _put_answer(client_for, function["config"], bus, _record(function["config"], "Success", event, result))
        return result

    lambda_svc._execute_function = execute_and_pass_on
    lambda_svc.invoke_async_with_retry = invoke_marked


def _put_answer(client_for: Callable[[str, str, str], Any], config: Any, bus: str, record: dict[str, Any]) -> None:
    entry = {
        "Source": "lambda",
        "DetailType": "Lambda Function Invocation Result - Success",
        "EventBusName": bus,
        "Resources": [bus, record["requestContext"]["functionArn"]],
        "Detail": json.dumps(record),
    }
    try:
        client_for(config["Role"], "events", get_region()).put_events(Entries=[entry])
    except (BotoCoreError, ClientError, RoleRefused) as error:
        LOG.error("the answer of %s is lost: %s", config["FunctionName"], error)


def _record(config: Any, condition: str, event: Any, result: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "1.0",
        "requestContext": {"functionArn": f"{config['FunctionArn']}:$LATEST", "condition": condition},
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "responsePayload": result.get("body"),
    }
