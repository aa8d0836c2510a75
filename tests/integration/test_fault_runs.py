"""Changes of the cluster and faults of the network, in an order that chance chooses, from one seed each.

Whatever happened: the ConfigMap comes right in the end, no write ever omitted a backend that was well, nobody's keys
were touched, and there was one writer at a time.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import pytest

from controlplane import ControlPlane
from integration import faults
from integration.backends import Backends
from integration.cluster import (
    CONFIG_MAPS,
    KUBERNETES_KEY,
    MERGE_PATCH,
    NAMESPACE,
    SERVICE_ACCOUNT,
    TARGET,
    AuditTail,
    Cluster,
    Tool,
)
from integration.demands import documents, losses, omissions, rivals, services, trespasses
from integration.faults import FaultProxy, Kind
from integration.service import Service
from support.waiting import settles

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

REPLICAS: Final = 2
"""More than one elect a leader."""
ROUNDS: Final = 5
SEEDS_A_PROCESS: Final = 10
"""A process is used for so many seeds: the start takes a second, and some of what it learns lasts for an hour."""
RIGHT_WITHIN_S: Final = 25.0
"""A Lease that ends and first probes without an answer take 8 s, and three times that while all cores are busy."""
SETTINGS: Final = {
    "CONTROLLER__RETRY_BASE": "100ms",
    "CONTROLLER__RETRY_CAP": "1s",
    "HEALTH__INTERVAL": "300ms",
    "OUTPUT__DIALECTS": "[kubernaut]",
    "OUTPUT__WRITE_PAUSE_CAP": "500ms",
    "ELECTION__ENABLED": str(REPLICAS > 1).lower(),
    "ELECTION__LEASE_DURATION": "3s",
    "ELECTION__RENEW_DEADLINE": "2s",
    "ELECTION__RETRY_PERIOD": "500ms",
}
NAMESPACES: Final = ("fault-a", "fault-b")
NOTES: Final = "notes"
OVERRIDES: Final = "overrides.yaml"
FOREIGN: Final = frozenset({NOTES, OVERRIDES})
READY: Final = {"toolset": "enabled", "toolset-type": "tasks", "toolset-health-path": "/ready"}
GRAFANA: Final = "grafana below /a and /b"
POOL: Final = (
    *(Tool(GRAFANA, NAMESPACES[n % 2], f"board-{n}", 3000, "service", {"app": "grafana"}) for n in range(4)),
    *(Tool("prometheus", each, "metrics", 9090, "web", {"app": "prometheus"}) for each in NAMESPACES),
    *(Tool("jaeger", each, "jaeger", 16686, "query") for each in NAMESPACES),
    Tool("elasticsearch", NAMESPACES[0], "elasticsearch", 9200),
    Tool("elasticsearch behind a login", NAMESPACES[1], "search", 9200, labels={"app": "elasticsearch"}),
    *(Tool("custom", each, "tasks", 3200, annotations=READY) for each in NAMESPACES),
)
LEASE: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{SERVICE_ACCOUNT}"
KINDS: Final[tuple[tuple[Kind, ...], ...]] = ((), ("watch",), ("list", "watch"), ("write",), ("write",))
ERRORS: Final = (faults.GONE, faults.THROTTLED, faults.BROKEN, faults.UNAVAILABLE)
REPLIES: Final = (*ERRORS, faults.PAGE)


def seeds() -> list[int]:
    """Return the seeds to run: the one that is asked for, or as many as there is time for."""
    if one := os.getenv("TOOLSET_FAULT_SEED"):
        return [int(one)]
    return list(range(500 if os.getenv("CI_FULL") == "1" else 60))


class Fleet:
    """The replicas of the service, each behind a proxy of its own."""

    def __init__(self, cluster: Cluster, backends: Backends, directory: Path) -> None:
        self.cluster = cluster
        self.answers = backends.answers
        self.audit = AuditTail(cluster.plane, TARGET.rpartition("/")[2])
        self._routes = {"TOOLSET_TEST_CONNECT_TO": msgspec.json.encode(backends.connect_to(POOL)).decode()}
        self._directory = directory
        self._started = 0
        self.proxies: list[FaultProxy] = []
        self.services: list[Service | None] = [None] * REPLICAS
        self.logs: list[Path] = []

    def restart(self, index: int, how: signal.Signals = signal.SIGKILL) -> None:
        """Start a replica, after it was ended where it runs."""
        self.kill(index, how)
        self._started += 1
        access = self.proxies[index].kubeconfig(self.cluster.kubeconfig())
        log = self._directory / f"service-{self._started}.log"
        self.services[index] = Service(access, log, {**self._routes, **SETTINGS})
        self.logs = [*self.logs, log][-REPLICAS - 1 :]

    def kill(self, index: int, how: signal.Signals) -> None:
        """End a replica, if it runs; it must not have met a bug of its own."""
        service, self.services[index] = self.services[index], None
        if service is not None:
            assert service.exit_code is None
            service.end(how)
            service.close()
            assert service.bugs() == []

    def begin(self, seed: int) -> None:
        """Make all as if nothing had been before ``seed``; a new process, from time to time."""
        self._calm()
        for index in range(REPLICAS):
            service = self.services[index]
            if seed % SEEDS_A_PROCESS == 0 or service is None or service.exit_code is not None:
                self.restart(index, signal.SIGTERM)
        self.cluster.clean()
        settles(lambda: set(self.cluster.data()), {KUBERNETES_KEY}, RIGHT_WITHIN_S)
        self.audit.read()

    def _calm(self) -> None:
        self.answers.heal()
        for proxy in self.proxies:
            proxy.heal()

    def ends_well(self) -> None:
        """Check that every replica runs, and did nothing that it should not."""
        for service in self.services:
            assert service is not None
            assert (service.exit_code, service.bugs()) == (None, [])
            assert service.status("/livez") == 200
            settles(partial(service.status, "/readyz"), 200, within_s=5)


@pytest.fixture(scope="module")
def fleet(control_plane: ControlPlane, backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("fleet")
    with control_plane.client() as admin, ExitStack() as stack:
        cluster = Cluster(control_plane, admin)
        stack.callback(cluster.clean)
        admin.delete(LEASE)  # else the first leader waits for one that another test left behind
        stack.callback(backends.answers.heal)
        running = Fleet(cluster, backends, directory)
        for index in range(REPLICAS):
            (own := directory / f"proxy-{index}").mkdir()
            running.proxies.append(stack.enter_context(FaultProxy(control_plane, own)))
            stack.callback(running.kill, index, signal.SIGTERM)
        yield running


class Run:
    """One script: each step changes the cluster or the network, and none waits for the service."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self._fleet = fleet
        self._cluster = fleet.cluster
        self._chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self._began = time.monotonic()
        self._serial = 0
        self._killed = False
        self.did: list[str] = []
        self.present: set[str] = set()  # by path, as the next
        self.disturbed: set[str] = set()
        self.sick = ""
        self.foreign: dict[str, str] = {}
        self._changes: tuple[tuple[int, Callable[[], str]], ...] = (
            (9, self._toggle),
            (3, self._prioritise),
            (3, self._move),
            (3, self._opt),
            (1, self._sicken),
            (3, self._edit_foreign),
            (3, self._edit_ours),
            (2, self._take_back),
            (1, self._replace),
            (1, self._delete_config_map),
            (1, self._kill),
        )

    def play(self) -> None:
        """Publish a few tools, then do whatever chance says; at last, end every fault."""
        for tool in self._chance.sample(POOL, 4):
            self._create(tool)
        if self._chance.random() < 0.7:
            self._right()
        for _ in range(ROUNDS):
            self._change(self._chance.randrange(3))
            for _ in range(self._chance.choice((1, 1, 2))):
                self._note(self._fault())
            self._change(1 + self._chance.randrange(4))
            threading.Event().wait(self._chance.choice((0.0, 0.2, 0.4)))
            if self._chance.random() < 0.6:
                self._note(self._heal())
        if self._chance.random() < 0.5:
            self._end_with_failing_writes()
        for proxy in self._fleet.proxies:
            proxy.heal()
        self._note("healed")
        self._right()
        self._note("right")

    def _end_with_failing_writes(self) -> None:
        """Let the last change be one that is seen and cannot be written: no event will remind of it."""
        reply = self._chance.choice(REPLIES)
        for proxy in self._fleet.proxies:
            proxy.heal()
            proxy.answer(reply, "write")
        self._note(f"every proxy: answer {reply.status} write")
        self._note(self._toggle())
        threading.Event().wait(0.6)

    def _change(self, times: int) -> None:
        """Change the cluster, with pauses that meet the service in any phase of its work."""
        for _ in range(times):
            _, change = self._chance.choices(self._changes, [weight for weight, _ in self._changes])[0]
            self._note(change())
            threading.Event().wait(self._chance.choice((0.0, 0.0, 0.02, 0.06, 0.12)))

    def steady_urls(self) -> set[str]:
        """Return what was published of those tools that were well all the time."""
        return {tool.url for tool in POOL if tool.path in self.present - self.disturbed}

    def _right(self) -> None:
        """Wait until the ConfigMap is what the API server's own view of the Services demands."""
        demanded = documents(services(self._cluster, NAMESPACES), lambda authority: authority != self.sick)
        settles(self._cluster.documents, demanded, RIGHT_WITHIN_S)
        data = self._cluster.data()
        assert {key: data[key] for key in FOREIGN if key in data} == self.foreign

    def _note(self, what: str) -> None:
        self.did.append(f"{time.monotonic() - self._began:7.3f} {what}")

    # --- Steps: each returns what it did

    def _any(self) -> Tool:
        return self._chance.choice([tool for tool in POOL if tool.path in self.present] or POOL[:1])

    def _create(self, tool: Tool) -> None:
        self._cluster.create(tool)
        self.present.add(tool.path)

    def _toggle(self) -> str:
        tool = self._chance.choice(POOL)
        if tool.path not in self.present:
            self._create(tool)
            return f"create {tool.path}"
        self._cluster.delete(tool)
        self.present.discard(tool.path)
        self.disturbed.add(tool.path)
        return f"delete {tool.path}"

    def _annotate(self, tool: Tool, name: str, value: str | None) -> str:
        if tool.path in self.present:
            self._cluster.patch(tool.path, {"metadata": {"annotations": {f"kubernaut.io/{name}": value}}})
        return f"annotate {tool.path} {name}={value}"

    def _prioritise(self) -> str:
        return self._annotate(self._any(), "toolset-priority", str(self._chance.randrange(10)))

    def _move(self) -> str:
        tool = self._chance.choice(POOL[:4])
        self.disturbed.add(tool.path)
        return self._annotate(tool, "toolset-path", self._chance.choice(("/a", "/b", None)))

    def _opt(self) -> str:
        tool = self._any()
        self.disturbed.add(tool.path)
        return self._annotate(tool, "toolset", self._chance.choice(("disabled", tool.annotations.get("toolset"))))

    def _sicken(self) -> str:
        """Let one backend die, and the one that was dead live again."""
        self._fleet.answers.heal()
        tool = self._any()
        if tool.backend == "prometheus":  # a real one, which cannot fail for one Service alone
            self.sick = ""
            return "every backend lives"
        self.sick = tool.authority
        self.disturbed.add(tool.path)
        self._fleet.answers.fail(tool.authority)
        return f"{tool.authority} dies"

    def _edit_foreign(self) -> str:
        self._serial += 1
        key = self._chance.choice((NOTES, OVERRIDES))
        self.foreign[key] = f"suppress: [team-b/nothing-{self._serial}]\n"
        self._edit(key, self.foreign[key])
        return f"edit {key}"

    def _edit_ours(self) -> str:
        tool = self._any()
        kind = {"custom": "tasks"}.get(tool.backend, tool.backend.split()[0])
        key = self._chance.choice(
            (KUBERNETES_KEY, f"{kind}-toolset.yaml", f"{kind}.{tool.namespace}.{tool.name}-toolset.yaml")
        )
        value = self._chance.choice((None, "config: {url: 'http://elsewhere'}\n"))
        current = self._cluster.admin.get(TARGET).json()
        if key not in current.get("data", {}):  # it would be the admin's own from then on
            return f"leave {key} alone"
        change = {"metadata": {"resourceVersion": current["metadata"]["resourceVersion"]}, "data": {key: value}}
        status = self._cluster.admin.patch(TARGET, json=change, headers=MERGE_PATCH).status_code
        assert status in {200, 404, 409}
        return f"edit {key} to {value}: {status}"

    def _take_back(self) -> str:
        """Change a key of the service and undo it before the service has seen either: it is theirs from then on.

        Each edit names the version it changes: a key that the service has removed meanwhile would be the admin's own.
        """
        current = self._cluster.admin.get(TARGET).json()
        data = current.get("data", {})
        keys = sorted(key for key in data if key.endswith("-toolset.yaml") and key != KUBERNETES_KEY)
        if not keys:
            return "take nothing back"
        key, statuses = keys[0], list[int]()
        for value in ("config: {url: 'http://elsewhere'}\n", data[key]):
            change = {"metadata": {"resourceVersion": current["metadata"]["resourceVersion"]}, "data": {key: value}}
            answer = self._cluster.admin.patch(TARGET, json=change, headers=MERGE_PATCH)
            statuses.append(answer.status_code)
            if answer.status_code != 200:
                assert answer.status_code in {404, 409}
                break
            current = answer.json()
        return f"edit {key} and take it back: {statuses}"

    def _replace(self) -> str:
        """Write the whole ConfigMap back with a note, as ``kubectl replace`` does: all of it is the admin's then."""
        current = self._cluster.admin.get(TARGET).json()
        self._serial += 1
        note = f"note {self._serial}"
        if "metadata" not in current or current.get("kind") != "ConfigMap":
            return "replace nothing"
        current["data"] = {**current.get("data", {}), NOTES: note}
        if (status := self._cluster.admin.put(TARGET, json=current).status_code) == 200:
            self.foreign[NOTES] = note
        assert status in {200, 404, 409}
        return f"replace the ConfigMap: {status}"

    def _edit(self, key: str, value: str | None) -> None:
        """Change a key of the ConfigMap, as an admin does who makes it where it is gone."""
        while True:
            answer = self._cluster.admin.patch(TARGET, json={"data": {key: value}}, headers=MERGE_PATCH)
            if answer.status_code != 404:
                answer.raise_for_status()
                return
            body = {"metadata": {"name": TARGET.rpartition("/")[2]}, "data": {key: value or ""}}
            if self._cluster.admin.post(CONFIG_MAPS, json=body).status_code == 201:
                return

    def _delete_config_map(self) -> str:
        status = self._cluster.admin.delete(TARGET).status_code
        assert status in {200, 404}
        self.foreign = {}
        return f"delete the ConfigMap: {status}"

    def _proxy(self) -> tuple[int, FaultProxy]:
        index = self._chance.randrange(REPLICAS)
        return index, self._fleet.proxies[index]

    def _fault(self) -> str:
        index, proxy = self._proxy()
        kinds, flag = self._chance.choice(KINDS), self._chance.random() < 0.5
        reply, error = self._chance.choice(REPLIES), self._chance.choice(ERRORS)
        possible: tuple[tuple[int, str, Callable[[], None]], ...] = (
            (2, f"cut with {'RST' if flag else 'FIN'}", lambda: proxy.cut(*kinds, reset=flag)),
            (2, "freeze", lambda: proxy.freeze(*kinds)),
            (1, "delay", lambda: proxy.delay(0.2, *kinds)),
            (2, "tear", lambda: proxy.tear(*kinds)),
            (1, "tear watches cleanly", lambda: proxy.tear("watch", cleanly=True)),
            (4, f"answer {reply.status}", lambda: proxy.answer(reply, *kinds)),
            (5, f"answer {reply.status} and cut", lambda: proxy.answer(reply, *kinds, cut=True)),
            (4, f"end watches with {error.status}", lambda: proxy.fail_watches(error)),
            (2, "refuse", proxy.refuse),
        )
        _, fault, act = self._chance.choices(possible, [weight for weight, _, _ in possible])[0]
        act()
        return f"proxy {index}: {fault} {' '.join(kinds) or 'all'}"

    def _heal(self) -> str:
        index, proxy = self._proxy()
        proxy.heal()
        return f"proxy {index}: heal"

    def _kill(self) -> str:
        """Kill a replica and start it again, once a run: it takes a second."""
        index, _ = self._proxy()
        if self._killed:
            return "kill nobody"
        self._killed = True
        self._fleet.restart(index)
        return f"kill and start service {index}"


@pytest.mark.parametrize("seed", seeds())
def test_whatever_happens_all_comes_right_and_nothing_wrong_was_written(seed: int, fleet: Fleet) -> None:
    fleet.begin(seed)
    run = Run(fleet, seed)
    try:
        run.play()
        fleet.ends_well()
        written = fleet.audit.read()
        assert omissions(written, run.steady_urls()) == []
        assert losses(written, run.steady_urls()) == []
        assert trespasses(written, FOREIGN) == []
        assert rivals(written, elected=REPLICAS > 1) == []
    except Exception as error:
        replay = f"TOOLSET_FAULT_SEED={seed} pytest tests/integration/test_fault_runs.py"
        error.add_note("\n".join([*run.did, f"replay: {replay}"]))
        raise
