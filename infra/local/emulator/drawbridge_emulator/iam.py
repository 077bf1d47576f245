"""Closes the gaps in MiniStack's IAM gate that Drawbridge's policies rely on.

MiniStack checks one action on one resource a request. AWS checks several: RunInstances on each thing it touches, the
role it passes, the tags it sets. The hook here lets `CHECKS` name them all; a request passes when every one does.
Also repaired: policy variables such as `${aws:username}`, which MiniStack takes literally, and condition keys of puts that it
doesn't know.
"""

from __future__ import annotations

import contextvars
import dataclasses
import json
import logging
import re
import secrets
import threading
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import boto3
from botocore.config import Config
from ministack.core import iam_actions, iam_evaluator
from ministack.services import iam as ministack_iam
from ministack.services import sts as ministack_sts

from drawbridge_emulator.trust import trusts

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Check:
    """One question to the caller's policies. `context` holds the condition keys beyond the global ones."""

    action: str
    resource: str
    context: dict[str, Any] = dataclasses.field(default_factory=dict)
    tags: dict[str, str] | None = None
    """What the request tags this resource with. None: MiniStack's view, which lumps the whole request together."""

    def keys(self, request_keys: dict[str, Any]) -> dict[str, Any]:
        """All condition keys: those MiniStack found in the request, laid over by this check's own."""
        if self.tags is None:
            return {**request_keys, **self.context}
        others = {key: value for key, value in request_keys.items() if not key.lower().startswith(_REQUEST_TAG_KEYS)}
        tags: dict[str, Any] = {f"aws:RequestTag/{name}": value for name, value in self.tags.items()}
        return {**others, **self.context, **tags, "aws:TagKeys": list(self.tags) or None}


_REQUEST_TAG_KEYS = ("aws:requesttag/", "aws:tagkeys")


@dataclasses.dataclass(frozen=True)
class Request:
    """What a call asks for, as the gate sees it before the service does."""

    service: str
    action: str
    params: dict[str, Any]
    body: bytes
    region: str
    account: str
    resource: str = "*"
    """What MiniStack takes the request to be about."""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    """By their names in lower case."""


CHECKS: dict[str, Callable[[Request], Iterable[Check]]] = {}
"""By service: all checks of a request, in place of MiniStack's own. Returning none keeps MiniStack's."""

_request: contextvars.ContextVar[Request | None] = contextvars.ContextVar("drawbridge_request", default=None)


def install() -> None:
    _substitute_policy_variables()
    _check_everything_a_request_touches()
    _know_the_headers_of_puts()
    CHECKS["lambda"] = lambda request: _passed_role(request, {"CreateFunction20150331", "CreateFunction"}, "Role")
    CHECKS["states"] = lambda request: _passed_role(request, {"CreateStateMachine", "UpdateStateMachine"}, "roleArn")
    CHECKS["scheduler"] = lambda request: _passed_role(request, {"CreateSchedule", "UpdateSchedule"}, "RoleArn")
    CHECKS["ssm"] = _parameter_lists
    CHECKS["s3"] = _what_a_put_sets


def pass_role(role_arn: str, service: str) -> Check:
    return Check("iam:PassRole", role_arn, {"iam:PassedToService": f"{service}.amazonaws.com"})


def _check_everything_a_request_touches() -> None:
    extract = iam_actions.extract_resource_arn
    enforce = iam_evaluator.enforce

    def extract_and_note(
        service: str, method: str, path: str, headers: Any, body: bytes, params: Any, region: str, account: str
    ) -> str:
        resource = extract(service, method, path, headers, body, params, region, account)
        given = {str(name).lower(): value for name, value in (headers or {}).items()}
        _request.set(Request(service, "", params, body, region, account, resource, given))
        return resource

    def enforce_all(
        access_key_id: str,
        iam_action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: dict[str, Any] | None = None,
    ) -> Any:
        request = _request.get()
        checks: list[Check] = []
        if request is not None and request.service == service and service in CHECKS:
            request = dataclasses.replace(request, action=iam_action.partition(":")[2])
            checks = list(CHECKS[service](request))
        if not any(check.action == iam_action for check in checks):
            checks.insert(0, Check(iam_action, resource_arn))
        for check in checks:
            context = check.keys(service_context or {})
            owner = service if check.action == iam_action else check.action.partition(":")[0]
            refused = enforce(access_key_id, check.action, owner, region, check.resource, context)
            if refused:
                # The answer names the request's own action; this line names the check that failed.
                LOG.warning("denied: %s %s on %s %s", access_key_id, check.action, check.resource, check.context)
                return refused
        return None

    iam_actions.extract_resource_arn = extract_and_note
    iam_evaluator.enforce = enforce_all


def _passed_role(request: Request, actions: set[str], member: str) -> list[Check]:
    """Who creates something that runs as a role has to be allowed to pass that role."""
    if request.action not in actions:
        return []
    body = _json(request.body)
    role = body.get(member) or (body.get("Target") or {}).get(member)
    return [pass_role(role, request.service)] if role else []


def _parameter_lists(request: Request) -> list[Check]:
    """DeleteParameters and GetParameters name several parameters, GetParametersByPath a path; each is a resource."""
    body = _json(request.body)
    names = body.get("Names") or ([body["Path"]] if body.get("Path") else [])
    prefix = f"arn:aws:ssm:{request.region}:{request.account}:parameter/"
    return [Check(f"ssm:{request.action}", prefix + name.strip("/")) for name in names]


_ACTIONS_OF_HEADERS = {
    "x-amz-object-lock-mode": "s3:PutObjectRetention",
    "x-amz-object-lock-retain-until-date": "s3:PutObjectRetention",
    "x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
    "x-amz-tagging": "s3:PutObjectTagging",
    "x-amz-acl": "s3:PutObjectAcl",
    "x-amz-grant-": "s3:PutObjectAcl",
}
"""What a put needs besides s3:PutObject, by the beginning of a header.
Source: S3 API reference, "PutObject", "Permissions"."""


def _what_a_put_sets(request: Request) -> list[Check]:
    if request.action != "PutObject":
        return []
    beginnings = [name for name in _ACTIONS_OF_HEADERS if any(header.startswith(name) for header in request.headers)]
    return [Check(action, request.resource) for action in sorted({_ACTIONS_OF_HEADERS[name] for name in beginnings})]


_HEADERS_OF_PUTS = (
    "if-none-match",
    "x-amz-storage-class",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-website-redirect-location",
)
"""Condition keys of s3:PutObject beyond MiniStack's, each named like its header.
Source: Service Authorization Reference, "Condition keys for Amazon S3"."""


def _know_the_headers_of_puts() -> None:
    context_of = iam_actions.s3_service_context

    def with_headers(
        iam_action: str, query_params: Any, path: str = "", headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        context = dict(context_of(iam_action, query_params, path, headers))
        if iam_action == "s3:PutObject":
            given = {name.lower(): value for name, value in (headers or {}).items()}
            context.update({f"s3:{name}": given[name] for name in _HEADERS_OF_PUTS if given.get(name)})
        return context

    iam_actions.s3_service_context = with_headers


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


# --- Policy variables ------------------------------------------------------------------------------------------------

_VARIABLE = re.compile(r"\$\{([^}]+)\}")


def _substitute_policy_variables() -> None:
    """A variable that has no value in a request makes its statement match nothing, as on AWS."""
    first_match = iam_evaluator._first_match

    def first_match_substituted(ctx: Any, statements: list[Any], effect: str) -> Any:
        return first_match(ctx, [_substituted(statement, ctx) for statement in statements], effect)

    iam_evaluator._first_match = first_match_substituted


def _substituted(statement: Any, ctx: Any) -> Any:
    if "${" not in repr((statement.resources, statement.not_resources, statement.conditions)):
        return statement

    def value_of(match: re.Match[str]) -> str:
        name, _, default = match.group(1).partition(",")
        if name.strip() in ("*", "?", "$"):
            return name.strip()
        value = iam_evaluator._resolve_condition_key(name.strip(), ctx)
        if value is None and default:
            return default.strip(" '")
        return "\x00no value" if value is None else str(value)

    def walk(node: Any) -> Any:
        if isinstance(node, str):
            return _VARIABLE.sub(value_of, node)
        if isinstance(node, list):
            return [walk(item) for item in node]
        if isinstance(node, dict):
            return {key: walk(item) for key, item in node.items()}
        return node

    return dataclasses.replace(
        statement,
        resources=walk(statement.resources),
        not_resources=walk(statement.not_resources),
        conditions=walk(statement.conditions),
    )


# --- Roles of services -----------------------------------------------------------------------------------------------


class RoleRefused(Exception):
    """The role doesn't exist, or doesn't trust the service."""


class RoleClients:
    """boto3 clients that act as a service's role, kept: making one takes as long as a hundred calls."""

    def __init__(self, endpoint_url: str, service: str) -> None:
        self._endpoint_url = endpoint_url
        self._service = service
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._lock = threading.Lock()

    def get(self, role_arn: str, service: str, region: str) -> Any:
        with self._lock:
            key = (role_arn, service, region)
            if key not in self._clients:
                self._clients[key] = self._create(role_arn, service, region)
            return self._clients[key]

    def _create(self, role_arn: str, service: str, region: str) -> Any:
        account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
        role = ministack_iam._roles.get_scoped(account, None, name)
        if role is None or not trusts(role, self._service):
            raise RoleRefused(f"{self._service}.amazonaws.com may not assume {role_arn}")
        session_name = f"{self._service}-{secrets.token_hex(8)}"
        key_id, secret, token = f"ASIA{secrets.token_hex(8).upper()}", secrets.token_hex(20), secrets.token_hex(32)
        ministack_sts.register_session(
            key_id,
            {
                "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/{session_name}",
                "UserId": f"{role.get('RoleId', name)}:{session_name}",
                "SecretAccessKey": secret,
                "SessionToken": token,
            },
        )
        client = boto3.client(
            service,
            region_name=region,
            endpoint_url=self._endpoint_url,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            aws_session_token=token,
            # Retries are the state machine's; a task may wait as long as a Lambda runs.
            config=Config(
                retries={"total_max_attempts": 1}, read_timeout=3600, max_pool_connections=64, tcp_keepalive=True
            ),
        )
        client.meta.events.register("after-call", _name_the_request)
        return client


def _name_the_request(parsed: dict[str, Any], **_: Any) -> None:
    """MiniStack's refusals carry no request id, and moto fails to report an error without one."""
    parsed.setdefault("ResponseMetadata", {}).setdefault("RequestId", str(uuid.uuid4()))
