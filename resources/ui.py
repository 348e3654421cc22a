"""What `ctdc ui` runs: Dagster's webserver behind the guard, its daemon and the code server, in one command.

The webserver runs in this process, the other two in processes of their own; if one of them ends, all end. Their output goes to
`services.log` below ``DAGSTER_HOME``. The terminal shows the address and one line for each run that ends.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import uvicorn
import yaml
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context

from ctdc_pipeline.errors import CtdcError, ParameterError, ResourceError
from ctdc_pipeline.storage.zones import Zones
from resources import documentation
from resources.guard import Guard, origin
from resources.instance import configure

ORIGINS = "CTDC_UI_ORIGINS"
"""Addresses at which a reverse proxy serves the pages, with commas between them."""
LOG = "services.log"
_DEFINITIONS, _LOCATION = "ctdc_pipeline.definitions", "ctdc_pipeline"
_PATIENCE_SECONDS = 20  # for a service to end; the daemon first lets its sensors finish
_POLL_SECONDS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal or until a service ends; the exit status is 0 after SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="ctdc ui")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        serve(Zones.from_environment().prepare(), host=options.host, port=options.port)
    except KeyboardInterrupt:
        return 0
    except CtdcError as error:
        print(f"ctdc: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 1


def serve(zones: Zones, *, host: str, port: int) -> None:
    """Serve the pages of ``zones`` until KeyboardInterrupt. Raises ParameterError, and ResourceError if a service ends."""
    home = configure(zones)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["CTDC_HOME"] = str(zones.root)
    listening = _listen(host, port)
    port = listening.getsockname()[1]
    origins = _origins(port)
    with listening, ExitStack() as stack:
        log = stack.enter_context(open(home / LOG, "w", encoding="utf-8", opener=_privately))
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="ctdc-ui-")))
        code = folder / "code.sock"
        address = ["--socket", str(code), "--location-name", _LOCATION, "--module-name", _DEFINITIONS]
        quiet = ["--log-level", "warning"]
        services = {
            "code server": stack.enter_context(_service("dagster", "code-server", "start", *address, *quiet, log=log.fileno()))
        }
        workspace = folder / "workspace.yaml"
        server = {"socket": str(code), "location_name": _LOCATION}
        workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}), encoding="utf-8")
        _wait_for(code, services["code server"], log=home / LOG)
        services["daemon"] = stack.enter_context(
            _service("dagster._daemon", "run", "--workspace", str(workspace), *quiet, log=log.fileno())
        )
        instance = stack.enter_context(dg.DagsterInstance.from_config(str(home)))
        instance.optimize_for_webserver(15_000, 3600, 20)
        context = stack.enter_context(
            WorkspaceProcessContext(instance, WorkspaceFileTarget([str(workspace)]), version=dg.__version__)
        )
        pages = create_app_from_workspace_process_context(context)
        pages.routes.insert(0, documentation.ROUTE)  # Dagster's last route answers everything
        app = Guard(pages, origins=origins)
        # A websocket would otherwise keep the server from ending for as long as a page is open.
        config = uvicorn.Config(app, log_level="error", access_log=False, proxy_headers=False, timeout_graceful_shutdown=1)
        web = uvicorn.Server(config)
        watch = threading.Thread(target=_watch, args=(instance, services, web), daemon=True)
        watch.start()
        _say(f"The pages are at {origins[0]}; stop with Ctrl-C. Messages of the services are in {home / LOG}.")
        web.run(sockets=[listening])
        ended = next((name for name, service in services.items() if service.poll() is not None), "webserver")
    raise ResourceError(f"the {ended} ended unexpectedly", remedy=f"Read the end of {home / LOG}, then start again.")


def _origins(port: int) -> list[str]:
    """The addresses of the pages, the best first: those of the reverse proxy, then this machine's own."""
    configured = [part for part in os.environ.get(ORIGINS, "").split(",") if part.strip()]
    return [*map(origin, configured), *(f"http://{name}:{port}" for name in ("localhost", "127.0.0.1", "[::1]"))]


def _listen(host: str, port: int) -> socket.socket:
    """Open the port before anything starts, so that a port in use costs nothing. Raises ParameterError."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise ParameterError(
            f"{host}, port {port} cannot be opened ({type(error).__name__})",
            remedy="Choose another with --port, or stop what uses it.",
        ) from None


@contextmanager
def _service(*command: str, log: int) -> Generator[subprocess.Popen[bytes]]:
    """Run ``python -m command``; end it at the end.

    In a session of its own: Ctrl-C would reach it before this process has stopped asking it.
    """
    service = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    try:
        yield service
    finally:
        service.send_signal(signal.SIGINT)
        try:
            service.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()


def _wait_for(code: Path, service: "subprocess.Popen[bytes]", *, log: Path) -> None:
    """Wait until the code server listens. Raises ResourceError if it ends."""
    while not code.exists():
        if service.poll() is not None:
            raise ResourceError("the code server did not start", remedy=f"Read the end of {log}.")
        time.sleep(0.1)


def _watch(instance: dg.DagsterInstance, services: dict[str, "subprocess.Popen[bytes]"], web: uvicorn.Server) -> None:
    """Print a line for each run that ends, and stop the webserver once a service has ended."""
    since, printed = datetime.now(UTC), set[str]()
    ends = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    while not web.should_exit:
        time.sleep(_POLL_SECONDS)
        if any(service.poll() is not None for service in services.values()):
            web.should_exit = True
            return
        with suppress(Exception):  # the storage is busy or away: the pages say so, and the next look finds the same runs
            records = instance.get_run_records(dg.RunsFilter(statuses=ends, updated_after=since), ascending=True)
            for run in (record.dagster_run for record in records if record.dagster_run.run_id not in printed):
                printed.add(run.run_id)
                _say(f"{datetime.now():%H:%M:%S} {_title(run)}: {run.status.value.lower()}, run {run.run_id[:8]}")


def _title(run: dg.DagsterRun) -> str:
    """The job and the refresh of a run; the runs of automation and of backfills belong to no job."""
    job = "derived tables" if run.job_name.startswith("__") else run.job_name
    return " ".join(filter(None, (job, run.tags.get("dagster/partition"))))


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Dagster's own, about its own interfaces
    sys.exit(main())
