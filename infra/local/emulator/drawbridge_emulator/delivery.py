"""EventBridge and its Scheduler deliver, or say that they could not.

MiniStack asks no policy, invokes a function once, and drops what it cannot deliver. Here, as on AWS: a rule's target must
let events.amazonaws.com in; a schedule acts as its role; a function is invoked asynchronously, with its retries and its
OnFailure destination; and what cannot be delivered goes to the target's dead-letter queue, if that lets it in. None of
what fails here would pass on a second try, so AWS's own retries are left out.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
"""

from __future__ import annotations

import contextvars
import dataclasses
import json
import logging
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.arn import parse_arn
from ministack.core.iam_evaluator import EvalContext, evaluate_resource_policy
from ministack.core.responses import get_account_id, get_region
from ministack.services import eventbridge, lambda_svc, sns, sqs

from drawbridge_emulator.iam import RoleRefused

LOG = logging.getLogger(__name__)

EVENTS = "events.amazonaws.com"

ClientFor = Callable[[str, str, str], Any]


@dataclasses.dataclass
class Delivery:
    """One event on its way to one target of a rule or a schedule."""

    source_arn: str
    role_arn: str | None
    """The role that a schedule acts as; a rule has none and comes as a service."""
    failure: str | None = None


class Undeliverable(Exception):
    """It cannot be delivered; raised through MiniStack, which drops it."""


_current: contextvars.ContextVar[Delivery] = contextvars.ContextVar("drawbridge_delivery")


def install(client_for: ClientFor) -> None:
    """`client_for(role_arn, service, region)` gives the client with which a schedule calls its target."""
    invoke_target, transform = eventbridge._invoke_target, eventbridge._apply_input_transformer

    def invoke_or_bury(target: dict[str, Any], event: Any, rule: dict[str, Any], view: Any = None) -> None:
        source = rule.get("Arn", "")
        delivery = Delivery(source, target.get("RoleArn") if ":schedule/" in source else None)
        token = _current.set(delivery)
        try:
            invoke_target(target, event, rule, view)
        except Undeliverable:
            pass
        finally:
            _current.reset(token)
        if delivery.failure:
            LOG.warning("%s to %s: %s", source, target.get("Arn"), delivery.failure)
            view = view or eventbridge._pattern_event_view(event)
            content = target.get("Input") if delivery.role_arn else json.dumps(view.event_with_detail())
            _bury(delivery, target.get("DeadLetterConfig", {}).get("Arn"), content or "{}", client_for)

    def transform_to_json(transformer: dict[str, Any], rule: Any, view: Any) -> str:
        """EventBridge escapes no value: a quote in one breaks the JSON around it, and the event cannot be delivered."""
        content = str(transform(transformer, rule, view))
        if '"' in transformer.get("InputTemplate", ""):
            try:
                json.loads(content)
            except ValueError as error:
                _fail(f"the transformed input is no JSON: {error}: {content}")
        return content

    eventbridge._invoke_target = invoke_or_bury
    eventbridge._apply_input_transformer = transform_to_json
    eventbridge._dispatch_to_lambda = lambda arn, content: _to_function(arn, content, client_for)
    eventbridge._dispatch_to_sns = _to_topic(eventbridge._dispatch_to_sns)


def _fail(why: str) -> None:
    _current.get().failure = why
    raise Undeliverable(why)


def _to_function(arn: str, content: str, client_for: ClientFor) -> None:
    delivery = _current.get()
    if delivery.role_arn:
        try:
            client = client_for(delivery.role_arn, "lambda", get_region())
            client.invoke(FunctionName=arn, InvocationType="Event", Payload=content.encode())
        except (BotoCoreError, ClientError, RoleRefused) as error:
            _fail(str(error))
        return
    func, config, name = lambda_svc._get_func_record_for_ref(arn)
    if not func or not config:
        _fail(f"there is no function {name}")
    if not _lets_in(func.get("policy"), "lambda:InvokeFunction", arn, delivery.source_arn):
        _fail(f"the function {name} does not let {EVENTS} in")
    lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(func, config), json.loads(content))


def _lets_in(policy: Any, action: str, resource: str, source_arn: str) -> bool:
    context = EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=resource,
        region=get_region(),
        service_context={"aws:sourcearn": source_arn, "aws:sourceaccount": get_account_id()},
    )
    return bool(evaluate_resource_policy(policy, context, service=EVENTS).decision == "Allow")


def _to_topic(publish: Callable[[str, str], None]) -> Callable[[str, str], None]:
    def checked(arn: str, content: str) -> None:
        if not sns.topic_policy_allows(arn, EVENTS, _current.get().source_arn, get_account_id()):
            _fail(f"there is no topic {arn}, or it does not let {EVENTS} in")
        publish(arn, content)

    return checked


def _bury(delivery: Delivery, queue_arn: str | None, content: str, client_for: ClientFor) -> None:
    """Sends what could not be delivered to the dead-letter queue."""
    if not queue_arn:
        return
    spec = parse_arn(queue_arn)
    if delivery.role_arn:
        try:
            client = client_for(delivery.role_arn, "sqs", get_region())
            client.send_message(QueueUrl=sqs._queue_url(spec.resource), MessageBody=content)
        except (BotoCoreError, ClientError, RoleRefused) as error:
            LOG.error("%s is lost: %s", delivery.source_arn, error)
    elif sqs.queue_policy_allows(queue_arn, EVENTS, delivery.source_arn, get_account_id()):
        eventbridge._dispatch_to_sqs(spec, content)
    else:
        LOG.error("%s is lost: %s does not let %s in", delivery.source_arn, queue_arn, EVENTS)
