"""The execution half of the Step Functions API, on moto's interpreter.

MiniStack keeps state machines; executions live here. Invariants of a `Run`: it ends once, with the status it ended
with; its history ends with that event; exactly one status-change event reports it; no task token outlives it.
"""

from __future__ import annotations

import contextvars
import datetime
import json
import logging
import re
import threading
import uuid
from collections.abc import Callable
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, get_region, json_response
from ministack.services import stepfunctions as ministack_states
from ministack.services.cloudformation import provisioners
from moto.stepfunctions.parser.api import (
    ExecutionAbortedEventDetails,
    ExecutionStartedEventDetails,
    ExecutionTimedOutEventDetails,
    HistoryEventExecutionDataDetails,
    HistoryEventType,
    StateMachineType,
)
from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackOutcomeFailure, CallbackOutcomeSuccess
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.evaluation_details import AWSExecutionDetails
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext
from moto.stepfunctions.parser.asl.eval.program_state import (
    ProgramEnded,
    ProgramError,
    ProgramRunning,
    ProgramStopped,
    ProgramTimedOut,
)
from moto.stepfunctions.parser.asl.eval.states import ContextObjectData, ExecutionData, StateMachineData
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str

from drawbridge_emulator import interpreter

LOG = logging.getLogger(__name__)

MAX_PAYLOAD_BYTES = 262_144
"""Input and output of executions, states and tasks: 256 KiB."""

_NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")

Response = tuple[int, dict[str, str], bytes]


class ApiError(Exception):
    """An error that the caller of the API gets."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Run:
    """One execution."""

    def __init__(self, arn: str, name: str, machine: dict[str, Any], input_text: str) -> None:
        self.arn = arn
        self.name = name
        self.machine = dict(machine)
        self.input_text = input_text
        self.status = "RUNNING"
        self.start_date = _now()
        self.stop_date: datetime.datetime | None = None
        self.output: str | None = None
        self.error: str | None = None
        self.cause: str | None = None
        self._lock = threading.Lock()
        self._context = contextvars.copy_context()
        self._program = interpreter.parse(machine["definition"])
        self._env = self._environment()

    def _environment(self) -> Environment:
        role = self.machine["roleArn"]
        _, _, _, region, account, *_ = self.arn.split(":")
        env = Environment(
            aws_execution_details=AWSExecutionDetails(account=account, region=region, role_arn=role),
            execution_type=StateMachineType.STANDARD,
            context=ContextObjectData(
                Execution=ExecutionData(
                    Id=self.arn,
                    Input=json.loads(self.input_text),
                    Name=self.name,
                    RoleArn=role,
                    StartTime=self.start_date.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                ),
                StateMachine=StateMachineData(Id=self.machine["stateMachineArn"], Name=self.machine["name"]),
            ),
            event_history_context=EventHistoryContext.of_program_start(),
            cloud_watch_logging_session=None,
            activity_store={},
        )
        # Set here, so that a stop that comes before the first state is not lost.
        env._program_state = ProgramRunning()
        return env

    def start(self) -> None:
        self._report()
        self._add_event(
            HistoryEventType.ExecutionStarted,
            EventDetails(
                executionStartedEventDetails=ExecutionStartedEventDetails(
                    input=self.input_text,
                    inputDetails=HistoryEventExecutionDataDetails(truncated=False),
                    roleArn=self.machine["roleArn"],
                )
            ),
            update_source_event_id=False,
        )
        threading.Thread(target=self._interpret, name=f"run-{self.name}", daemon=True).start()

    def _interpret(self) -> None:
        try:
            self._program.eval(self._env)
        except Exception:  # a stop before the first state makes the program refuse to begin
            LOG.exception("%s could not be interpreted", self.arn)
        state = self._env.program_state()
        if isinstance(state, ProgramEnded):
            self._end("SUCCEEDED", output=to_json_str(self._env.states.get_input(), separators=(",", ":")))
        elif isinstance(state, ProgramTimedOut):
            self._end("TIMED_OUT")
        elif isinstance(state, ProgramError):
            failure = state.error or {}
            self._end("FAILED", error=failure.get("error"), cause=failure.get("cause"))

    def stop(self, error: str | None, cause: str | None) -> None:
        """Aborts. A service call that is under way goes on, as on AWS; its answer is dropped."""
        self._env.set_stop(stop_date=_now(), cause=cause, error=error)
        if isinstance(self._env.program_state(), ProgramStopped):
            self._end("ABORTED", error=error, cause=cause)

    def _end(self, status: str, output: str | None = None, error: str | None = None, cause: str | None = None) -> None:
        with self._lock:
            if self.status != "RUNNING":
                return
            self.status, self.output, self.error, self.cause = status, output, error, cause
            self.stop_date = _now()
        # The interpreter writes the last event of what succeeds or fails, after which further ones are dropped.
        if status == "ABORTED":
            details = ExecutionAbortedEventDetails(error=error, cause=cause)
            self._add_event(HistoryEventType.ExecutionAborted, EventDetails(executionAbortedEventDetails=details))
        elif status == "TIMED_OUT":
            timed_out = ExecutionTimedOutEventDetails(error="States.Timeout")
            self._add_event(HistoryEventType.ExecutionTimedOut, EventDetails(executionTimedOutEventDetails=timed_out))
        interpreter.close_tokens(self._env)
        LOG.info("%s %s %s %s", self.arn, status, error or "", cause or "")
        self._report()

    def _add_event(self, event_type: str, details: EventDetails, **kwargs: Any) -> None:
        self._env.event_manager.add_event(
            context=self._env.event_history_context, event_type=event_type, event_details=details, **kwargs
        )

    def _report(self) -> None:
        """Sends the status-change event, in the account and region in which the execution was started."""
        record = {
            "executionArn": self.arn,
            "stateMachineArn": self.machine["stateMachineArn"],
            "name": self.name,
            "status": self.status,
            "startDate": self.start_date.isoformat(),
            "stopDate": self.stop_date.isoformat() if self.stop_date else None,
            "input": self.input_text,
            "output": self.output,
            "error": self.error,
            "cause": self.cause,
        }
        self._context.copy().run(ministack_states._emit_execution_status_event, record)

    def summary(self) -> dict[str, Any]:
        item = {
            "executionArn": self.arn,
            "stateMachineArn": self.machine["stateMachineArn"],
            "name": self.name,
            "status": self.status,
            "startDate": self.start_date.timestamp(),
            "redriveCount": 0,
        }
        if self.stop_date:
            item["stopDate"] = self.stop_date.timestamp()
        return item

    def description(self) -> dict[str, Any]:
        described = {**self.summary(), "input": self.input_text, "inputDetails": {"included": True}}
        if self.output is not None:
            described |= {"output": self.output, "outputDetails": {"included": True}}
        return described | {k: v for k, v in (("error", self.error), ("cause", self.cause)) if v is not None}

    def history(self) -> list[dict[str, Any]]:
        events = json.loads(to_json_str(self._env.event_manager.get_event_history()))
        for event in events:
            event["timestamp"] = datetime.datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00")).timestamp()
        return events


_runs: dict[str, Run] = {}
_runs_lock = threading.Lock()


def start_execution(data: dict[str, Any]) -> dict[str, Any]:
    machine = _machine(data.get("stateMachineArn", ""))
    name = data.get("name") or str(uuid.uuid4())
    if not _NAME.fullmatch(name):
        raise ApiError("InvalidName", f"Invalid Name: '{name}'")
    input_text = data.get("input") or "{}"
    try:
        json.loads(input_text)
    except ValueError as error:
        raise ApiError("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'") from error
    if len(input_text.encode()) > MAX_PAYLOAD_BYTES:
        raise ApiError("InvalidExecutionInput", "The input exceeds 262144 bytes")
    arn = f"arn:aws:states:{get_region()}:{get_account_id()}:execution:{machine['name']}:{name}"
    with _runs_lock:
        run = _runs.get(arn)
        if run is None:
            run = _runs[arn] = Run(arn, name, machine, input_text)
            run.start()
        elif run.status != "RUNNING" or run.input_text != input_text:
            raise ApiError("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
    return {"executionArn": arn, "startDate": run.start_date.timestamp()}


def stop_execution(data: dict[str, Any]) -> dict[str, Any]:
    run = _run(data)
    run.stop(data.get("error"), data.get("cause"))
    return {"stopDate": (run.stop_date or _now()).timestamp()}


def describe_execution(data: dict[str, Any]) -> dict[str, Any]:
    return _run(data).description()


def describe_state_machine_for_execution(data: dict[str, Any]) -> dict[str, Any]:
    run = _run(data)
    fields = ("stateMachineArn", "name", "definition", "roleArn")
    return {key: run.machine[key] for key in fields} | {"updateDate": run.start_date.timestamp()}


def list_executions(data: dict[str, Any]) -> dict[str, Any]:
    machine = _machine(data.get("stateMachineArn", ""))["stateMachineArn"]
    with _runs_lock:
        runs = [run for run in _runs.values() if run.machine["stateMachineArn"] == machine]
    wanted = data.get("statusFilter")
    chosen = [run.summary() for run in reversed(runs) if wanted in (None, run.status)]
    return _page("executions", chosen, data, default_size=100)


def get_execution_history(data: dict[str, Any]) -> dict[str, Any]:
    events = _run(data).history()
    if data.get("reverseOrder"):
        events.reverse()
    return _page("events", events, data, default_size=100)


def send_task_success(data: dict[str, Any]) -> dict[str, Any]:
    output = data.get("output", "")
    try:
        json.loads(output)
    except ValueError as error:
        raise ApiError("InvalidOutput", f"Invalid Output: '{error}'") from error
    if len(output.encode()) > MAX_PAYLOAD_BYTES:
        raise ApiError("InvalidOutput", "The output exceeds 262144 bytes")
    token = data.get("taskToken", "")
    return _with_token(lambda: interpreter.answer(token, CallbackOutcomeSuccess(token, output)))


def send_task_failure(data: dict[str, Any]) -> dict[str, Any]:
    token = data.get("taskToken", "")
    outcome = CallbackOutcomeFailure(token, data.get("error"), data.get("cause"))
    return _with_token(lambda: interpreter.answer(token, outcome))


def send_task_heartbeat(data: dict[str, Any]) -> dict[str, Any]:
    return _with_token(lambda: interpreter.beat(data.get("taskToken", "")))


def _with_token(call: Callable[[], None]) -> dict[str, Any]:
    try:
        call()
    except interpreter.TokenUnknown as error:
        raise ApiError("InvalidToken", "Invalid Token: 'Invalid token'") from error
    except interpreter.TokenClosed as error:
        raise ApiError("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'") from error
    return {}


def _machine(arn: str) -> dict[str, Any]:
    resolved = ministack_states._resolve_state_machine_arn(arn)
    if resolved is None:
        raise ApiError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")
    return ministack_states._state_machines[resolved]


def _run(data: dict[str, Any]) -> Run:
    arn = data.get("executionArn", "")
    with _runs_lock:
        run = _runs.get(arn)
    if run is None or run.arn.split(":")[4] != get_account_id():
        raise ApiError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
    return run


def _page(name: str, items: list[Any], data: dict[str, Any], default_size: int) -> dict[str, Any]:
    first = int(data.get("nextToken") or 0)
    last = first + (int(data.get("maxResults") or 0) or default_size)
    page: dict[str, Any] = {name: items[first:last]}
    if last < len(items):
        page["nextToken"] = str(last)
    return page


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)


HANDLERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "StartExecution": start_execution,
    "StopExecution": stop_execution,
    "DescribeExecution": describe_execution,
    "DescribeStateMachineForExecution": describe_state_machine_for_execution,
    "ListExecutions": list_executions,
    "GetExecutionHistory": get_execution_history,
    "SendTaskSuccess": send_task_success,
    "SendTaskFailure": send_task_failure,
    "SendTaskHeartbeat": send_task_heartbeat,
}


def install() -> None:
    """Takes the execution calls over from MiniStack, also those that EventBridge makes in process."""
    from ministack.core.concurrency import run_reentrant

    ministack_handle = ministack_states.handle_request

    def respond(handler: Callable[[dict[str, Any]], dict[str, Any]], body: bytes) -> Response:
        try:
            return json_response(handler(json.loads(body or b"{}")))
        except ApiError as error:
            return error_response_json(error.code, str(error), 400)

    async def handle_request(method: str, path: str, headers: dict[str, str], body: bytes, query: Any) -> Response:
        handler = HANDLERS.get(headers.get("x-amz-target", "").rpartition(".")[2])
        if handler is None:
            return await ministack_handle(method, path, headers, body, query)
        return await run_reentrant(respond, handler, body, thread_name="drawbridge-states")

    ministack_states.handle_request = handle_request
    ministack_states._start_execution = lambda data: respond(start_execution, json.dumps(data).encode())
    _check_definitions_on_deploy()


def _check_definitions_on_deploy() -> None:
    """Has CloudFormation refuse a definition that the interpreter cannot read, instead of each execution."""
    definition_of = provisioners._sfn_definition

    def checked(props: dict[str, Any]) -> str:
        definition = definition_of(props)
        interpreter.parse(definition)
        return definition

    provisioners._sfn_definition = checked
