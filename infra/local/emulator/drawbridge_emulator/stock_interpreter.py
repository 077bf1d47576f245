"""MiniStack's own Step Functions interpreter instead of ours: a second opinion about the state machine file.

It knows neither heartbeats nor the state machine's role, and swallows the error of a Lambda that keeps a task token. What
it also lacks and the file uses is added here, by its own means and nothing else: expressions in TimeoutSeconds, and a
Succeed state's Output.
"""

from __future__ import annotations

from typing import Any

from ministack.services import stepfunctions as states


def install() -> None:
    execute, select = states._execute_task, states._apply_output_path

    def execute_task(state: dict[str, Any], raw_input: Any, execution: Any, ctx: dict[str, Any]) -> Any:
        if isinstance(state.get("TimeoutSeconds"), str):
            seconds = states._jsonata_state_field(state, "TimeoutSeconds", "number", raw_input, ctx)
            state = {**state, "TimeoutSeconds": seconds}
        return execute(state, raw_input, execution, ctx)

    def apply_output_path(state: dict[str, Any], data: Any, ctx: dict[str, Any] | None = None) -> Any:
        if state.get("Type") == "Succeed" and "Output" in state:
            return states._apply_jsonata_output(state, data, ctx, default=data)
        return select(state, data, ctx)

    states._execute_task = execute_task
    states._apply_output_path = apply_output_path
