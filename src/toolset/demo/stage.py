"""The embedded cluster, its backends, and the service that runs against them."""

import os
import re
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import msgspec
import orjson
from anyio.abc import Process

from toolset.demo.samples import EVERY, Sample
from toolset.errors import UnavailableError
from toolset.model import ConfigMap
from toolset.sim import Backends, EmbeddedCluster

NAMESPACE: Final = "kubernaut-system"
NAME: Final = "kubernaut-toolset-config"
PATIENCE_S: Final = 30.0
LOOK_S: Final = 0.005
STOP_S: Final = 10.0


class Stage:
    """The cluster that the story changes, and the ConfigMap that it waits for.

    Args:
        cluster: The cluster, which listens.
        backends: The backends, which listen.
        folder: Where the kubeconfig and the log of the service are.
    """

    def __init__(self, cluster: EmbeddedCluster, backends: Backends, folder: Path) -> None:
        self.cluster = cluster
        self.backends = backends
        self.kubeconfig = folder / "kubeconfig"
        self.log = folder / "service.log"
        self._exit_code: Callable[[], int | None] = lambda: None
        cluster.create("Namespace", {"metadata": {"name": NAMESPACE}})

    @property
    def url(self) -> str:
        """Where the service's own HTTP server listens; empty before it does."""
        found = re.search(r"http server started port=(\d+)", self.log.read_text("utf-8"))
        return f"http://127.0.0.1:{found[1]}" if found else ""

    @property
    def status_url(self) -> str:
        """Where the status of the service is; empty before it is served."""
        found = re.search(r"status served .*?address=(\S+)", self.log.read_text("utf-8"))
        return f"http://{found[1]}/" if found else ""

    def add(self, *samples: Sample) -> None:
        """Create Services, and the namespaces they need."""
        for sample in samples:
            if self.cluster.get("Namespace", "", sample.namespace) is None:
                self.cluster.create("Namespace", {"metadata": {"name": sample.namespace}})
            if sample.backend:
                self.backends.put(sample.authority, sample.backend)
            self.cluster.create("Service", sample.manifest())

    def edit(self, data: Mapping[str, str]) -> None:
        """Change the ConfigMap as an admin does with kubectl."""
        self.cluster.patch("ConfigMap", NAMESPACE, NAME, {"data": dict(data)})

    def delete(self) -> None:
        """Delete the ConfigMap."""
        self.cluster.delete("ConfigMap", NAMESPACE, NAME)

    def documents(self) -> dict[str, str]:
        """Return the data of the ConfigMap; empty if there is none."""
        stored = self.cluster.get("ConfigMap", NAMESPACE, NAME)
        return dict(msgspec.convert(stored, ConfigMap).entries) if stored else {}

    async def until(self, wanted: Callable[[Mapping[str, str]], bool]) -> dict[str, str]:
        """Wait until the ConfigMap is as expected; return its data.

        Raises:
            UnavailableError: It does not become so, or the service has ended.
        """
        ends = anyio.current_time() + PATIENCE_S
        while not wanted(found := self.documents()):
            if (code := self._exit_code()) is not None:
                said = self.log.read_text("utf-8").splitlines()
                raise UnavailableError(f"the service ended with exit code {code}: {said[-1] if said else 'no word'}")
            if anyio.current_time() > ends:
                raise UnavailableError(f"the ConfigMap did not follow within {PATIENCE_S:g} s: it holds {[*found]}")
            await anyio.sleep(LOOK_S)
        return found

    @asynccontextmanager
    async def service(self) -> AsyncGenerator[None]:
        """Run the real service in a separate process inside the block."""
        await anyio.Path(self.kubeconfig).write_text(self.cluster.kubeconfig(NAMESPACE), "utf-8")
        authorities = [sample.authority for sample in EVERY]
        environment = {name: text for name, text in os.environ.items() if not name.startswith(("TOOLSET_", "KUBE"))}
        environment |= {
            "TOOLSET_KUBE__KUBECONFIG": str(self.kubeconfig),
            "TOOLSET_TEST_CONNECT_TO": orjson.dumps(self.backends.connect_to(authorities)).decode(),
            "TOOLSET_ELECTION__ENABLED": "false",  # there is no other replica
            "TOOLSET_HEALTH__INTERVAL": "1s",
            "TOOLSET_SERVER__HOST": "127.0.0.1",
            "TOOLSET_SERVER__PORT": "0",
            "TOOLSET_SHUTDOWN__DELAY": "0s",
            "TOOLSET_STATUS__LISTEN": "127.0.0.1:0",
        }
        command = [sys.executable, "-m", "toolset", "run", "--log-format", "text"]
        with self.log.open("wb") as log:
            async with await anyio.open_process(command, env=environment, stdout=log, stderr=log) as process:
                self._exit_code = lambda: process.returncode
                try:
                    yield
                finally:
                    await _ended(process)


async def _ended(process: Process) -> None:
    """End a process, within STOP_S."""
    if process.returncode is None:
        process.terminate()
    with anyio.move_on_after(STOP_S, shield=True):
        await process.wait()
    if process.returncode is None:
        process.kill()
