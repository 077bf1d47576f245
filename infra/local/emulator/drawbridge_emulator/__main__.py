"""The three programs behind `cargo local`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path


def main() -> int:
    arguments = _parser().parse_args()
    if getattr(arguments, "end_with_stdin", False):
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    # Imports are here because each program needs its own, and some take seconds.
    if arguments.program == "serve":
        from drawbridge_emulator import server

        routes = dict(route.split("=", 1) for route in arguments.route)
        status = server.serve(
            arguments.port,
            arguments.state_dir,
            arguments.region,
            arguments.account,
            routes,
            stock_interpreter=arguments.stock_interpreter,
        )
        # Threads may be inside requests that nobody waits for any more.
        os._exit(status)
    if arguments.program == "deploy":
        from drawbridge_emulator import deploy

        return deploy.deploy(arguments)
    from drawbridge_emulator import machines

    return machines.run(
        arguments.endpoint_url, arguments.region, arguments.account, arguments.state_dir, arguments.box_endpoint_url
    )


def _end_with_stdin() -> None:
    """Ends this process when the other end of standard input is gone: its owner was killed and couldn't say so."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="drawbridge_emulator", description="The local AWS of Drawbridge.")
    programs = parser.add_subparsers(dest="program", required=True)
    serve = programs.add_parser("serve", help="run the emulated AWS")
    serve.add_argument("--port", type=int, required=True)
    serve.add_argument(
        "--route",
        action="append",
        default=[],
        metavar="CALLER=URL",
        help="the endpoint of one function, by its role, or of `states`, instead of the emulator's own; repeatable",
    )
    serve.add_argument("--stock-interpreter", action="store_true", help="run state machines as MiniStack does")
    deploy = programs.add_parser("deploy", help="deploy the template into it, as sam deploy would")
    deploy.add_argument("--template", type=Path, required=True)
    deploy.add_argument("--packages", type=Path, required=True, help="the folder with the functions' zip files")
    deploy.add_argument("--stack-name", required=True)
    deploy.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="template parameters")
    deploy.add_argument("--out", type=Path, required=True, help="where to write outputs and keys, as JSON")
    machines = programs.add_parser("machines", help="play the machines of its instances")
    machines.add_argument("--box-endpoint-url", help="the endpoint that the machines are told of, if it is another")
    for program in (deploy, machines):
        program.add_argument("--endpoint-url", required=True)
    for program in (serve, machines):
        program.add_argument("--state-dir", type=Path, required=True)
        program.add_argument("--end-with-stdin", action="store_true", help="end when standard input does")
    for program in (serve, deploy, machines):
        program.add_argument("--region", required=True)
        program.add_argument("--account", required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
