"""The service as it runs in a cluster: a process, seen through its log, its HTTP server and its exit code."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
from prometheus_client.parser import text_string_to_metric_families

from controlplane import Child
from integration.cluster import Cluster, Tool
from support.waiting import eventually

TOOLSET: Final = (sys.executable, "-m", "toolset")
ALONE: Final = {"ELECTION__ENABLED": "false"}
_FOREIGN: Final = ("TOOLSET_", "OTEL_", "KUBE")


def environment(kubeconfig: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with ``settings``, and with no others that count.

    Names in ``settings`` with two underscores are settings of the service; others are variables as they are.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    given = {f"TOOLSET_{name}" if "__" in name else name: value for name, value in settings.items()}
    return inherited | {"TOOLSET_KUBE__KUBECONFIG": kubeconfig, "TOOLSET_LOG__FORMAT": "json"} | given


def command(settings: Mapping[str, str]) -> list[str]:
    """Return what starts the service; ``RUN_BY`` is a command that executes the one which follows it."""
    return [*settings.get("RUN_BY", "").split(), *TOOLSET, "run"]


def plan(kubeconfig: str, settings: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``toolset plan`` to its end."""
    return subprocess.run(
        [*TOOLSET, "plan", *arguments],
        env=environment(kubeconfig, settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Service(Child):
    """``toolset run`` in a process of its own, without an election unless the settings say so.

    Most tests have one process, and start the next one right after it was killed: its Lease would hold that one up.
    """

    def __init__(self, kubeconfig: str, log: Path, settings: Mapping[str, str]) -> None:
        """Start it and return when its HTTP server listens; one that does not is killed."""
        defaults = ALONE | {"SERVER__HOST": "127.0.0.1", "SERVER__PORT": "0", "SHUTDOWN__DELAY": "0s"}
        defaults |= {"STATUS__LISTEN": "127.0.0.1:0"}
        super().__init__(command(settings), log, environment(kubeconfig, {**defaults, **settings}))
        try:
            eventually(lambda: self.logged("http server started") or self.exit_code is not None, within_s=30)
            assert self.exit_code is None, log.read_text("utf-8")
        except BaseException:  # nobody else knows of it yet
            self.end(signal.SIGKILL)
            raise
        port = self.logged("http server started")[0]["port"]
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs."""
        return self._process.poll()

    def lines(self) -> list[dict[str, Any]]:
        """Return its log; a line that is not JSON, a traceback for example, is an error."""
        text = self._log.read_text(encoding="utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def logged(self, message: str) -> list[dict[str, Any]]:
        """Return the log lines with this message."""
        return [line for line in self.lines() if line["message"] == message]

    def bugs(self) -> list[dict[str, Any]]:
        """Return the log lines that a service without bugs does not write: tracebacks, and Python's warnings."""
        return [line for line in self.lines() if "exception.stacktrace" in line or line["logger"] == "py.warnings"]

    def get(self, path: str) -> httpx.Response:
        """Return the answer to a GET; asked again where the service just closed the connection for another client."""
        try:
            return self._http.get(path)
        except (httpx.ReadError, httpx.RemoteProtocolError):
            return self._http.get(path)

    def status(self, path: str) -> int:
        """Return the status of a GET."""
        return self.get(path).status_code

    def metric(self, name: str, /, **labels: str) -> float:
        """Return the value of one series."""
        families = text_string_to_metric_families(self.get("/metrics").text)
        samples = (sample for family in families for sample in family.samples)
        return next(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())

    def send(self, signum: signal.Signals) -> None:
        """Send a signal, and return at once."""
        self._process.send_signal(signum)

    def terminate(self) -> None:
        """Send SIGTERM, and return at once."""
        self._process.terminate()

    def wait(self, within_s: float) -> int:
        """Return its exit code once it has ended."""
        eventually(lambda: self._process.poll() is not None, within_s)
        return self._process.returncode

    def close(self) -> None:
        """Close our connections to it."""
        self._http.close()


class Start(Protocol):
    """Starts the service."""

    def __call__(self, cluster: Cluster, tools: tuple[Tool, ...], **settings: str) -> Service:
        """Start it with the shipped RBAC.

        Args:
            cluster: Where.
            tools: Services that may come, with backends behind them.
            settings: see :func:`environment`.
        """
        ...
