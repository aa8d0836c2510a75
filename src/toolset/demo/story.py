"""The story: the content of the cluster, its detection, and how the ConfigMap follows each change."""

import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import anyio
import msgspec
import yaml

from toolset.commands.explain import explain_manifests
from toolset.commands.manifests import Manifests
from toolset.config.settings import Settings
from toolset.core.publishing.plan import OVERRIDES_KEY
from toolset.core.status.texts import counted
from toolset.demo.samples import FIRST, GRAFANA, JAEGER, SECOND
from toolset.demo.screen import MARGIN, Screen
from toolset.demo.stage import NAME, Stage
from toolset.model import Service
from toolset.sim import Backends, EmbeddedCluster

Documents = Mapping[str, str]

HOLMESGPT: Final = "custom_toolset.yaml"
GRAFANA_KEY: Final = "grafana-toolset.yaml"
JAEGER_KEY: Final = "jaeger-toolset.yaml"
SECOND_KEY: Final = f"prometheus.{SECOND.namespace}.{SECOND.name}-toolset.yaml"
HIDE: Final = f"suppress: [{SECOND.namespace}/{SECOND.name}]"
WIDTH: Final = len(SECOND_KEY)
"""Width of the longest key."""
INTRODUCTION: Final = (
    "AI agents that investigate incidents, HolmesGPT and Kubernaut, can query only the Prometheus, Grafana, Jaeger",
    "and Elasticsearch that they are configured with. This service finds these in a Kubernetes cluster, probes",
    "them, and keeps one ConfigMap up to date, from which the agents read their URLs. Here it runs on a small",
    "cluster inside this process; the time in front of a change is how long the ConfigMap took to follow.",
)
CLOSING: Final = (
    "",
    "That was the real service, `toolset run`, over HTTP. `make demo STAY=1` keeps this cluster running for kubectl,",
    "`make test` runs all tests, with a real kube-apiserver, and docs/install.md explains how to install it.",
)


class Story:
    """Changes the cluster, and shows the resulting ConfigMap and how long that took."""

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self._stage = stage
        self._screen = screen
        self._shown: Documents = {}

    def explain(self) -> None:
        """Show every initial Service, and its verdict."""
        self._screen.title("A cluster with seven Services. Which can an agent ask, and why not the others?")
        self._stage.add(*FIRST)
        stored = [self._stage.cluster.get("Service", sample.namespace, sample.name) for sample in FIRST]
        services = tuple(msgspec.convert(each, Service) for each in stored)
        found = explain_manifests(Settings(), Manifests(services, {})).services
        rows = [
            ("+", f"{each.namespace}/{each.name}", f"{each.type}: {each.url}")
            if each.type
            else (" ", f"{each.namespace}/{each.name}", f"{each.reason}: {each.detail}")
            for each in sorted(found, key=lambda each: (not each.type, each.namespace, each.name))
        ]
        self._screen.rows(rows, max(len(name) for _, name, _ in rows))

    async def publish(self) -> None:
        """Wait for the first ConfigMap, and show what the agent reads of it."""
        await self.step(
            "The service starts, probes them, and writes the ConfigMap: HolmesGPT reads one key, Kubernaut the others",
            lambda: None,
            _has(GRAFANA_KEY),
        )
        toolsets = yaml.safe_load(self._shown[HOLMESGPT])["toolsets"]
        part = {"toolsets": {"prometheus/metrics": toolsets["prometheus/metrics"]}}
        lines = yaml.safe_dump(part, sort_keys=False).splitlines()
        self._screen.text(f"{'':{MARGIN}} A part of {HOLMESGPT}, which HolmesGPT loads as it is:")
        self._screen.quiet(*(f"{'':{MARGIN}} | {line}" for line in lines))

    async def step(self, title: str, change: Callable[[], object], wanted: Callable[[Documents], bool]) -> None:
        """Make a change, wait until the ConfigMap is as expected, and show the result.

        Raises:
            UnavailableError: It does not become so.
        """
        self._screen.title(title)
        began = anyio.current_time()
        change()
        changed = self._stage.documents()
        found = await self._stage.until(wanted)
        took = f"{anyio.current_time() - began:.2f} s"
        self._screen.rows(_differences(self._shown, changed, found), WIDTH, took)
        self._shown = found

    async def run(self) -> None:
        """Change the cluster step by step.

        Raises:
            UnavailableError: The ConfigMap does not follow.
        """
        stage = self._stage
        await self.step("Somebody installs a Jaeger", lambda: stage.add(JAEGER), _has(JAEGER_KEY))
        await self.step(
            "Another team installs a second Prometheus: the agents get both",
            lambda: stage.add(SECOND),
            _has(SECOND_KEY),
        )
        await self.step(
            "Grafana stops answering: it is removed after three failed probes",
            lambda: stage.backends.fail(GRAFANA.authority),
            lambda found: GRAFANA_KEY not in found,
        )
        await self.step("Grafana answers again", lambda: stage.backends.heal(GRAFANA.authority), _has(GRAFANA_KEY))
        before = self._shown
        await self.step(
            "Somebody edits a document and adds a note: the edit is put back, the note stays",
            lambda: stage.edit({JAEGER_KEY: "oops\n", "notes": "call Ada first\n"}),
            lambda found: found == {**before, "notes": "call Ada first\n"},
        )
        await self.step(
            "An admin hides the second Prometheus in overrides.yaml, which the service reads and never writes",
            lambda: stage.edit({"overrides.yaml": f"{HIDE}\n"}),
            lambda found: SECOND_KEY not in found,
        )
        await self.step(
            "Somebody deletes the whole ConfigMap: it is created again, and what the admin hid stays hidden",
            stage.delete,
            lambda found: JAEGER_KEY in found and OVERRIDES_KEY not in found,
        )


def _has(key: str) -> Callable[[Documents], bool]:
    return lambda found: key in found


def _differences(before: Documents, changed: Documents, after: Documents) -> Iterator[tuple[str, str, str]]:
    """Yield the change of each key, as rows; ``changed`` is the state in between."""
    put_back = [key for key in before if before[key] == after.get(key) != changed.get(key)]
    if len(put_back) > 1:
        yield "=", counted(len(put_back), "document"), "put back"
        put_back.clear()
    for key in sorted({*before, *after}):
        if key not in after:
            yield "-", key, ""
        elif key in put_back:
            yield "=", key, "put back"
        elif before.get(key) != after[key]:
            yield "~" if key in before else "+", key, _gist(key, after[key])


def _gist(key: str, text: str) -> str:
    """Return a summary of a document."""
    content = yaml.safe_load(text)
    if key == HOLMESGPT:
        counts = {name.split("/")[0].split("-")[0]: 1 for name in content["toolsets"]}
        counts["prometheus"] = len(content["toolsets"]["prometheus/metrics"]["config"].get("instances", "1"))
        return "for HolmesGPT: " + ", ".join(name if n == 1 else f"{n} x {name}" for name, n in sorted(counts.items()))
    if isinstance(content, str) or "toolset" not in content:
        return text.strip()
    return str(content["config"].get("url", "the cluster itself"))


async def run(*, once: bool, colours: bool) -> None:
    """Run the story; then keep the cluster running until Ctrl-C, unless ``once``.

    Raises:
        UnavailableError: The service did not behave as expected.
    """
    screen = Screen(colours=colours)
    screen.text("", *INTRODUCTION)
    with tempfile.TemporaryDirectory(prefix="toolset-demo-") as folder:
        async with EmbeddedCluster() as cluster, Backends() as backends:
            stage = Stage(cluster, backends, Path(folder))
            story = Story(stage, screen)
            story.explain()
            async with stage.service():
                await story.publish()
                await story.run()
                if once:
                    screen.text(*CLOSING)
                else:
                    await _stay(stage, screen)


async def _stay(stage: Stage, screen: Screen) -> None:
    """Keep the cluster running until Ctrl-C or SIGTERM."""
    screen.title("The cluster stays up until Ctrl-C. Try it in another terminal")
    commands = {
        f"export KUBECONFIG={stage.kubeconfig}": "",
        "kubectl get services -A": "",
        f"kubectl get configmap {NAME} -o yaml --watch": "what the agents read; it follows what you do below",
        "kubectl annotate service grafana -n monitoring kubernaut.io/toolset=disabled": "Grafana goes at once",
        "kubectl delete service jaeger-query -n tracing": "so does Jaeger",
        f"kubectl edit configmap {NAME}": "your keys stay, the service's own are put back",
        "kubectl get events.events.k8s.io -o custom-columns=REASON:.reason,NOTE:.note": "what became of each Service",
    }
    width = max(map(len, commands))
    screen.text(
        *(
            f"   {command:{width}} {description and f'# {description}'}".rstrip()
            for command, description in commands.items()
        )
    )
    screen.quiet(
        f"   the status of the service: open {stage.status_url}, or run `toolset status --server {stage.status_url}`",
        f"   API server {stage.cluster.url}, metrics {stage.url}/metrics, readiness {stage.url}/readyz",
        f"   log of the service {stage.log}",
    )
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            return
