"""Runs MiniStack with Drawbridge's repairs in one process.

Invariants: everything listens on loopback; functions inherit only what `_environment` lists; no process outlives this
one, however it ends; "ready" is printed only after the self-test.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from drawbridge_emulator import processes

HOST = "127.0.0.1"
STOP_SECONDS = 2.0
"""How long requests may go on once the end is asked for."""

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Unusable(Exception):
    """Why the emulator cannot serve; one line for the user."""


def serve(
    port: int, state_dir: Path, region: str, account: str, routes: Mapping[str, str], stock_interpreter: bool = False
) -> int:
    """Serves until SIGTERM or SIGINT. Returns the exit status. `routes` are endpoints for some callers, by name."""
    state_dir = state_dir.resolve()
    state_dir.mkdir(parents=True, exist_ok=True)
    try:
        _require_free(port)
        processes.lead_a_group()
        processes.when_we_are_gone_kill(processes.in_group(os.getpgrp()))
        _environment(port, state_dir, region, account)
        logging.basicConfig(filename=state_dir / "emulator.log", level=logging.INFO, format=LOG_FORMAT, force=True)
        # It logs each failed state as a dump of its syntax tree; what failed, `stepfunctions` says in a line.
        logging.getLogger("moto").setLevel(logging.CRITICAL)
        _install(port, routes)
        _install_interpreter(routes.get("states", _url(port)), stock_interpreter)
        # Not asyncio.run: it would wait for the threads that requests run on.
        asyncio.new_event_loop().run_until_complete(_run(port, region, stock_interpreter))
    except Unusable as reason:
        print(f"emulator: {reason}", file=sys.stderr, flush=True)
        return 1
    finally:
        processes.kill_until_gone(processes.in_group(os.getpgrp()))
    return 0


def _require_free(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise Unusable(f"cannot listen on {HOST}:{port}: {error.strerror}") from error


def _environment(port: int, state_dir: Path, region: str, account: str) -> None:
    """Configures MiniStack, which reads its settings when it is imported, and what functions inherit.

    No AWS keys: a function has its role's, and the emulator's own calls state theirs.
    """
    temporary = state_dir / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "SSL_CERT_FILE") if key in os.environ}
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update(
        TMPDIR=str(temporary),
        AUTH="true",
        GATEWAY_PORT=str(port),
        BIND_HOST=HOST,
        MINISTACK_HOST=HOST,
        MINISTACK_ACCOUNT_ID=account,
        MINISTACK_REGION=region,
        AWS_ENDPOINT_URL=_url(port),
        AWS_DEFAULT_REGION=region,
        # By default this one listens on all interfaces.
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        DOCKER_HOST=f"unix://{temporary}/no-docker",
    )


def _url(port: int) -> str:
    return f"http://{HOST}:{port}"


def _install(port: int, routes: Mapping[str, str]) -> None:
    """Patches MiniStack and moto. Imports are here because they read the environment."""
    from drawbridge_emulator import alarms, delivery, ec2, ec2_authorization, functions, iam, images

    iam.install()
    iam.CHECKS["ec2"] = ec2_authorization.checks
    ec2.install(port)
    images.install()
    functions.install(iam.RoleClients(_url(port), "lambda").get, routes)
    delivery.install(iam.RoleClients(_url(port), "scheduler").get)
    alarms.install()


def _install_interpreter(endpoint_url: str, stock: bool) -> None:
    from drawbridge_emulator import iam, interpreter, stepfunctions, stock_interpreter

    if stock:
        stock_interpreter.install()
    else:
        interpreter.install(iam.RoleClients(endpoint_url, "states").get)
        stepfunctions.install()


async def _run(port: int, region: str, stock_interpreter: bool) -> None:
    from hypercorn.asyncio import serve as listen
    from hypercorn.config import Config
    from ministack.app import app

    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.5
    config.errorlog = logging.getLogger("hypercorn.error")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    server = asyncio.create_task(listen(app, config, shutdown_trigger=stop.wait))
    try:
        await _until_listening(port, server)
        failure = await asyncio.to_thread(_self_test, port, region, stock_interpreter)
        if failure:
            raise Unusable(f"self-test failed: {failure}")
        print(json.dumps({"ready": True, "endpoint_url": _url(port)}), flush=True)
        await asyncio.wait([server, loop.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            raise Unusable(f"the server ended: {server.exception()}")
    finally:
        stop.set()
        await asyncio.wait([server], timeout=STOP_SECONDS)


async def _until_listening(port: int, server: asyncio.Task[None]) -> None:
    for _ in range(200):
        if server.done():
            raise Unusable(f"the server ended: {server.exception()}")
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise Unusable(f"nothing listens on {HOST}:{port} after 10 s")


def _self_test(port: int, region: str, stock_interpreter: bool) -> str | None:
    from drawbridge_emulator import selftest

    without = selftest.OF_OUR_INTERPRETER if stock_interpreter else ()
    return selftest.run(_url(port), region, [check for check in selftest.CHECKS if check not in without])
