"""The world of one seed: a cluster, its people, its faults, the processes, and what must hold of them."""

import logging
import math
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import yaml
from typing_extensions import override

from integration.cluster import KUBERNETES_KEY, Tool
from simulation.backends import Backends
from simulation.clock import Scheduler, Violation
from simulation.etcd import Backup, back_up, restore
from simulation.link import Server, Weather
from simulation.places import LEASE_PLACE, NOTES, OVERRIDES, POOL, SPACES, SYSTEM, TARGET
from simulation.reference import demanded, eligible, is_trusted
from simulation.replica import EPOCH, Replica
from simulation.writes import WriteChecks
from toolset.sim.api import Api
from toolset.sim.kinds import EVENT, NAMESPACE, SERVICE, Place
from toolset.sim.statuses import Object
from toolset.sim.store import Store
from toolset.sim.writing import Writer

HOUR_S: Final = 3600.0
SETTINGS: Final = """
discovery: {untrusted: pending, untrusted_types: [tasks]}
output: {dialects: [kubernaut], instance: kubernaut-system/kubernaut-dynamic-toolset}
status: {enabled: false}
"""
STEADY_S: Final = 240.0
"""What was undisturbed for so long is known to every leader: a watch that fell silent is opened again after 75 s and
the retries before that wait up to 60 s, and a failed probe is not the last before some 45 s."""
QUIET_BOUND_S: Final = 300.0
"""Without faults: one probe interval, the brake of 2 min, and time to spare."""
STORM_BOUND_S: Final = 600.0
"""After faults: besides, a watch that fell silent, the longest retry delay, the Lease, the pace of repairs."""
THIN_LINKS: Final = 0.25
"""The share of worlds in which no list of Services in one piece arrives."""
LAGGING_CACHES: Final = 0.1
"""The share of worlds in which the API server refuses streamed lists, because its watch cache lags."""
SLOW_TOKENS: Final = 0.2
"""The share of worlds in which a token lives for 10 minutes and takes 7 s to come."""
THIRD_REPLICAS: Final = 0.2
"""The share of worlds with three replicas."""
REQUESTS_A_MINUTE: Final = 300
WRITES_A_MINUTE: Final = 60
LOG_LINES_A_MINUTE: Final = 1200
EVENTS_A_MINUTE: Final = 400
STEPS_A_MINUTE: Final = 20_000
TASKS: Final = 300


@dataclass
class Coverage:
    """How often each fault, each action and each state was met."""

    counts: Counter[str] = field(default_factory=Counter[str])

    def met(self, what: str) -> None:
        self.counts[what] += 1


class LogLines(logging.Handler):
    """What the processes log: counted, kept for the history, and searched for bugs."""

    def __init__(self, world: "World") -> None:
        super().__init__()
        self._world = world

    @override
    def emit(self, record: logging.LogRecord) -> None:
        world = self._world
        world.log_lines += 1
        if record.exc_info:
            world.found(f"I7 exception logged: {record.getMessage()}: {record.exc_info[1]!r}")
        if world.verbose:
            world.note("log", f"{record.levelname} {record.getMessage()} {getattr(record, 'error', '')}")


class World:
    """One seed. :meth:`run` raises :class:`Violation`."""

    def __init__(self, seed: int, *, services: int = 200, verbose: bool = False) -> None:
        self.seed = seed
        self.verbose = verbose
        self.chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
        random.seed(seed)
        self.scheduler = scheduler = Scheduler()
        self.store = Store(log_size=2000)
        self._serial = 0
        self.writer = Writer(self.store, now=lambda: EPOCH + timedelta(seconds=scheduler.now), uid=self._uid)
        self.server = Server(scheduler, self.store, Api(self.store, self.writer), self.chance)
        self.writes = WriteChecks(self)
        self.server.lists_hang = self.chance.random() < THIN_LINKS
        self.server.cache_lags = self.chance.random() < LAGGING_CACHES
        self.has_slow_tokens = self.chance.random() < SLOW_TOKENS
        replicas = 3 if self.chance.random() < THIRD_REPLICAS else 2
        self.rival_until = 0.0
        self.epoch: int | None = None  # of the leadership that must stay, as there was no fault since
        self.backends = Backends(scheduler)
        self.history: deque[str] = deque(maxlen=100_000 if verbose else 400)
        self.coverage = Coverage()
        self.problem = ""
        self.log_lines = 0
        self.disturbed: dict[str, tuple[float, float]] = {}  # by tool, when the last two times
        self._services = services
        self.foreign: dict[str, str] = {}
        self.backup: tuple[Backup, dict[str, str]] | None = None  # and what the admin had written
        self._before: Counter[str] = Counter()
        self.replicas = [
            Replica(
                f"replica-{n}",
                scheduler,
                self.server,
                self.backends,
                settings=SETTINGS,
                has_slow_tokens=self.has_slow_tokens,
                seed=seed,
                target=lambda: self.store.get(TARGET),
                note=self.note,
                on_error=lambda problem: self.found(f"I7 {problem}"),
            )
            for n in range(replicas)
        ]
        self._build()

    # --- What happened

    def note(self, kind: str, what: str) -> None:
        """Remember something for the history."""
        if kind in {"fault", "process", "admin", "backend", "check"}:
            self.coverage.met(f"{kind}: {what.split(maxsplit=1)[0]}")
        elif not self.verbose:
            return
        self.history.append(f"{timedelta(seconds=round(self.scheduler.now, 3))} {kind:8} {what}")

    def found(self, problem: str) -> None:
        """Remember the first violation; it ends the run."""
        self.problem = self.problem or f"{timedelta(seconds=round(self.scheduler.now, 3))} {problem}"

    def _uid(self) -> str:
        self._serial += 1
        return f"00000000-0000-0000-0000-{self._serial:012}"

    # --- The cluster

    def _build(self) -> None:
        for name in ("default", "kube-system", SYSTEM, *SPACES):
            self.writer.create(Place(NAMESPACE), {"metadata": {"name": name}}, "kubectl")
        for space in SPACES:
            self._fill(space)
        for tool in self.chance.sample(POOL, 8):
            self.create(tool)

    def _fill(self, space: str) -> None:
        """Create the Services of a namespace that are no backends."""
        for number in range(SPACES.index(space), self._services - len(POOL), len(SPACES)):
            metadata = {"name": f"app-{number}", "namespace": space}
            spec = {"selector": {"app": f"app-{number}"}, "ports": [{"name": "http", "port": 8080}]}
            self.writer.create(Place(SERVICE, space), {"metadata": metadata, "spec": spec}, "kubectl")

    def end_namespace(self, space: str) -> None:
        """Take the next step in the life of a namespace: it begins to end, is gone, or is there again."""
        place = Place(NAMESPACE, "", space)
        namespace = self.store.get(place)
        self.disturb_all(space)
        if namespace is None:
            self.note("admin", f"create-namespace {space}")
            self.writer.create(Place(NAMESPACE), {"metadata": {"name": space}}, "kubectl")
            self._fill(space)
            for tool in self.chance.sample([tool for tool in POOL if tool.namespace == space], 4):
                self.create(tool)
        elif "deletionTimestamp" in namespace["metadata"]:
            self.note("admin", f"drop-namespace {space}")
            self.writer.delete(place)
        else:
            self.note("admin", f"end-namespace {space}")
            ended = {**namespace["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
            self.store.put(place, {**namespace, "metadata": ended})

    def is_open(self, space: str) -> bool:
        """Return whether a namespace exists and does not end."""
        namespace = self.store.get(Place(NAMESPACE, "", space))
        return namespace is not None and "deletionTimestamp" not in namespace["metadata"]

    def create(self, tool: Tool) -> None:
        """Create the Service of a tool."""
        manifest: Any = tool.manifest()
        manifest["metadata"]["namespace"] = tool.namespace
        self.writer.create(Place(SERVICE, tool.namespace), manifest, "kubectl")
        self.disturb(tool.path)

    def disturb(self, path: str) -> None:
        """Remember that a tool may rightly come or go for a while."""
        before = self.disturbed.get(path, (-math.inf, -math.inf))[1]
        self.disturbed[path] = before, self.scheduler.now

    def disturb_all(self, space: str = "") -> None:
        """Do so for every tool, or for those of a namespace."""
        for tool in POOL:
            if space in {"", tool.namespace}:
                self.disturb(tool.path)

    def place(self, tool: Tool) -> Place:
        """Return where the Service of a tool is."""
        return Place(SERVICE, tool.namespace, tool.name)

    def data(self) -> dict[str, str]:
        """Return the data of the ConfigMap."""
        return dict((self.store.get(TARGET) or {}).get("data", {}))

    def demanded(self) -> dict[str, Any]:
        """Return what the reference model demands now."""
        found = [self.eligible(tool) for tool in POOL]
        return demanded([each for each in found if each is not None], self.backends.is_up)

    def eligible(self, tool: Tool) -> Object | None:
        """Return the Service of a tool if it may be published."""
        namespace = self.store.get(Place(NAMESPACE, "", tool.namespace))
        return eligible(self.store.get(self.place(tool)), namespace, self.foreign.get(OVERRIDES, ""))

    # --- Invariants

    def back_up(self) -> None:
        """Back etcd up."""
        if self.store.get(TARGET) is not None:
            self.backup = back_up(self.store, self.writer), dict(self.foreign)

    def restore(self) -> None:
        """Restore etcd from its backup: all that came later has never been, and versions are given out once more."""
        if self.backup is None:
            return
        self.note("fault", "restore")
        objects, self.foreign = self.backup[0], dict(self.backup[1])
        restore(objects, self.store, self.writer)
        self.server.cut(None, "broken")
        self.writes.restored()
        self.epoch = None
        self.disturb_all()

    def written(self) -> None:
        """Let the rival, if there is one, write an own value into an owned key, as a controller that fights does."""

        def overwrite() -> None:
            keys = sorted(key for key in self.data() if key.endswith("-toolset.yaml"))
            if self.scheduler.now < self.rival_until and keys:
                self.writer.patch(
                    TARGET, {"data": {keys[0]: f"config: {{url: http://rival-{self.scheduler.now}}}\n"}}, "rival"
                )

        self.scheduler.after(0.2, overwrite)

    def is_steady(self, tool: Tool) -> bool:
        """Return whether a tool has been there, healthy and undisturbed for long."""
        if self.eligible(tool) is None or not self.backends.is_up(tool.authority):
            return False
        since = max(self.disturbed.get(tool.path, (0.0, 0.0))[1], self.backends.up_since(tool.authority))
        return self.scheduler.now - since > STEADY_S

    def check_settled(self) -> None:
        """Check I1, I3 and I5: all is as the reference model demands, every replica is ready, one leads."""
        self.note("check", "settled")
        self._note_trust()
        wanted, data = self.demanded(), self.data()
        found = {key: yaml.safe_load(text) for key, text in data.items() if key.endswith("-toolset.yaml")}
        if found != wanted:
            self.found(f"I1 wanted {_named(wanted)}, found {_named(found)}")
        kept = {key: data[key] for key in (NOTES, OVERRIDES) if key in data}
        if kept != self.foreign:
            self.found(f"I3 wanted {self.foreign}, found {kept}")
        for each in self.replicas:
            if each.app is None or each.loop is None:
                self.found(f"I5 {each.name} does not run")
            elif not_ready := each.ask_health():
                self.found(f"I5 {each.name} is not ready: {not_ready}")
        self._check_leader()

    def _check_leader(self) -> None:
        """Check that one leads, the same as at the last check if there was no fault since."""
        if (leading := sum(each.leads_for_s() > 0.0 for each in self.replicas)) != 1:
            self.found(f"I5 {leading} leaders")
        lease = self.store.get(LEASE_PLACE)
        epoch = lease["spec"].get("leaseTransitions", 0) if lease else 0
        if epoch != self.epoch is not None:
            self.found(f"I5 the leader changed without a fault: epoch {self.epoch}, then {epoch}")
        self.epoch = epoch

    def _note_trust(self) -> None:
        for space in SPACES:
            namespace = self.store.get(Place(NAMESPACE, "", space))
            if namespace is not None and not is_trusted(namespace):
                self.coverage.met("state: untrusted namespace")
                if any(self.eligible(tool) for tool in POOL if tool.namespace == space):
                    self.coverage.met("state: approved tool in an untrusted namespace")

    def begin(self) -> None:
        """Start every process, and the checks that time brings."""
        for each in self.replicas:
            each.start()
        self._each_minute()
        self._each_hour()

    def _each_minute(self) -> None:
        """Check I6."""
        now = Counter(
            requests=self.server.requests,
            log_lines=self.log_lines,
            steps=self.scheduler.steps,
            writes=self.writes.count,
        )
        limits = {
            "requests": REQUESTS_A_MINUTE * len(self.replicas),
            "log_lines": LOG_LINES_A_MINUTE,
            "steps": STEPS_A_MINUTE,
            "writes": WRITES_A_MINUTE,
        }
        for what, limit in limits.items():
            if now[what] - self._before[what] > limit:
                self.found(f"I6 {now[what] - self._before[what]} {what} in a minute")
        self._before = now
        self.scheduler.after(60.0, self._each_minute)

    def _each_hour(self) -> None:
        """Forget old Events, as the API server does, and check that their number is bounded."""
        events = self.store.all_in(Place(EVENT, SYSTEM))
        for each in events:
            self.writer.delete(Place(EVENT, SYSTEM, each["metadata"]["name"]))
        if len(events) > 60 * EVENTS_A_MINUTE:
            self.found(f"I6 {len(events)} Events in an hour")
        self.scheduler.after(HOUR_S, self._each_hour)

    # --- The run

    def advance(self, seconds: float) -> None:
        """Let time pass; raise what was found."""
        self.scheduler.run_until(self.scheduler.now + seconds)
        if self.problem:
            raise Violation(self.problem)

    def calm(self) -> None:
        """End every fault."""
        self.rival_until = 0.0
        for each in self.replicas:
            each.start()
            if each.loop is not None and each.link is not None:
                if each.loop.is_paused:
                    each.loop.resume()
                each.link.weather = Weather()


def _named(documents: dict[str, Any]) -> dict[str, str]:
    return {key: str(each.get("config", {}).get("url", "")) for key, each in documents.items() if key != KUBERNETES_KEY}
