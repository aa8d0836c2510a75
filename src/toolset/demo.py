"""Show the service at work on the embedded cluster: what is found and what is not, and how the ConfigMap follows."""

import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import msgspec
import orjson

from toolset.errors import UnavailableError
from toolset.explaining import explain_manifests
from toolset.manifests import Manifests
from toolset.model import ConfigMap, Service
from toolset.settings import Settings
from toolset.sim.backends import Backends, Product
from toolset.sim.cluster import EmbeddedCluster

NAMESPACE: Final = "kubernaut-system"
NAME: Final = "kubernaut-toolset-config"
PATIENCE_S: Final = 30.0
LOOK_S: Final = 0.005
_STYLES: Final = {"title": "\x1b[1;36m", "+": "\x1b[32m", "-": "\x1b[31m", "quiet": "\x1b[2m"}
_RESET: Final = "\x1b[0m"


class Sample(msgspec.Struct, frozen=True):
    """A Service of the demo, and what is behind it."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    port: tuple[str, int]
    backend: Product | None = None
    headless: bool = False
    note: str = ""

    @property
    def authority(self) -> str:
        """What its backend is asked as."""
        return f"{self.name}.{self.namespace}.svc.cluster.local:{self.port[1]}"

    def manifest(self) -> dict[str, object]:
        """Return it as it is applied."""
        name, number = self.port
        spec: dict[str, object] = {
            "selector": dict(self.labels),
            "ports": [{"name": name, "port": number, "targetPort": 9090 if self.backend == "prometheus" else number}],
        }
        if self.headless:
            spec["clusterIP"] = "None"
        return {
            "metadata": {"namespace": self.namespace, "name": self.name, "labels": dict(self.labels)},
            "spec": spec,
        }


_PROMETHEUS: Final = {"app.kubernetes.io/name": "prometheus", "app.kubernetes.io/component": "server"}
FIRST: Final = (
    Sample("monitoring", "prometheus-server", _PROMETHEUS, ("http", 80), "prometheus"),
    Sample("monitoring", "prometheus-operated", _PROMETHEUS, ("web", 9090), "prometheus", headless=True),
    Sample("monitoring", "grafana", {"app.kubernetes.io/name": "grafana"}, ("service", 80), "grafana"),
    Sample("monitoring", "alertmanager", {"app.kubernetes.io/name": "alertmanager"}, ("http", 9093)),
    Sample("tracing", "jaeger-collector", {"app": "jaeger"}, ("otlp-grpc", 4317)),
    Sample("shop", "checkout", {"app": "checkout"}, ("web", 8080)),
)
JAEGER: Final = Sample("tracing", "jaeger-query", {"app": "jaeger-query"}, ("query", 16686), "jaeger")
SECOND: Final = Sample("team-b", "prometheus", {"app": "prometheus"}, ("web", 9090), "prometheus")
GRAFANA: Final = FIRST[2]


class Screen:
    """Where the story is told: in colours on a terminal, plain in a pipe."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours
        self._step = 0

    def title(self, text: str) -> None:
        """Begin the next step."""
        self._step += 1
        self.line("")
        self.line(f"{self._step}. {text}", "title")

    def line(self, text: str, style: str = "") -> None:
        """Print one line."""
        shown = f"{_STYLES[style]}{text}{_RESET}" if self._colours and style else text
        sys.stdout.write(f"{shown}\n")
        sys.stdout.flush()


class Stage:
    """The embedded cluster, its backends, and the service that runs against them."""

    def __init__(self, cluster: EmbeddedCluster, backends: Backends, screen: Screen) -> None:
        self.cluster = cluster
        self.backends = backends
        self._screen = screen
        self._shown: dict[str, str] = {}

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
        self.cluster.patch("ConfigMap", NAMESPACE, NAME, {"data": dict(data)}, manager="kubectl-edit")

    def documents(self) -> dict[str, str]:
        """Return the data of the ConfigMap; nothing when there is none."""
        stored = self.cluster.get("ConfigMap", NAMESPACE, NAME)
        return dict(msgspec.convert(stored, ConfigMap).entries) if stored else {}

    async def follows(self, change: Callable[[], object], wanted: Callable[[dict[str, str]], bool]) -> None:
        """Make a change, wait until the ConfigMap is as wanted, and show what became of it and how long that took.

        Raises:
            UnavailableError: It does not follow.
        """
        began = anyio.current_time()
        change()
        while not wanted(found := self.documents()):
            if anyio.current_time() - began > PATIENCE_S:
                raise UnavailableError(
                    f"the ConfigMap did not follow within {PATIENCE_S:g} s: it holds {sorted(found)}"
                )
            await anyio.sleep(LOOK_S)
        took_s = anyio.current_time() - began
        for key in sorted(self._shown.keys() | found.keys()):
            if key not in found:
                self._screen.line(f"   - {key}", "-")
            elif self._shown.get(key) != found[key]:
                self._screen.line(f"   {'~' if key in self._shown else '+'} {key:45} {_url(found[key])}".rstrip(), "+")
        self._shown = found
        self._screen.line(f"   after {took_s:.2f} s", "quiet")


def _url(text: str) -> str:
    """Return the URL in a document, or how many there are."""
    urls = {word.strip("'\"") for word in text.split() if word.strip("'\"").startswith("http")}
    return f"{len(urls)} URLs" if len(urls) > 1 else "".join(urls)


@asynccontextmanager
async def _service(folder: Path, stage: Stage) -> AsyncGenerator[None]:
    """Run the real service in a process of its own, with its log in ``folder``."""
    authorities = [sample.authority for sample in (*FIRST, JAEGER, SECOND)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TOOLSET_", "KUBE"))} | {
        "TOOLSET_KUBE__KUBECONFIG": str(folder / "kubeconfig"),
        "TOOLSET_HEALTH__CONNECT_TO": orjson.dumps(stage.backends.connect_to(authorities)).decode(),
        "TOOLSET_HEALTH__INTERVAL": "1s",
        "TOOLSET_SERVER__HOST": "127.0.0.1",
        "TOOLSET_SERVER__PORT": "0",
        "TOOLSET_SHUTDOWN__DELAY": "0s",
    }
    command = [sys.executable, "-m", "toolset", "run", "--log-format", "text"]
    with (folder / "service.log").open("wb") as log:
        async with await anyio.open_process(command, env=environment, stdout=log, stderr=log) as process:
            yield
            process.terminate()
            await process.wait()


def _explain(stage: Stage, screen: Screen) -> None:
    """Show every Service, and what becomes of it."""
    samples = [stage.cluster.get("Service", sample.namespace, sample.name) for sample in FIRST]
    services = tuple(msgspec.convert(stored, Service) for stored in samples)
    for each in explain_manifests(Settings(), Manifests(services, {})):
        name = f"{each.namespace}/{each.name}"
        if each.type:
            screen.line(f"   + {name:30} {each.type} at {each.url}", "+")
        else:
            screen.line(f"     {name:30} {each.reason}: {each.detail}")


async def _story(stage: Stage, screen: Screen) -> None:
    """Change the cluster step by step."""
    grafana, jaeger, second = "grafana-toolset.yaml", "jaeger-toolset.yaml", f"prometheus.{SECOND.namespace}"
    screen.title("A Jaeger is installed")
    await stage.follows(lambda: stage.add(JAEGER), lambda found: jaeger in found)
    screen.title("Another team installs a second Prometheus; both are kept")
    await stage.follows(lambda: stage.add(SECOND), lambda found: any(key.startswith(second) for key in found))
    screen.title("Grafana stops answering; it goes after three looks, not after a blip")
    await stage.follows(lambda: stage.backends.fail(GRAFANA.authority), lambda found: grafana not in found)
    screen.title("Grafana recovers")
    await stage.follows(lambda: stage.backends.heal(GRAFANA.authority), lambda found: grafana in found)
    before = stage.documents()
    screen.title("Somebody edits a document and adds a note; the edit is put back, the note stays")
    await stage.follows(
        lambda: stage.edit({jaeger: "oops\n", "notes": "call Ada first\n"}),
        lambda found: found == before | {"notes": "call Ada first\n"},
    )
    screen.title("An admin hides the second Prometheus in overrides.yaml, which the service never writes")
    hide = f"suppress: [{SECOND.namespace}/{SECOND.name}]\n"
    await stage.follows(
        lambda: stage.edit({"overrides.yaml": hide}), lambda found: not any(key.startswith(second) for key in found)
    )
    screen.title("Somebody deletes the ConfigMap; it is made again")
    await stage.follows(
        lambda: stage.cluster.delete("ConfigMap", NAMESPACE, NAME), lambda found: jaeger in found and grafana in found
    )


async def run(*, once: bool, colours: bool) -> None:
    """Tell the story; then leave the cluster up until Ctrl-C, unless ``once``.

    Raises:
        UnavailableError: The service did not do what the story says.
    """
    screen = Screen(colours=colours)
    with tempfile.TemporaryDirectory(prefix="toolset-demo-") as name:
        folder = Path(name)
        async with EmbeddedCluster() as cluster, Backends() as backends:
            stage = Stage(cluster, backends, screen)
            cluster.create("Namespace", {"metadata": {"name": NAMESPACE}})
            await anyio.Path(folder / "kubeconfig").write_text(cluster.kubeconfig(NAMESPACE), "utf-8")
            screen.title("A cluster with six Services of five products; what the service makes of them, and why")
            stage.add(*FIRST)
            _explain(stage, screen)
            screen.title("The service starts, probes them, and publishes one ConfigMap for the AI agent")
            async with _service(folder, stage):
                await stage.follows(lambda: None, lambda found: "grafana-toolset.yaml" in found)
                await _story(stage, screen)
                if not once:
                    await _stay(folder, cluster, screen)
            screen.line("")
            screen.line(
                "That was the real service on an embedded API server: `toolset run` needs nothing but a cluster."
            )


async def _stay(folder: Path, cluster: EmbeddedCluster, screen: Screen) -> None:
    screen.title("The cluster stays up until Ctrl-C; try it")
    for line in (
        f"   export KUBECONFIG={folder / 'kubeconfig'}",
        "   kubectl get services -A",
        f"   kubectl get configmap {NAME} -o yaml",
        "   kubectl delete service grafana -n monitoring",
        f"   kubectl edit configmap {NAME}",
        "   kubectl get events.events.k8s.io",
        f"   tail -f {folder / 'service.log'}",
    ):
        screen.line(line)
    screen.line(f"   API server {cluster.url}", "quiet")
    await anyio.sleep_forever()
