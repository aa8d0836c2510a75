"""What the benchmarks stand on: a real API server with many Services, and processes that are measured from outside.

Every process that is compared runs as a pod would: with the ServiceAccount of the service, its token mounted, under the
RBAC that is shipped. That takes a mount namespace, so it takes root.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import controlplane
import seeding
from controlplane import ControlPlane
from seeding import Seed
from service_mix import realistic

ROOT: Final = Path(__file__).resolve().parents[1]
NAMESPACE: Final = "kubernaut-system"
ACCOUNT: Final = "kubernaut-dynamic-toolset"
TARGET: Final = f"/api/v1/namespaces/{NAMESPACE}/configmaps/kubernaut-toolset-config"
TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_MOUNTED: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_AS_A_POD: Final = f'mount -t tmpfs none /run && mkdir -p {_MOUNTED} && cp "$1"/* {_MOUNTED}/ && shift && exec "$@"'


def peers() -> Path:
    """Return the folder with what we are compared with; it is built when it is not there (5 minutes)."""
    done = subprocess.run([ROOT / "bench" / "peers" / "build"], stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own
    return Path(done.stdout.strip())


class Measured:
    """A process that is measured from outside; use it as a context manager, which ends it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it; what it prints, errors included, is for :meth:`line`."""
        self._process = subprocess.Popen(  # noqa: S603 - our own
            command,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and reap it."""
        self._process.kill()
        self._process.communicate()

    def line(self, mark: str) -> str:
        """Return the next line that has ``mark`` in it.

        Raises:
            RuntimeError: It ended before; the message has what it said last.
        """
        if self._process.stdout is None:
            raise RuntimeError("it has no output")
        last = ""
        for line in self._process.stdout:
            if mark in line:
                return line
            last = line
        raise RuntimeError(f"{self._process.args!r} ended without saying {mark!r}: {last}")

    def send(self, signum: signal.Signals) -> None:
        """Send a signal, and return at once."""
        self._process.send_signal(signum)

    def drain(self) -> None:
        """Read on and forget, so that a full pipe does not hold it up."""
        for _ in self._process.stdout or ():
            pass

    def peak_mib(self) -> float:
        """Return the most memory that it ever had resident."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def resident_mib(self) -> float:
        """Return the memory that it has resident now."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu_s(self) -> float:
        """Return the processor time that it has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


class World:
    """A control plane that holds many Services; use :func:`world`."""

    def __init__(self, plane: ControlPlane, folder: Path, built: Path) -> None:
        self.plane = plane
        self.admin = plane.client()
        self.built = built
        self._credentials = folder / "credentials"
        self._credentials.mkdir()
        shutil.copy(plane.ca_file, self._credentials / "ca.crt")
        (self._credentials / "namespace").write_text(NAMESPACE, encoding="ascii")

    def start(self, *command: str, **environment: str) -> Measured:
        """Start a command as a pod of the service would run, with nothing else in its environment that counts."""
        token = self.plane.service_account_token(NAMESPACE, ACCOUNT)
        (self._credentials / "token").write_text(token, encoding="ascii")
        host, _, port = self.plane.url.removeprefix("https://").rpartition(":")
        variables = {"PATH": os.environ["PATH"], "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        pod = ["unshare", "--mount", "--propagation=private", "sh", "-c", _AS_A_POD, "sh", str(self._credentials)]
        return Measured([*pod, *command], {**variables, "PYTHONPATH": str(ROOT / "src"), **environment})

    def service(self, **environment: str) -> Measured:
        """Start the service as it ships, without an election: one is killed, and the next does not wait for its Lease.

        Its log is what it prints.
        """
        defaults = {"TOOLSET_SERVER__HOST": "127.0.0.1", "TOOLSET_SERVER__PORT": "0", "TOOLSET_LOG__FORMAT": "json"}
        settings = {**defaults, "TOOLSET_ELECTION__ENABLED": "false", **environment}
        return self.start(str(self.built / "run/bin/python"), "-m", "toolset", "run", **settings)

    def forget(self) -> None:
        """Delete the published ConfigMap."""
        self.admin.delete(TARGET)


@contextmanager
def backend(binary: Path, delay: str = "0s") -> Generator[int]:
    """Give the port of a backend that answers as Prometheus does, after ``delay``."""
    with subprocess.Popen([binary, "serve", delay], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        try:
            yield int(process.stdout.readline() if process.stdout else "")
        finally:
            process.kill()


@contextmanager
def world(services: int, make: Callable[[int], Seed] = realistic) -> Generator[World]:
    """Give a control plane that holds so many Services; a first time for a number takes a second for 3,000 of them.

    Args:
        services: How many.
        make: Returns each of them, by its number; one of ``service_mix.VARIANTS``.

    Raises:
        SystemExit: Something is missing on this machine; the message says what.
    """
    if os.geteuid() != 0:
        raise SystemExit("only root can make the mount namespaces that stand in for pods: run it as root")
    if (assets := controlplane.assets()) is None:
        raise SystemExit("kube-apiserver and etcd are not built: run `make control-plane-build` once")
    with tempfile.TemporaryDirectory(prefix="toolset-bench-") as name:
        plane = seeding.seeded(assets, Path(name, "plane"), services, make)
        try:
            plane.apply_base()
            made = World(plane, Path(name), peers())
            try:
                yield made
            finally:
                made.admin.close()
        finally:
            plane.stop()


def said(line: str) -> dict[str, Any]:
    """Return a line of the service's log."""
    reported: dict[str, Any] = json.loads(line)
    return reported
