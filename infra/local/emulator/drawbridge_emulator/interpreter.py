"""Adapts moto's Step Functions interpreter to run inside MiniStack.

moto evaluates states faithfully, but was written for a mock server: it needs a Java JSONata engine, lets a task token
be used twice, keeps running after an abort, and calls other services without a role. Each function below repairs one
of these. All of it touches private names of moto 5.2.5, which is why `selftest` runs at every start.
"""

from __future__ import annotations

import functools
import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import jsonata
from botocore.exceptions import BotoCoreError
from botocore.parsers import ResponseParserError
from ministack.services import stepfunctions as ministack_states
from moto.stepfunctions.parser.api import (
    EvaluationFailedEventDetails,
    HistoryEventType,
    TaskFailedEventDetails,
    TaskTimedOutEventDetails,
)
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.common.query_language import QueryLanguageMode
from moto.stepfunctions.parser.asl.component.common.string import string_expression
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_aws_sdk,
    state_task_service_callback,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import ResourceCondition
from moto.stepfunctions.parser.asl.component.state.fail import state_fail
from moto.stepfunctions.parser.asl.eval.callback import callback
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
from moto.stepfunctions.parser.asl.eval.program_state import ProgramRunning
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str

EVALUATION_TIMEOUT_MS = 1000
"""AWS ends a JSONata evaluation after one second."""

TERMINAL_EVENTS = frozenset(
    {
        HistoryEventType.ExecutionSucceeded,
        HistoryEventType.ExecutionFailed,
        HistoryEventType.ExecutionAborted,
        HistoryEventType.ExecutionTimedOut,
    }
)

StatesTask = state_task_service_callback.StateTaskServiceCallback


@functools.lru_cache(maxsize=256)
def parse(definition: str) -> Any:
    """The program of a state machine. It keeps no state of a run, so runs share it; parsing takes up to 100 ms."""
    return AmazonStateLanguageParser.parse(definition)[0]


def install(client_for: Callable[[str, str, str], Any]) -> None:
    """Patches moto. `client_for(role_arn, service, region)` gives the client with which a task calls a service."""
    _evaluate_jsonata_in_python()
    _keep_ended_executions_ended()
    _make_task_tokens_single_use()
    _name_heartbeat_timeouts()
    _let_reported_errors_have_reserved_names()
    _name_lost_and_unreadable_answers()
    _call_services_as_the_role(client_for)


# --- JSONata ---------------------------------------------------------------------------------------------------------


def _evaluate_jsonata_in_python() -> None:
    """Binds `$states` and variables as values. moto would paste them into the expression as text, unescaped."""

    def evaluate(self: Any, env: Environment) -> None:
        bindings = {name: _bindable(value) for name, value in _variables(env).items()}
        if getattr(self, "query_language_mode", QueryLanguageMode.JSONata) == QueryLanguageMode.JSONata:
            bindings["states"] = _states_of(env)
        try:
            value = _plain(_evaluate(self.expression, bindings))
            if value is None and not _evaluate(f"$exists(({self.expression}))", bindings):
                raise ValueError(f"The JSONata expression '{self.expression}' returned nothing (undefined).")
        except Exception as error:
            raise _query_evaluation_error(env, self.expression, error) from error
        env.stack.append(value)

    string_expression.StringJSONata._eval_body = evaluate
    string_expression.StringVariableSample._eval_body = evaluate


def _evaluate(expression: str, bindings: dict[str, Any]) -> Any:
    program = jsonata.Jsonata.jsonata(expression, timeout=EVALUATION_TIMEOUT_MS)
    ministack_states._register_sfn_jsonata_functions(program)
    return program.evaluate(None, bindings)


def _variables(env: Environment) -> dict[str, Any]:
    store = env.variable_store
    return {**store._outer_scope, **store._inner_scope}


def _states_of(env: Environment) -> dict[str, Any]:
    """`$states`, without what has no value yet: there, AWS has undefined, not null."""
    data = json.loads(to_json_str(env.states._states_data))
    return {name: value for name, value in data.items() if value is not None or name == "input"}


def _bindable(value: Any) -> Any:
    """jsonata-python takes None for undefined."""
    return jsonata.utils.Utils.NULL_VALUE if value is None else value


def _plain(value: Any) -> Any:
    """JSON as AWS writes it: whole numbers are integers, sequences are arrays. What isn't JSON raises."""

    def whole(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: whole(item) for key, item in node.items()}
        if isinstance(node, list):
            return [whole(item) for item in node]
        return int(node) if isinstance(node, float) and node.is_integer() else node

    return whole(json.loads(json.dumps(value)))


def _query_evaluation_error(env: Environment, expression: str, error: Exception) -> FailureEventException:
    name = StatesErrorName(typ=StatesErrorNameType.StatesQueryEvaluationError)
    details = EvaluationFailedEventDetails(
        error=name.error_name,
        cause=f"{getattr(error, 'error', None) or 'evaluation'}: {error} in '{expression}'",
    )
    event_details = EventDetails(evaluationFailedEventDetails=details)
    env.event_manager.add_event(
        context=env.event_history_context, event_type=HistoryEventType.EvaluationFailed, event_details=event_details
    )
    return FailureEventException(
        FailureEvent(
            env=env, error_name=name, event_type=HistoryEventType.EvaluationFailed, event_details=event_details
        )
    )


# --- The end of an execution -----------------------------------------------------------------------------------------


def _keep_ended_executions_ended() -> None:
    """An ended execution stays as it ended, and its history ends with its last event.

    A thread that is still inside a service call when the execution is stopped or times out goes on; moto would let it
    turn ABORTED into FAILED, enter the catcher's state, and write history.
    """

    def sticky(original: Callable[..., None]) -> Callable[..., None]:
        def once(self: Environment, *args: Any, **kwargs: Any) -> None:
            with self._state_mutex:
                if self._program_state is None or isinstance(self._program_state, ProgramRunning):
                    original(self, *args, **kwargs)

        return once

    for name in ("set_ended", "set_error", "set_timed_out", "set_stop"):
        setattr(Environment, name, sticky(getattr(Environment, name)))

    add_event = EventManager.add_event

    def add_until_terminal(self: EventManager, *args: Any, **kwargs: Any) -> int:
        event_type = kwargs.get("event_type") or args[1]
        if getattr(self, "drawbridge_closed", False):
            return 0
        if event_type in TERMINAL_EVENTS:
            self.drawbridge_closed = True
        return add_event(self, *args, **kwargs)

    EventManager.add_event = add_until_terminal


# --- Task tokens -----------------------------------------------------------------------------------------------------

_tokens: dict[str, callback.CallbackEndpoint] = {}
_tokens_lock = threading.Lock()


class TokenUnknown(Exception):
    """No task ever had this token."""


class TokenClosed(Exception):
    """The task of this token has ended, or has been answered."""


def answer(token: str, outcome: callback.CallbackOutcome) -> None:
    """Completes the task that waits for `token`. The first answer counts, also one that comes before the task waits."""
    with _tokens_lock:
        _open_endpoint(token).notify(outcome)


def beat(token: str) -> None:
    """Restarts the heartbeat clock of the task that waits for `token`."""
    with _tokens_lock:
        _open_endpoint(token).notify_heartbeat()


def close_tokens(env: Environment) -> None:
    """Refuses later answers to all tasks of an execution, and wakes the threads that wait for one."""
    for token in list(env.callback_pool_manager._pool):
        _close(token)


def _open_endpoint(token: str) -> callback.CallbackEndpoint:
    endpoint = _tokens.get(token)
    if endpoint is None:
        raise TokenUnknown
    if endpoint.consumer_error is not None or endpoint.get_outcome() is not None:
        raise TokenClosed
    return endpoint


def _close(token: str) -> None:
    with _tokens_lock:
        endpoint = _tokens[token]
        endpoint.report(callback.CallbackConsumerLeft())
    endpoint.interrupt_all()


def _make_task_tokens_single_use() -> None:
    """One token an attempt, one answer a token. moto gives a retry the token and the answer of the failed attempt."""
    add = callback.CallbackPoolManager.add

    def add_and_register(self: Any, callback_id: str) -> callback.CallbackEndpoint:
        endpoint = add(self, callback_id)
        _tokens[callback_id] = endpoint
        return endpoint

    callback.CallbackPoolManager.add = add_and_register

    evaluate = StatesTask._evaluate_with_timeout

    def evaluate_attempt(self: Any, env: Environment) -> None:
        if self.resource.condition != ResourceCondition.WaitForTaskToken:
            evaluate(self, env)
            return
        token = env.states.context_object.update_task_token()
        env.callback_pool_manager.add(token)
        try:
            evaluate(self, env)
        finally:
            _close(token)

    StatesTask._evaluate_with_timeout = evaluate_attempt

    def wait_with_heartbeat(self: Any, env: Environment, endpoint: Any, heartbeat: Any) -> Any:
        """Sees an answer that came before the wait began; moto would sleep through it until the heartbeat expires."""
        while env.is_running():
            if endpoint.get_outcome() is not None or endpoint.consumer_error is not None:
                return endpoint.get_outcome()
            if not heartbeat.clear_and_wait():
                return endpoint.get_outcome() or callback.HeartbeatTimedOut()
        return None

    StatesTask._wait_for_task_token_heartbeat = wait_with_heartbeat


# --- Error names -----------------------------------------------------------------------------------------------------


class _HeartbeatTimeout(StatesErrorName):
    """States.HeartbeatTimeout. The States Language has States.Timeout catch it too."""

    def __init__(self) -> None:
        super().__init__(typ=StatesErrorNameType.StatesHeartbeatTimeout)

    def matches(self, error_name: str | None) -> bool:
        return error_name in (self.error_name, StatesErrorNameType.StatesTimeout.to_name())


def _name_heartbeat_timeouts() -> None:
    from_error = StatesTask._from_error

    def from_error_named(self: Any, env: Environment, ex: Exception) -> FailureEvent:
        if not isinstance(ex, callback.HeartbeatTimeoutError):
            return from_error(self, env=env, ex=ex)
        name = _HeartbeatTimeout()
        details = TaskTimedOutEventDetails(
            resourceType=self._get_sfn_resource_type(), resource=self._get_sfn_resource(), error=name.error_name
        )
        return FailureEvent(
            env=env,
            error_name=name,
            event_type=HistoryEventType.TaskTimedOut,
            event_details=EventDetails(taskTimedOutEventDetails=details),
        )

    # Lambda and the SDK integration override _from_error and fall back to this one for what they don't know.
    StatesTask._from_error = from_error_named
    # `x in list` asks the list's items first; they are plain names, so the comparison has to be symmetric.
    equals = ErrorName.__eq__

    def equals_either_way(self: ErrorName, other: Any) -> bool:
        return equals(self, other) or (isinstance(other, _HeartbeatTimeout) and other.matches(self.error_name))

    ErrorName.__eq__ = equals_either_way


def _let_reported_errors_have_reserved_names() -> None:
    """What reports the first error may have to report States.Timeout; moto refuses `States.` in names it is given."""

    class ReportedError(ErrorName):
        pass

    for module in (state_fail, state_task_service_callback):
        module.CustomErrorName = ReportedError


def _name_lost_and_unreadable_answers() -> None:
    """SdkClientException of the service, as AWS calls what its own SDK stumbles over. moto calls it States.Runtime, which
    nothing catches or tries again on AWS."""
    from_error = StatesTask._from_error
    stumbling = (BotoCoreError, ResponseParserError, UnicodeDecodeError)

    def from_error_named(self: Any, env: Environment, ex: Exception) -> FailureEvent:
        if not isinstance(ex, stumbling):
            return from_error(self, env=env, ex=ex)
        service = self.resource.service_name
        if service == "aws-sdk":
            service = self._normalise_service_error_name(self.resource.api_name)
        name = f"{service[0].upper()}{service[1:]}.SdkClientException"
        details = TaskFailedEventDetails(
            resourceType=self._get_sfn_resource_type(),
            resource=self._get_sfn_resource(),
            error=name,
            cause=f"Unable to execute HTTP request: {ex}",
        )
        return FailureEvent(
            env=env,
            error_name=CustomErrorName(name),
            event_type=HistoryEventType.TaskFailed,
            event_details=EventDetails(taskFailedEventDetails=details),
        )

    StatesTask._from_error = from_error_named


# --- Calls to other services -----------------------------------------------------------------------------------------


def _call_services_as_the_role(client_for: Callable[[str, str, str], Any]) -> None:
    def boto_client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        return client_for(state_credentials.role_arn, service, region)

    for name, module in list(sys.modules.items()):
        if name.startswith("moto.stepfunctions.") and hasattr(module, "boto_client_for"):
            module.boto_client_for = boto_client_for
    # AWS spells the service as a word: Ssm.ParameterAlreadyExistsException.
    state_task_service_aws_sdk._SERVICE_ERROR_NAMES["ssm"] = "Ssm"
