import base64
import itertools
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import pairwise
from typing import Final

import anyio
import msgspec
import pytest
import yaml
from anyio import wait_all_tasks_blocked

from support.background import running
from support.build import service
from support.config_maps import FakeApplier, FakeConfigMaps
from support.observers import Forbearance, Silence
from support.prober import HUNG, UNHEALTHY, FakeProber
from support.stores import TargetStore, unexpected
from toolset.core.candidate import Candidate, Reason, Rejected, Variant, Verdict
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detect import DetectionOptions
from toolset.core.dialects.documents import Credentials
from toolset.core.health.options import DEFAULT_HEALTH, HealthOptions
from toolset.core.health.removal_brake import Hold
from toolset.core.health.thresholds import DEFERRED, EXHAUSTED, Health, Outcome
from toolset.core.inventory import Inventory
from toolset.core.overrides.baseline import NOTHING, Published
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.plan import Apply, desired, manifest
from toolset.core.publishing.publication import Publication
from toolset.errors import ConflictError, OutOfSyncError, TerminalError, TransientError, UnavailableError
from toolset.model import Key, Namespace, Service
from toolset.reconciler.conflicts import BLIND, LONGEST_S, MANY, RETRY_S
from toolset.reconciler.probe import ProbeReconciler
from toolset.reconciler.publishing import TargetOptions
from toolset.reconciler.service import ServiceReconciler
from toolset.reconciler.startup_gate import StartupGate
from toolset.reconciler.target import REWRITE_S, TargetReconciler
from toolset.runtime.backoff import Backoff, RetryLimiter
from toolset.runtime.controller import DONE, Controller, Result
from toolset.runtime.store import Store
from toolset.runtime.workqueue import WorkQueue

TARGET: Final = Key("kubernaut-system", "kubernaut-toolset-config")
OVERRIDES: Final = Key("kubernaut-system", "toolset-overrides")
A, B = Key("monitoring", "a"), Key("monitoring", "b")
KUBERNETES, PROMETHEUS = "kubernetes-toolset.yaml", "prometheus-toolset.yaml"
OPTIONS = TargetOptions(output=OutputOptions(dialects=("kubernaut",)))
SEPARATE: Final = TargetOptions(output=OutputOptions(dialects=("kubernaut",), overrides_from=OVERRIDES.name))
HIDES_A: Final = "suppress: [monitoring/a]\n"


class Events:
    """Records what the reconciles report."""

    def __init__(self) -> None:
        self.reconciled: list[Key] = []
        self.verdicts: list[tuple[Key, Verdict | None]] = []
        self.probes: list[tuple[Key, bool, float]] = []
        self.writes: list[tuple[Apply, int]] = []
        self.editors: list[tuple[str, ...]] = []
        self.quiet: list[int] = []
        self.conflicts = 0
        self.exhausted = 0
        self.paces = 0
        self.paced_for: set[Key] = set()
        self.overwritten_by: list[tuple[str, ...]] = []
        self.refusals: list[str] = []
        self.holds: list[Hold] = []
        self.last_words: Mapping[Key, Verdict] = {}

    def service_reconciled(self, key: Key) -> None:
        self.reconciled.append(key)

    def verdict_changed(self, key: Key, verdict: Verdict | None) -> None:
        self.verdicts.append((key, verdict))

    def probed(self, candidate: Candidate, outcome: Outcome, took_s: float) -> None:
        self.probes.append((candidate.key, outcome.alive, took_s))

    def resources_exhausted(self) -> None:
        self.exhausted += 1

    def composed(self, publication: Publication) -> None:
        self.publication = publication

    def published(self, change: Apply, tools: int, editors: tuple[str, ...]) -> None:
        self.writes.append((change, tools))
        self.editors.append(editors)

    def unchanged(self, tools: int) -> None:
        self.quiet.append(tools)

    def paced(self, services: Collection[Key], wait_s: float) -> None:
        assert wait_s > 0.0
        self.paces += 1
        self.paced_for.update(services)

    def overwritten(self, by: tuple[str, ...]) -> None:
        self.overwritten_by.append(by)

    def refused(self, why: str) -> None:
        self.refusals.append(why)

    def conflicted(self) -> None:
        self.conflicts += 1

    def held(self, hold: Hold) -> None:
        self.holds.append(hold)

    def settled(self, verdicts: Mapping[Key, Verdict]) -> None:
        self.last_words = verdicts


class Asked:
    """Triggers that call what a test wants to know of."""

    def __init__(
        self, detect: Callable[[Key], None], probe: Callable[[Key], None], publish: Callable[[], None]
    ) -> None:
        self._detect = detect
        self._probe = probe
        self._publish = publish

    def detect(self, key: Key) -> None:
        self._detect(key)

    def probe(self, key: Key) -> None:
        self._probe(key)

    def publish(self) -> None:
        self._publish()


class Reconcilers:
    """The three reconcilers over fakes; queues are lists, so that each test runs them itself."""

    def __init__(
        self,
        *services: Service,
        health: HealthOptions = DEFAULT_HEALTH,
        options: TargetOptions = OPTIONS,
        detection: DetectionOptions = DetectionOptions(BUILT_IN),  # noqa: B008 - immutable
        server: FakeConfigMaps | None = None,
    ) -> None:
        self.services: Store[Service] = Store(unexpected)
        self.services.replace(services, "1")
        self.namespaces: Store[Namespace] = Store(unexpected)
        self.server = server or FakeConfigMaps()
        self.config_maps = TargetStore()
        self.inventory = Inventory(health)
        self.events, self.prober, self.applier = Events(), FakeProber(), FakeApplier(self.server)
        self.to_detect: list[Key] = []
        self.to_probe: list[Key] = []
        self.probes: WorkQueue[Key] | None = None
        self.targets: WorkQueue[Key] | None = None
        self.publications = 0
        self.opened = 0
        self.jitter = 0.5
        self.gate = StartupGate(self._on_open)
        triggers = Asked(self.to_detect.append, self._want_probe, self._publish)
        self.detect = ServiceReconciler(
            self.services,
            self.namespaces,
            self.inventory,
            self.gate,
            triggers,
            self.events,
            detection,
        )
        self.probe = ProbeReconciler(
            self.inventory,
            self.prober,
            self.gate,
            triggers,
            self.events,
            health,
            jitter=lambda: self.jitter,
        )
        self._target = TargetReconciler(
            self.inventory,
            self.config_maps,
            self.applier,
            triggers,
            self.events,
            options,
            options.resumed(self.server.get(TARGET)),
            NOTHING,
        )

    def watch(self) -> None:
        """Let the store see everything that happened to the ConfigMap, and to that of the admin's own."""
        found = [each for key in (TARGET, OVERRIDES) if (each := self.server.get(key))]
        self.config_maps.replace(found, str(max((int(each.version) for each in found), default=1)))

    def begin(self, published: Iterable[str] = ()) -> None:
        """Let both lists be complete."""
        self.watch()
        self.gate.begin(self.services.snapshot(), Published(frozenset(published)))

    async def detect_all(self) -> None:
        for key in self.services.snapshot():
            await self.detect(key)

    async def probe_all(self) -> None:
        while self.to_probe:
            await self.probe(self.to_probe.pop(0))

    async def publish(self) -> Result:
        return await self._target(TARGET)

    def wind_down(self) -> None:
        self._target.wind_down()

    async def settled(self) -> "Reconcilers":
        """Detect, probe and publish until nothing is left to do."""
        self.begin()
        await self.detect_all()
        await self.probe_all()
        assert await self.publish() == DONE
        self.publications = 0
        return self

    def gate_is_open(self) -> bool:
        return self.gate.is_open

    @property
    def documents(self) -> dict[str, str]:
        current = self.server.get(TARGET)
        return current.entries if current else {}

    @asynccontextmanager
    async def working(self, probers: int = 32) -> AsyncGenerator[None]:
        """Let workers probe and publish inside the block."""
        self.probes, self.targets = WorkQueue(), WorkQueue()
        controllers = (
            Controller(self.probes, self.probe, Silence(), workers=probers),
            Controller(self.targets, self._target, Silence()),
        )
        for key in self.services.snapshot():
            self.probes.add(key)
        async with running(controllers[0].run), running(controllers[1].run):
            yield

    def published(self) -> set[str]:
        """Return the names of the Services that the ConfigMap has."""
        hosts = "".join(self.documents.values())
        return {key.name for key in self.services.snapshot() if f"//{key.name}.{key.namespace}.svc" in hosts}

    def _want_probe(self, key: Key) -> None:
        if self.probes is not None:
            self.probes.add(key)
        else:
            self.to_probe.append(key)

    def _publish(self) -> None:
        self.publications += 1
        if self.targets is not None:
            self.targets.add(TARGET, after_s=0.1)

    def _on_open(self) -> None:
        self.opened += 1


async def test_the_gate_opens_once_every_service_has_its_verdict() -> None:
    world = Reconcilers()
    world.gate.settle(A)
    assert not world.gate_is_open()
    world.gate.begin([A, B], NOTHING)
    world.gate.settle(A)
    assert not world.gate_is_open()
    world.gate.settle(B)
    assert world.gate_is_open()
    world.gate.settle(B)
    world.gate.stop_waiting_for_probes()
    assert world.opened == 1


async def test_the_gate_opens_at_once_in_a_cluster_without_services() -> None:
    world = Reconcilers()
    world.gate.begin([], NOTHING)
    assert world.gate_is_open()


async def test_the_gate_opens_when_time_is_up_and_every_service_was_probed_and_wakes_who_waits() -> None:
    world = Reconcilers()
    world.gate.begin([A], NOTHING)
    async with running(world.gate.wait_opened):
        await wait_all_tasks_blocked()
        world.gate.stop_waiting_for_probes()
        assert not world.gate_is_open()
        world.gate.published(A)
        await wait_all_tasks_blocked()
        await world.gate.wait_opened()
    world.gate.settle(A)
    assert world.opened == 1


async def test_the_first_write_waits_for_no_backend_of_an_untrusted_namespace() -> None:
    options = DetectionOptions(BUILT_IN, trusted=("monitoring",))
    tenant = service("b", namespace="team", annotations={"kubernaut.io/toolset": "enabled"})
    world = Reconcilers(service("a"), tenant, detection=options)
    world.begin()
    await world.detect_all()
    assert world.inventory.candidate(tenant.key) is not None
    assert not world.gate_is_open()
    await world.probe(A)
    assert world.gate_is_open()


async def test_what_stood_in_the_config_map_counts_for_the_first_reconcile_only() -> None:
    world = Reconcilers()
    found = Published(frozenset({"http://a"}))
    world.gate.begin([A], found)
    assert world.gate.published(B) == NOTHING
    assert world.gate.published(A) == found
    assert world.gate.published(A) == NOTHING


async def test_a_service_that_is_recognised_is_to_be_probed_and_published() -> None:
    world = Reconcilers(service("a"))
    assert await world.detect(A) == DONE
    found = world.inventory.candidate(A)
    assert found is not None
    assert world.to_probe == [A]
    assert world.publications == 1
    assert world.events.verdicts == [(A, found)]


async def test_a_service_that_is_not_recognised_is_settled_and_never_probed() -> None:
    world = Reconcilers(service("a", app="shop", port=80))
    world.begin()
    await world.detect_all()
    assert world.events.verdicts == [(A, Rejected(Reason.NO_MATCH))]
    assert world.to_probe == []
    assert world.gate_is_open()


async def test_a_second_reconcile_of_a_service_that_did_not_change_does_nothing() -> None:
    world = await Reconcilers(service("a")).settled()
    assert await world.detect(A) == DONE
    assert (world.to_probe, world.publications, len(world.events.verdicts)) == ([], 0, 1)


async def test_a_deleted_service_is_no_tool_any_more() -> None:
    world = await Reconcilers(service("a")).settled()
    world.services.replace([], "2")
    await world.detect(A)
    assert world.events.verdicts[-1] == (A, None)
    assert world.publications == 1
    await world.publish()
    assert set(world.documents) == {KUBERNETES}


async def test_a_service_that_was_never_known_and_is_gone_is_settled_silently() -> None:
    world = Reconcilers(service("a"))
    world.begin()
    world.services.replace([], "2")
    await world.detect(A)
    assert world.gate_is_open()
    assert (world.events.verdicts, world.publications) == ([], 0)


async def test_what_is_published_survives_a_restart_and_its_first_failed_probe() -> None:
    """Defect of the original: it published an empty list when its own network failed."""
    world = Reconcilers(service("a"))
    world.prober.outcomes = {A: UNHEALTHY}
    world.begin(published={"http://a.monitoring.svc.cluster.local:9090"})
    await world.detect_all()
    await world.probe_all()
    assert world.gate_is_open()
    await world.publish()
    assert PROMETHEUS in world.documents


async def test_a_service_that_comes_back_after_the_start_has_to_prove_its_health() -> None:
    world = Reconcilers(service("a"))
    world.begin(published={"http://a.monitoring.svc.cluster.local:9090"})
    await world.detect_all()
    world.services.replace([], "2")
    await world.detect(A)
    world.services.replace([service("a", uid="another", version="3")], "3")
    await world.detect(A)
    assert world.inventory.health(A) == Health()


async def test_a_probe_that_makes_a_tool_up_asks_for_a_publication_and_the_next_look() -> None:
    world = Reconcilers(service("a"))
    await world.detect_all()
    world.publications = 0
    assert await world.probe(A) == Result(requeue_after_s=30.0)
    assert world.publications == 1
    assert await world.probe(A) == Result(requeue_after_s=30.0)
    assert world.publications == 1


@pytest.mark.parametrize(
    ("jitter", "seconds"), [pytest.param(0.0, 28.5, id="earliest"), pytest.param(1.0, 31.5, id="latest")]
)
async def test_looks_are_spread_by_a_tenth_of_the_interval(jitter: float, seconds: float) -> None:
    world = Reconcilers(service("a"))
    world.jitter = jitter
    await world.detect_all()
    assert (await world.probe(A)).requeue_after_s == pytest.approx(seconds)


async def test_a_tool_that_begins_to_fail_is_probed_soon_and_dropped_at_the_third_failure() -> None:
    """Defect of the original: it dropped a tool on one failed probe."""
    world = await Reconcilers(service("a")).settled()
    world.prober.outcomes = {A: UNHEALTHY}
    assert await world.probe(A) == Result(requeue_after_s=1.0)
    assert await world.probe(A) == Result(requeue_after_s=2.0)
    assert world.publications == 0
    assert await world.probe(A) == Result(requeue_after_s=30.0)
    assert world.publications == 1
    await world.publish()
    assert set(world.documents) == {KUBERNETES}


async def test_a_probe_is_reported_with_its_outcome_and_how_long_it_took() -> None:
    world = Reconcilers(service("a"))
    await world.detect_all()
    world.prober.takes_s = 4.0
    await world.probe(A)
    [(key, alive, took_s)] = world.events.probes
    assert (key, alive) == (A, True)
    assert took_s == pytest.approx(4.0)


async def test_a_service_that_is_no_candidate_is_not_probed() -> None:
    world = Reconcilers()
    assert await world.probe(A) == DONE
    assert world.prober.asked == []


async def test_the_outcome_of_a_service_that_changed_during_its_probe_counts_for_nothing() -> None:
    world = Reconcilers(service("a"))
    world.begin()
    await world.detect_all()
    world.to_probe.clear()
    world.prober.takes_s = 4.0
    world.publications = 0
    answers: list[Result] = []

    async def probe() -> None:
        answers.append(await world.probe(A))

    async with running(probe):
        await wait_all_tasks_blocked()
        world.services.replace([service("a", port=9091, version="2")], "2")
        await world.detect(A)
        await anyio.sleep(5)
    assert answers == [DONE]
    assert world.inventory.health(A) == Health()
    assert not world.gate_is_open()
    assert world.to_probe == [A]
    await world.probe_all()
    assert world.gate_is_open()
    assert [asked.port for asked in world.prober.asked] == [9090, 9091]


async def test_without_probes_every_candidate_is_a_tool_and_is_never_probed_again() -> None:
    world = Reconcilers(service("a"), health=HealthOptions(enabled=False, rise=3))
    world.begin()
    await world.detect_all()
    assert await world.probe(A) == DONE
    assert (world.prober.asked, world.events.probes) == ([], [])
    assert world.gate_is_open()
    await world.publish()
    assert set(world.documents) == {KUBERNETES, PROMETHEUS}


async def test_backends_are_probed_at_once_and_one_that_hangs_delays_no_other() -> None:
    """Defect of the original: it probed one after another."""
    names = [f"p{n}" for n in range(10)]
    world = Reconcilers(*(service(name) for name in names))
    world.prober.takes_s = 0.5
    await world.detect_all()
    began = anyio.current_time()
    async with anyio.create_task_group() as group:
        for key in world.to_probe:
            group.start_soon(world.probe, key)
    assert anyio.current_time() - began == pytest.approx(0.5)
    assert len(world.inventory.tools()) == 10


async def test_a_reconcile_writes_what_is_known_and_a_second_one_makes_no_request() -> None:
    """Defect of the original: it wrote on every cycle."""
    world = await Reconcilers(service("a")).settled()
    assert yaml.safe_load(world.documents[PROMETHEUS])["config"]["url"] == "http://a.monitoring.svc.cluster.local:9090"
    [(change, tools)] = world.events.writes
    assert (change.written, tools) == ((KUBERNETES, PROMETHEUS), 1)
    assert await world.publish() == DONE
    assert world.applier.requests == ["apply"]
    assert world.events.quiet == [1]


async def test_the_answer_to_a_write_is_seen_before_the_watch_brings_it() -> None:
    world = await Reconcilers(service("a")).settled()
    assert world.config_maps.get(TARGET) == world.server.get(TARGET)


async def test_settings_name_the_variable_of_a_grafana() -> None:
    world = await Reconcilers(
        service("a", app="grafana", port=3000),
        options=TargetOptions(
            "example.com", OutputOptions(("kubernaut",), {"monitoring/a": Credentials(api_key="KEY")})
        ),
    ).settled()
    assert yaml.safe_load(world.documents["grafana-toolset.yaml"])["config"]["apiKey"] == "${KEY}"
    current = world.server.get(TARGET)
    assert current is not None
    assert current.annotations["example.com/tools"] == "1"


async def test_a_deleted_config_map_is_made_again() -> None:
    """Defect of the original: it noticed that only at its next tick."""
    world = await Reconcilers(service("a")).settled()
    world.server.delete(TARGET)
    world.watch()
    await world.publish()
    assert set(world.documents) == {KUBERNETES, PROMETHEUS}


async def test_foreign_keys_survive_a_write() -> None:
    """Defect of the original: it wiped foreign keys, overrides included, on every write."""
    world = Reconcilers(service("a"))
    world.server.patch(TARGET, {"overrides.yaml": "admin's", "notes": "theirs"})
    await world.settled()
    assert set(world.documents) == {KUBERNETES, PROMETHEUS, "overrides.yaml", "notes"}


async def test_a_key_in_binary_data_costs_one_document_and_its_size_counts() -> None:
    world = Reconcilers(service("a"))
    world.server.patch(TARGET, {"notes": "admin's"})
    world.begin()
    current = world.config_maps.get(TARGET)
    assert current is not None
    occupied = {PROMETHEUS: base64.b64encode(bytes(100)).decode()}
    world.config_maps.replace([msgspec.structs.replace(current, binary_data=dict(occupied))], current.version)
    await world.detect_all()
    await world.probe_all()
    assert await world.publish() == DONE
    assert PROMETHEUS not in world.documents
    assert KUBERNETES in world.documents


async def test_a_conflict_waits_for_the_newer_version_and_loses_nothing() -> None:
    """Defect of the original: it never retried a 409."""
    world = await Reconcilers(service("a")).settled()
    world.server.patch(TARGET, {"overrides.yaml": "admin's"})
    world.inventory.forget(A)
    assert await world.publish() == Result(requeue_after_s=RETRY_S)
    assert world.events.conflicts == 1
    assert len(world.events.writes) == 1
    assert PROMETHEUS in world.documents
    world.watch()
    assert await world.publish() == DONE
    assert set(world.documents) == {KUBERNETES, "overrides.yaml"}


async def test_an_admin_who_edits_all_the_time_does_not_starve_the_writer() -> None:
    world = await Reconcilers(service("a")).settled()
    edits = 0

    def edit() -> None:
        nonlocal edits
        edits += 1
        if edits <= 20:
            world.server.patch(TARGET, {"notes": str(edits)})
            world.watch()

    world.applier.before = edit
    world.inventory.forget(A)
    queue: WorkQueue[Key] = WorkQueue()
    queue.add(TARGET)
    async with running(Controller(queue, lambda _: world.publish(), Silence()).run):
        await anyio.sleep(20 * RETRY_S + 0.1)
    assert set(world.documents) == {KUBERNETES, "notes"}
    assert world.events.conflicts == 20


async def test_an_admin_whose_edits_always_come_first_is_answered_once_a_second_in_the_end() -> None:
    world = await Reconcilers(service("a")).settled()
    edits = 0

    def edit() -> None:
        nonlocal edits
        edits += 1
        world.server.patch(TARGET, {"notes": str(edits)})
        world.watch()

    world.applier.before = edit
    world.inventory.forget(A)
    world.applier.requests.clear()
    for _ in range(300):  # as the watch does, repeatedly
        await world.publish()
        await anyio.sleep(0.1)
    assert MANY <= world.events.conflicts <= MANY + 30
    world.applier.before = lambda: None
    await anyio.sleep(1.0)
    assert await world.publish() == DONE


async def test_a_server_that_always_answers_409_gets_few_requests_and_the_config_map_is_listed_again() -> None:
    world = await Reconcilers(service("a")).settled()
    world.inventory.forget(A)
    world.applier.requests.clear()
    world.applier.errors = [ConflictError("changed meanwhile") for _ in range(1000)]
    queue: WorkQueue[Key] = WorkQueue(limiter=RetryLimiter(Backoff(base_s=0.8, cap_s=300.0, spread=0.0)))
    queue.add(TARGET)
    async with running(Controller(queue, lambda _: world.publish(), Forbearance()).run):
        await anyio.sleep(10.0)
        early = len(world.applier.requests)
        for _ in range(350):  # Services come all the time
            await anyio.sleep(0.1)
            queue.add(TARGET)
    assert BLIND < early <= 10
    assert early < len(world.applier.requests) <= early + 10
    assert world.config_maps.relists == len(world.applier.requests) - BLIND + 1


async def test_conflicts_without_a_newer_version_go_on_for_hours_at_the_same_pace() -> None:
    world = await Reconcilers(service("a")).settled()
    world.inventory.forget(A)
    world.applier.errors = [ConflictError("changed meanwhile") for _ in range(2000)]
    for _ in range(1100):
        with suppress(ConflictError):
            await world.publish()
        await anyio.sleep(LONGEST_S)
    assert world.events.conflicts == 1100


async def test_a_newer_version_ends_the_pause_after_conflicts() -> None:
    world = await Reconcilers(service("a")).settled()
    world.inventory.forget(A)
    world.applier.errors = [ConflictError("changed meanwhile") for _ in range(BLIND + 4)]
    for _ in range(BLIND + 4):
        await anyio.sleep(LONGEST_S)
        with suppress(ConflictError):
            await world.publish()
    assert (await world.publish()).requeue_after_s == pytest.approx(16.0)
    world.server.patch(TARGET, {"notes": "theirs"})
    world.watch()
    assert await world.publish() == DONE
    assert set(world.documents) == {KUBERNETES, "notes"}


async def test_other_failures_are_left_to_the_queue() -> None:
    world = await Reconcilers(service("a")).settled()
    world.inventory.forget(A)
    world.applier.errors = [UnavailableError("503")]
    with pytest.raises(UnavailableError):
        await world.publish()
    assert len(world.events.writes) == 1


async def with_a_key_that_somebody_patched() -> Reconcilers:
    """Return a world whose tool is gone, while its document has got another owner."""
    world = await Reconcilers(service("a")).settled()
    world.server.patch(TARGET, {PROMETHEUS: "theirs", "notes": "theirs"})
    world.watch()
    world.inventory.forget(A)
    world.applier.requests.clear()
    return world


async def test_an_unwanted_key_with_another_owner_goes_by_a_patch_and_then_the_rest_is_applied() -> None:
    world = await with_a_key_that_somebody_patched()
    assert await world.publish() == DONE
    assert world.applier.requests == [f"patch {PROMETHEUS}", "apply"]
    assert set(world.documents) == {KUBERNETES, "notes"}
    assert world.events.writes[-1][0].removed == (PROMETHEUS,)
    assert await world.publish() == DONE
    assert len(world.applier.requests) == 2


async def test_a_tool_whose_key_moves_is_never_away_even_if_the_apply_fails() -> None:
    """The key of the first instance is somebody else's too, so that it goes by patch when the tool moves."""
    first, second = service("a", annotations={"kubernaut.io/toolset-priority": "1"}), service("b")
    world = await Reconcilers(first, second).settled()
    moved = f"prometheus.{B}-toolset.yaml".replace("/", ".")
    assert set(world.documents) == {KUBERNETES, PROMETHEUS, moved}
    world.server.patch(TARGET, {moved: "theirs"})
    world.watch()
    world.inventory.forget(A)
    world.applier.errors = [None, UnavailableError("cut")]
    with pytest.raises(UnavailableError):
        await world.publish()
    urls = [document for document in world.documents.values() if "http://b.monitoring" in document]
    assert len(urls) == 1


@pytest.mark.parametrize(
    "errors",
    [
        pytest.param([ConflictError("stale")], id="a conflict at the patch"),
        pytest.param([None, ConflictError("stale")], id="a conflict at the apply"),
    ],
)
async def test_a_conflict_between_patch_and_apply_leaves_no_orphan(errors: list[ConflictError | None]) -> None:
    world = await with_a_key_that_somebody_patched()
    world.applier.errors = [*errors]
    assert await world.publish() == Result(requeue_after_s=RETRY_S)
    world.watch()
    assert await world.publish() == DONE
    assert set(world.documents) == {KUBERNETES, "notes"}


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(UnavailableError("busy", retry_after_s=30.0, throttled=True), id="429"),
        pytest.param(OutOfSyncError("internal error", retry_after_s=30.0), id="500"),
        pytest.param(UnavailableError("for a day", retry_after_s=86_400.0), id="no longer than a minute"),
    ],
)
async def test_a_server_that_asks_for_patience_gets_no_write_before_however_many_services_come(
    error: TransientError,
) -> None:
    world = await Reconcilers(service("a")).settled()
    patience_s = min(error.retry_after_s, 60.0)
    world.inventory.forget(A)
    world.applier.errors = [error]
    with pytest.raises(TransientError):
        await world.publish()
    writes = len(world.applier.requests)
    for waited_s in range(int(patience_s)):
        assert await world.publish() == Result(requeue_after_s=patience_s - waited_s)
        await anyio.sleep(1)
    assert len(world.applier.requests) == writes
    assert await world.publish() == DONE
    assert PROMETHEUS not in world.documents


async def test_a_server_that_asks_a_conflicting_writer_for_patience_gets_it() -> None:
    world = await Reconcilers(service("a")).settled()
    world.inventory.forget(A)
    world.applier.errors = [ConflictError("changed meanwhile", retry_after_s=7.0)]
    assert await world.publish() == Result(requeue_after_s=RETRY_S)
    assert await world.publish() == Result(requeue_after_s=7.0)


async def test_who_winds_down_writes_once_more_whatever_the_server_asked_for() -> None:
    world = await Reconcilers(service("a")).settled()
    world.inventory.forget(A)
    world.applier.errors = [UnavailableError("busy", retry_after_s=30.0)]
    with pytest.raises(UnavailableError):
        await world.publish()
    world.wind_down()
    assert await world.publish() == DONE
    assert PROMETHEUS not in world.documents


async def test_a_failure_between_patch_and_apply_leaves_no_orphan() -> None:
    world = await with_a_key_that_somebody_patched()
    world.applier.errors = [None, UnavailableError("cut")]
    with pytest.raises(UnavailableError):
        await world.publish()
    world.watch()
    assert await world.publish() == DONE
    assert set(world.documents) == {KUBERNETES, "notes"}


async def test_a_world_that_changes_in_any_order_ends_with_the_same_bytes() -> None:
    services = [service("a"), service("b"), service("c", app="grafana", port=3000)]
    worlds = [await Reconcilers(*services).settled(), await Reconcilers(*reversed(services)).settled()]
    first, second = (list(world.documents.items()) for world in worlds)
    assert sorted(first) == sorted(second)
    bodies = [world.events.writes[0][0].manifest for world in worlds]
    assert bodies[0] == bodies[1]


ALL: Final = [f"p{number}" for number in range(10)]


async def well(*names: str) -> Reconcilers:
    """Return a world with these tools, all published."""
    return await Reconcilers(*(service(name) for name in names)).settled()


def fail(world: Reconcilers, *names: str, outcome: Outcome = UNHEALTHY, takes_s: float = 0.0) -> None:
    world.prober.outcomes |= {Key("monitoring", name): outcome for name in names}
    world.prober.times_s |= {Key("monitoring", name): takes_s for name in names}


def heal(world: Reconcilers, *names: str) -> None:
    for name in names:
        del world.prober.outcomes[Key("monitoring", name)]
        world.prober.times_s.pop(Key("monitoring", name), None)


@pytest.mark.parametrize(
    ("outcome", "takes_s"),
    [
        pytest.param(UNHEALTHY, 0.0, id="they answer badly"),
        pytest.param(HUNG, 5.0, id="they hang"),
    ],
)
@pytest.mark.parametrize("apart_s", [0.0, 3.0], ids=["probed together", "probed one after the other"])
async def test_when_all_backends_fail_at_once_nothing_is_removed_for_two_minutes_and_then_the_failures_are_published(
    outcome: Outcome, takes_s: float, apart_s: float
) -> None:
    """Defect of the original: it published an empty list when its own network failed."""
    world = await well(*ALL)
    async with world.working():
        assert world.probes is not None
        for key in world.services.snapshot():
            await anyio.sleep(apart_s)
            world.probes.add(key)
        await anyio.sleep(30)
        writes = len(world.events.writes)
        fail(world, *ALL, outcome=outcome, takes_s=takes_s)
        await anyio.sleep(115)
        assert len(world.events.writes) == writes
        assert world.published() == set(ALL)
        assert sum(hold.begins for hold in world.events.holds) == 1
        assert [hold.known for hold in world.events.holds if hold.begins] == [10]
        await anyio.sleep(90)
        assert world.published() == set()


async def test_a_stack_that_is_uninstalled_while_removals_are_held_is_removed_at_once() -> None:
    world = await well(*ALL)
    async with world.working():
        await anyio.sleep(60)
        fail(world, *ALL)
        await anyio.sleep(60)
        assert world.published() == set(ALL)
        left = {Key("monitoring", name) for name in ALL[:4]}
        world.services.replace([service(key.name) for key in left], "2")
        for name in ALL[4:]:
            await world.detect(Key("monitoring", name))
        await anyio.sleep(0.2)
        assert world.published() == set(ALL[:4])
        assert world.events.holds[-1].keys == left


async def test_a_reconcile_that_winds_down_waits_for_no_hold_to_end() -> None:
    world = await well(*ALL)
    async with world.working():
        await anyio.sleep(60)
        fail(world, *ALL)
        await anyio.sleep(60)
    assert (await world.publish()).requeue_after_s is not None
    world.wind_down()
    assert await world.publish() == DONE
    assert world.published() == set(ALL)


async def test_what_comes_back_during_a_hold_was_never_gone_and_additions_are_not_held() -> None:
    world = await well(*ALL)
    async with world.working():
        await anyio.sleep(60)
        writes = len(world.events.writes)
        fail(world, *ALL)
        await anyio.sleep(60)
        heal(world, *ALL)
        await anyio.sleep(40)
        assert len(world.events.writes) == writes
        assert not world.events.holds[-1].keys
        added = service("new", version="5")
        world.services.replace([*world.services.snapshot().values(), added], "5")
        await world.detect(added.key)
        await anyio.sleep(1)
        assert "new" in world.published()


async def test_one_backend_that_dies_among_many_is_removed_within_seconds() -> None:
    world = await well(*ALL)
    async with world.working():
        await anyio.sleep(60)
        fail(world, "p3")
        await anyio.sleep(36)  # its turn comes within 31.5 s, and its second looks take 3 s
        assert world.published() == set(ALL) - {"p3"}
        assert not any(hold.begins for hold in world.events.holds)


async def test_the_others_are_probed_before_a_tool_is_lost_and_not_again_for_the_next_one() -> None:
    world = await well(*ALL)
    async with world.working():
        assert world.probes is not None
        await anyio.sleep(50)
        world.prober.asked.clear()
        fail(world, "p3", "p4")
        world.probes.add(Key("monitoring", "p3"))
        await anyio.sleep(1.2)
        assert {asked.key.name for asked in world.prober.asked} == set(ALL)
        await anyio.sleep(2.3)
        assert world.published() == set(ALL) - {"p3"}  # the other one has a look to come
        await anyio.sleep(1)
        assert world.published() == set(ALL) - {"p3", "p4"}
        healthy = [asked for asked in world.prober.asked if asked.key.name not in {"p3", "p4"}]
        assert len(healthy) <= 2 * (len(ALL) - 2)


async def test_a_tool_that_begins_to_fail_repeatedly_has_the_others_probed_with_growing_pauses() -> None:
    world = await well(*ALL)
    async with world.working():
        assert world.probes is not None
        await anyio.sleep(50)
        world.prober.asked.clear()
        for _ in range(75):  # for five minutes
            fail(world, "p3")
            world.probes.add(Key("monitoring", "p3"))
            await anyio.sleep(1.5)
            heal(world, "p3")
            await anyio.sleep(2.5)
        others = [asked for asked in world.prober.asked if asked.key.name != "p3"]
        assert len(others) <= 35 * (len(ALL) - 1)


def same_backend(*names: str) -> list[Service]:
    """Return Services that select the same pods."""
    return [Service(service(name).metadata, service("pods").spec) for name in names]


async def test_a_preferred_service_that_dies_is_replaced_within_seconds_and_comes_back() -> None:
    """The other one was probed an interval ago: it is probed again before the preferred one is lost."""
    world = await Reconcilers(*same_backend("a", "b", "c")).settled()
    async with world.working():
        assert world.probes is not None
        await anyio.sleep(25)
        assert world.published() == {"a"}
        fail(world, "a", "b")
        world.probes.add(A)
        await anyio.sleep(3.5)
        assert world.published() == {"c"}
        heal(world, "a", "b")
        await anyio.sleep(40)
        assert world.published() == {"a"}


async def test_a_backend_that_dies_with_all_its_services_is_removed_with_one_write() -> None:
    world = await Reconcilers(*same_backend("a", "b"), service("other")).settled()
    async with world.working():
        assert world.probes is not None
        await anyio.sleep(25)
        writes = len(world.events.writes)
        fail(world, "a", "b")
        world.probes.add(A)
        await anyio.sleep(60)
        assert world.published() == {"other"}
        assert len(world.events.writes) == writes + 1


async def test_a_service_that_only_stands_in_is_not_probed_for_each_failure_of_another() -> None:
    world = await Reconcilers(*same_backend("a", "b")).settled()
    fail(world, "b")
    for _ in range(3):
        await world.probe(B)
    assert world.to_probe == []


async def test_a_backend_that_fails_every_other_probe_causes_no_write() -> None:
    world = await well("a")
    looks = 0

    def flap() -> None:
        nonlocal looks
        looks += 1
        world.prober.outcomes[A] = UNHEALTHY if looks % 2 else Outcome(alive=True)

    world.prober.before = flap
    writes = len(world.events.writes)
    async with world.working():
        await anyio.sleep(3600)
    assert looks > 200
    assert len(world.events.writes) == writes


async def test_backends_that_hang_get_half_of_the_slots_and_the_others_do_not_wait_for_them() -> None:
    hung = [f"a{number:02}" for number in range(20)]  # by their names they come first
    world = Reconcilers(*(service(name) for name in [*hung, *ALL]), health=HealthOptions(concurrency=4))
    fail(world, *hung, outcome=HUNG, takes_s=5.0)
    world.begin()
    await world.detect_all()
    world.to_probe.clear()
    async with world.working(probers=4):
        await anyio.sleep(12)
        assert {tool.key.name for tool in world.inventory.tools()} == set(ALL)
        await anyio.sleep(60)
        assert all(world.inventory.health(Key("monitoring", name)).up is False for name in hung)
        assert world.gate_is_open()
        world.prober.asked.clear()
        world.prober.asked_at.clear()
        await anyio.sleep(60)
        asked = list(zip(world.prober.asked, world.prober.asked_at, strict=True))
        for name in ALL:
            looks = [at_s for candidate, at_s in asked if candidate.key.name == name]
            assert max(later - earlier for earlier, later in pairwise(looks)) < 33  # whatever hangs


async def test_a_hundred_backends_that_hang_and_come_first_keep_nine_hundred_no_longer_than_two_timeouts() -> None:
    hung = [f"a{number:03}" for number in range(100)]
    healthy = [f"b{number:03}" for number in range(900)]
    world = Reconcilers(*(service(name) for name in [*hung, *healthy]))
    fail(world, *hung, outcome=HUNG, takes_s=5.0)
    world.prober.takes_s = 0.02
    world.begin()
    await world.detect_all()
    world.to_probe.clear()
    async with world.working():
        await anyio.sleep(10)
        assert {tool.key.name for tool in world.inventory.tools()} == set(healthy)


async def test_a_probe_that_was_deferred_is_no_verdict_and_comes_again() -> None:
    world = Reconcilers(service("a"))
    world.prober.outcomes = {A: DEFERRED}
    world.begin()
    await world.detect_all()
    world.to_probe.clear()
    assert await world.probe(A) == DONE
    assert not world.gate_is_open()
    assert (world.events.probes, world.inventory.health(A).overdue) == ([], True)
    assert world.to_probe == [A]  # there is room in the slow lane
    world.prober.outcomes.clear()
    await world.probe_all()
    assert world.gate_is_open()


async def test_a_probe_that_this_process_could_not_make_is_no_verdict_and_comes_again_later() -> None:
    world = Reconcilers(service("a"))
    world.begin()
    await world.detect_all()
    world.to_probe.clear()
    await world.probe(A)
    assert world.inventory.health(A).up
    world.prober.outcomes = {A: EXHAUSTED}
    for _ in range(10):
        assert await world.probe(A) == Result(requeue_after_s=EXHAUSTED.retry_after_s)
    assert world.to_probe == []  # no other probe is asked for: it would lack the same
    assert (world.inventory.health(A).up, world.inventory.health(A).failures) == (True, 0)
    assert (len(world.events.probes), world.events.exhausted) == (1, 10)


async def test_a_hung_backend_that_is_deleted_gives_its_place_to_the_next() -> None:
    hung = [f"a{number}" for number in range(4)]
    world = Reconcilers(*(service(name) for name in hung), health=HealthOptions(concurrency=2))
    fail(world, *hung, outcome=HUNG, takes_s=5.0)
    await world.detect_all()
    world.to_probe.clear()
    async with world.working(probers=2):
        await anyio.sleep(3.5)  # one is in the slow lane, the others were deferred
        gone = [Key("monitoring", name) for name in hung[1:3]]
        for key in gone:
            world.inventory.forget(key)
        await anyio.sleep(20)
        assert world.inventory.health(Key("monitoring", "a3")).up is False


async def test_nothing_is_kept_of_a_service_that_is_deleted_while_its_probe_hangs() -> None:
    world = Reconcilers(service("a"), service("b"), health=HealthOptions(concurrency=2))
    fail(world, "a", "b", outcome=HUNG, takes_s=5.0)
    await world.detect_all()
    async with anyio.create_task_group() as group:
        group.start_soon(world.probe, A)
        await wait_all_tasks_blocked()
        world.services.replace([service("b")], "2")
        await world.detect(A)
    assert world.events.probes == []
    async with anyio.create_task_group() as group:
        group.start_soon(world.probe, B)
        await anyio.sleep(2.5)  # it has the one slow slot now
        world.services.replace([service("a", uid="another", version="3"), service("b")], "3")
        await world.detect(A)
        heal(world, "a", "b")
        await world.probe(A)
    assert [key for key, _, _ in world.events.probes] == [A, B]


async def test_overrides_change_what_is_published_and_a_bad_one_leaves_what_was_valid() -> None:
    world = await Reconcilers(service("a"), service("b")).settled()
    world.server.patch(TARGET, {"overrides.yaml": "suppress: [monitoring/a]\n"})
    world.watch()
    assert await world.publish() == DONE
    assert [text for text in world.documents.values() if "http://a.monitoring" in text] == []
    assert world.events.last_words[A] == Rejected(Reason.SUPPRESSED, "overrides.yaml, line 1", "prometheus")
    world.server.patch(TARGET, {"overrides.yaml": "suppress: [\n"})
    world.watch()
    assert await world.publish() == DONE
    assert [text for text in world.documents.values() if "http://a.monitoring" in text] == []
    assert world.events.publication.error is not None
    assert world.documents["overrides.yaml"] == "suppress: [\n"


async def test_a_deleted_config_map_keeps_what_the_admin_hid_until_the_admin_decides() -> None:
    world = await Reconcilers(service("a"), service("b")).settled()
    world.server.patch(TARGET, {"overrides.yaml": HIDES_A})
    world.watch()
    await world.publish()
    world.server.delete(TARGET)
    for _ in range(3):
        world.watch()
        await world.publish()
        assert world.published() == {"b"}
        assert "was deleted with overrides.yaml" in world.events.publication.lost
    world.server.patch(TARGET, {"overrides.yaml": ""})
    world.watch()
    await world.publish()
    assert world.published() == {"a", "b"}
    assert world.events.publication.overrides_problem == ""
    current = world.server.get(TARGET)
    assert current is not None
    assert not [name for name in current.annotations if "overrides" in name]


async def test_a_config_map_that_others_make_again_without_overrides_keeps_what_the_admin_hid() -> None:
    world = await Reconcilers(service("a"), service("b")).settled()
    world.server.patch(TARGET, {"overrides.yaml": HIDES_A})
    world.watch()
    await world.publish()
    world.server.delete(TARGET)
    world.server.patch(TARGET, {"notes": "theirs"})
    world.watch()
    await world.publish()
    assert world.published() == {"b"}


async def test_overrides_that_the_admin_removes_end() -> None:
    world = await Reconcilers(service("a")).settled()
    for text, published in ((HIDES_A, set[str]()), (None, {"a"})):
        world.server.patch(TARGET, {"overrides.yaml": text})
        world.watch()
        await world.publish()
        assert world.published() == published
    assert world.events.publication.overrides_problem == ""


async def test_a_restart_after_the_config_map_was_deleted_keeps_what_the_admin_hid() -> None:
    world = await Reconcilers(service("a")).settled()
    world.server.patch(TARGET, {"overrides.yaml": HIDES_A})
    world.watch()
    await world.publish()
    world.server.delete(TARGET)
    world.watch()
    await world.publish()
    after = await Reconcilers(service("a"), server=world.server).settled()
    assert after.published() == set()
    assert after.events.publication.lost


async def test_nothing_is_written_before_the_overrides_of_the_admins_own_config_map_are_there() -> None:
    world = Reconcilers(service("a"), service("b"), options=SEPARATE)
    world.begin()
    await world.detect_all()
    await world.probe_all()
    for text in (None, "suppress: {"):
        if text:
            world.server.patch(OVERRIDES, {"overrides.yaml": text})
            world.watch()
        with pytest.raises(TerminalError, match=r"nothing is written, because `output.overrides_from` names"):
            await world.publish()
    assert world.applier.requests == []
    assert world.events.publication.withheld
    world.server.patch(OVERRIDES, {"overrides.yaml": HIDES_A})
    world.watch()
    assert await world.publish() == DONE
    assert world.published() == {"b"}
    assert world.events.publication.overrides_problem == ""


def remove_overrides(world: Reconcilers) -> None:
    world.server.delete(OVERRIDES)


def patch_overrides(world: Reconcilers, text: str | None) -> None:
    world.server.patch(OVERRIDES, {"overrides.yaml": text})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(remove_overrides, id="deleted"),
        pytest.param(partial(patch_overrides, text=None), id="its key removed"),
        pytest.param(partial(patch_overrides, text="{"), id="not valid"),
    ],
)
async def test_overrides_of_the_admins_own_config_map_stay_in_force_without_it(
    change: Callable[[Reconcilers], object],
) -> None:
    world = Reconcilers(service("a"), service("b"), options=SEPARATE)
    world.server.patch(OVERRIDES, {"overrides.yaml": HIDES_A})
    await world.settled()
    change(world)
    world.watch()
    await world.publish()
    assert world.published() == {"b"}
    assert world.events.publication.overrides_problem
    after = await Reconcilers(service("a"), service("b"), options=SEPARATE, server=world.server).settled()
    assert after.published() == {"b"}
    world.server.patch(OVERRIDES, {"overrides.yaml": ""})
    after.watch()
    await after.publish()
    assert after.published() == {"a", "b"}


async def test_a_deleted_output_loses_nothing_of_the_admins_own_config_map() -> None:
    world = Reconcilers(service("a"), service("b"), options=SEPARATE)
    world.server.patch(OVERRIDES, {"overrides.yaml": HIDES_A})
    await world.settled()
    before = world.documents
    world.server.delete(TARGET)
    world.watch()
    await world.publish()
    assert world.documents == before
    assert world.events.publication.overrides_problem == ""


async def test_of_two_places_with_overrides_the_admins_own_counts() -> None:
    world = Reconcilers(service("a"), service("b"), options=SEPARATE)
    world.server.patch(OVERRIDES, {"overrides.yaml": HIDES_A})
    world.server.patch(TARGET, {"overrides.yaml": "suppress: [monitoring/b]"})
    await world.settled()
    assert world.published() == {"b"}
    assert world.events.publication.overrides_problem.startswith(f"overrides.yaml in ConfigMap {TARGET} is ignored")
    assert world.documents["overrides.yaml"] == "suppress: [monitoring/b]"


async def test_a_key_of_somebody_else_is_never_claimed_and_never_removed() -> None:
    """A tenant's tool of a custom type must not destroy what an admin keeps under the key of that type."""
    world = Reconcilers(service("a"), service("b"))
    world.server.patch(TARGET, {PROMETHEUS: "admin's", "notes": "theirs"})
    world.watch()
    await world.settled()
    further = {"prometheus.monitoring.a-toolset.yaml", "prometheus.monitoring.b-toolset.yaml"}
    assert set(world.documents) == {KUBERNETES, PROMETHEUS, "notes", *further}
    assert world.documents[PROMETHEUS] == "admin's"
    assert set(world.events.publication.notes) == {A}
    world.server.patch(TARGET, {"overrides.yaml": "suppress: [monitoring/a, monitoring/b]"})
    world.watch()
    await world.publish()
    assert set(world.documents) == {KUBERNETES, PROMETHEUS, "notes", "overrides.yaml"}
    world.server.patch(TARGET, {PROMETHEUS: None, "overrides.yaml": None})
    world.watch()
    await world.publish()
    assert set(world.documents) == {KUBERNETES, PROMETHEUS, "notes", "prometheus.monitoring.b-toolset.yaml"}


async def test_another_installation_on_the_same_config_map_is_refused() -> None:
    ours = TargetOptions(output=OutputOptions(("kubernaut",), instance="one"))
    world = await Reconcilers(service("a"), options=ours).settled()
    theirs = TargetOptions(output=OutputOptions(("kubernaut",), instance="other"))
    other = Reconcilers(service("b"), options=theirs, server=world.server)
    other.begin()
    await other.detect_all()
    await other.probe_all()
    with pytest.raises(TerminalError, match="is kept by another installation of this service, 'one'"):
        await other.publish()
    assert other.applier.requests == []


async def test_a_process_without_a_name_that_reaches_no_backend_leaves_a_named_config_map_alone() -> None:
    """Somebody starts the service on a laptop, where no probe can succeed, against a cluster in which it runs."""
    named = TargetOptions(output=OutputOptions(("kubernaut",), instance="kubernaut-system/toolset"))
    inside = await Reconcilers(service("a"), options=named).settled()
    before = inside.server.get(TARGET)
    outside = Reconcilers(service("a"), server=inside.server)
    outside.prober.outcomes[A] = UNHEALTHY
    outside.begin()
    await outside.detect_all()
    await outside.probe_all()
    with pytest.raises(TerminalError, match=r"kept by .*'kubernaut-system/toolset', and this one is without a name"):
        await outside.publish()
    assert outside.applier.requests == []
    assert len(outside.events.refusals) == 1
    assert inside.server.get(TARGET) == before


async def an_hour_of(world: Reconcilers, overwrite: Callable[[], object]) -> int:
    """Return how many writes an opponent gets in an hour who answers each of them at once."""
    world.applier.requests.clear()
    overwrite()
    world.watch()
    ends = anyio.current_time() + 3600.0
    while anyio.current_time() < ends:
        written = len(world.applier.requests)
        try:
            result = await world.publish()
        except TerminalError:  # the queue waits for a change, or for the next periodic reconcile
            result = Result(requeue_after_s=30.0)
        if len(world.applier.requests) > written:
            overwrite()
            world.watch()
        await anyio.sleep(max(0.2, result.requeue_after_s or 0.0))
    return len(world.applier.requests)


async def test_a_manager_that_always_writes_a_key_back_gets_few_repairs_and_is_named() -> None:
    world = await Reconcilers(service("a")).settled()
    writes = await an_hour_of(world, lambda: world.server.patch(TARGET, {PROMETHEUS: "theirs"}, manager="gitops"))
    assert 10 < writes <= 60
    assert set(world.events.overwritten_by) == {("gitops/Update",)}


async def test_a_manager_that_always_removes_a_key_or_a_label_gets_few_repairs() -> None:
    world = await Reconcilers(service("a")).settled()
    assert await an_hour_of(world, lambda: world.server.patch(TARGET, {PROMETHEUS: None})) <= 60
    assert set(world.events.overwritten_by) == {("unknown",)}
    label = {"app.kubernetes.io/managed-by": "Helm"}
    assert await an_hour_of(world, lambda: world.server.patch(TARGET, labels=label)) <= 60


async def test_another_process_with_the_same_name_that_always_writes_back_gets_few_repairs() -> None:
    world = await Reconcilers(service("a")).settled()
    theirs = desired({PROMETHEUS: "theirs"}, 1, "kubernaut.io")

    def overwrite() -> None:
        world.server.apply(TARGET, manifest(TARGET, theirs, world.server.get(TARGET)))

    assert await an_hour_of(world, overwrite) <= 60
    assert "keeps overwriting" in world.events.refusals[0]


async def test_a_manager_that_takes_turns_over_all_keys_gets_few_repairs() -> None:
    names = [f"p{number:02}" for number in range(40)]
    world = await Reconcilers(*(service(name) for name in names)).settled()
    keys = itertools.cycle(sorted(key for key in world.documents if key != KUBERNETES))
    writes = await an_hour_of(world, lambda: world.server.patch(TARGET, {next(keys): "theirs"}, manager="gitops"))
    assert 20 < writes <= 60
    assert set(world.events.overwritten_by) == {("gitops/Update",)}


async def test_somebody_who_always_deletes_the_config_map_gets_it_back_seldom() -> None:
    world = await Reconcilers(service("a")).settled()
    writes = await an_hour_of(world, lambda: world.server.delete(TARGET))
    assert 10 < writes <= 60
    assert set(world.events.overwritten_by) == {("unknown",)}


async def test_somebody_who_always_changes_the_overrides_causes_few_writes() -> None:
    world = await Reconcilers(service("a")).settled()
    texts = itertools.cycle(["suppres: []", "aprove: []"])
    assert await an_hour_of(world, lambda: world.server.patch(TARGET, {"overrides.yaml": next(texts)})) <= 60
    assert world.events.paces
    assert world.events.paced_for == set()


async def test_a_new_tool_does_not_wait_for_a_fight_over_another() -> None:
    world = await Reconcilers(service("a")).settled()
    await an_hour_of(world, lambda: world.server.patch(TARGET, {PROMETHEUS: "theirs"}))
    world.services.replace([service("a"), service("b")], "2")
    await world.detect_all()
    await world.probe_all()
    assert await world.publish() == DONE
    assert world.published() == {"a", "b"}


async def test_a_repair_after_a_fight_waits_no_more() -> None:
    world = await Reconcilers(service("a")).settled()
    await an_hour_of(world, lambda: world.server.patch(TARGET, {PROMETHEUS: "theirs"}))
    await anyio.sleep(300.0)
    assert await world.publish() == DONE
    assert world.published() == {"a"}


async def test_who_made_an_edit_that_is_reverted_is_reported() -> None:
    world = await Reconcilers(service("a")).settled()
    world.server.patch(TARGET, {PROMETHEUS: "theirs"}, manager="kubectl-edit")
    world.watch()
    assert await world.publish() == DONE
    assert world.events.editors[-2:] == [(), ("kubectl-edit/Update",)]


async def test_a_process_that_stops_repairs_once_more() -> None:
    world = await Reconcilers(service("a")).settled()
    await an_hour_of(world, lambda: world.server.patch(TARGET, {PROMETHEUS: "theirs"}))
    world.wind_down()
    assert await world.publish() == DONE
    assert world.published() == {"a"}


async def test_two_instances_that_overwrite_each_other_stop() -> None:
    world = await Reconcilers(service("a")).settled()

    async def fight() -> None:
        for number in range(4):
            theirs = desired({PROMETHEUS: f"{number}"}, 1, "kubernaut.io")
            world.server.apply(TARGET, manifest(TARGET, theirs, world.server.get(TARGET)))
            world.watch()
            await world.publish()

    with pytest.raises(TerminalError, match="keeps overwriting"):
        await fight()
    world.applier.requests.clear()
    assert await world.publish() == DONE, "after that it checks again, and goes on where nobody else writes"


async def test_keys_of_an_earlier_system_go_where_the_settings_say_so() -> None:
    world = Reconcilers(service("a"), options=TargetOptions(output=OutputOptions(("kubernaut",), legacy_keys="remove")))
    world.server.patch(TARGET, {"toolset.json": "{}", "notes": "theirs"}, manager="manager")
    await world.settled()
    assert set(world.documents) == {KUBERNETES, PROMETHEUS, "notes"}


async def test_a_write_that_the_api_server_changes_is_checked_again_after_a_second() -> None:
    """The watch brings no newer version than the answer, so nothing else would notice."""
    world = await well("a")
    world.services.replace([service("a"), service("b")], "2")
    await world.detect_all()
    await world.probe_all()
    world.applier.answers = lambda _: world.server.patch(TARGET, {PROMETHEUS: "changed"}, manager="webhook")
    assert await world.publish() == Result(requeue_after_s=REWRITE_S)
    writes = len(world.events.writes)
    world.applier.answers = lambda written: written
    assert await world.publish() == DONE
    assert len(world.events.writes) == writes + 1
    assert await world.publish() == DONE
    assert len(world.events.writes) == writes + 1
    assert world.published() == {"a", "b"}


UNTRUSTED = DetectionOptions(BUILT_IN, trusted=(), untrusted="pending")


async def test_a_pending_service_is_not_probed_until_the_admin_approves_it_and_goes_when_that_is_taken_back() -> None:
    seen = service(annotations={"kubernaut.io/toolset": "enabled"})
    world = await Reconcilers(seen, detection=UNTRUSTED).settled()
    assert (world.prober.asked, world.published(), world.to_detect) == ([], set(), [])

    world.server.patch(TARGET, {"overrides.yaml": f"approve: [{seen.key}]"})
    world.watch()
    await world.publish()
    assert world.to_detect == [seen.key]
    await world.detect_all()
    await world.probe_all()
    await world.publish()
    assert world.published() == {"prometheus"}
    assert world.to_detect == [seen.key]

    world.server.patch(TARGET, {"overrides.yaml": "approve: []"})
    world.watch()
    await world.publish()
    assert world.to_detect == [seen.key] * 2
    await world.detect_all()
    await world.publish()
    assert world.published() == set()


async def test_a_flapping_service_is_written_ten_times_in_forty_seconds_and_twice_a_minute_after() -> None:
    world = await Reconcilers(service("a"), service("b", namespace="other")).settled()
    began_s, at_s = anyio.current_time(), list[float]()
    world.applier.before = lambda: at_s.append(anyio.current_time() - began_s)

    async def flap() -> None:
        for number in itertools.count():
            world.services.apply(service("a", port=9090 + number % 2, version=str(100 + number)))
            await world.detect(A)
            await world.probe(A)
            await anyio.sleep(0.5)

    async with world.working(), running(flap):
        await anyio.sleep(160)
        assert world.events.paced_for == {A}
        quick_s = anyio.current_time()
        world.services.apply(service("b", namespace="other", port=9091, version="5000"))
        await world.detect(Key("other", "b"))
        await world.probe(Key("other", "b"))
        while "b.other.svc.cluster.local:9091" not in "".join(world.documents.values()):  # noqa: ASYNC110
            await anyio.sleep(0.05)
        assert anyio.current_time() - quick_s < 1.0  # another namespace does not wait
    assert 3 <= sum(each <= 40 for each in at_s) <= 10
    later = [each for each in at_s if 40 < each < 160]
    assert max(sum(start <= each < start + 60 for each in later) for start in later) <= 2


async def test_a_last_write_does_not_wait_for_its_pace() -> None:
    world = await Reconcilers(service("a")).settled()
    result = DONE
    for number in range(8):
        world.services.apply(service("a", port=9000 + number, version=str(100 + number)))
        await world.detect(A)
        await world.probe(A)
        result = await world.publish()
        world.watch()
    assert result.requeue_after_s is not None
    assert "9007" not in "".join(world.documents.values())
    world.wind_down()
    assert await world.publish() == DONE
    assert "9007" in "".join(world.documents.values())


SECURE: Final = Outcome(alive=True, status=200, variant=Variant("https", 9090, ""), requests=2, how="https after http")


async def test_a_wrong_first_scheme_costs_one_more_request_once() -> None:
    world = Reconcilers(service("a"))
    world.prober.outcomes[A] = SECURE
    await world.settled()
    assert "https://a.monitoring" in world.documents[PROMETHEUS]
    assert len(world.prober.asked[0].fallbacks) == 3
    del world.prober.outcomes[A]
    for _ in range(3):
        await world.probe(A)
    assert [(asked.scheme, asked.alternatives, asked.fallbacks) for asked in world.prober.asked[1:]] == [
        ("https", (), ())
    ] * 3
    assert world.publications == 0


async def test_other_variants_are_requested_again_when_the_one_that_answered_is_about_to_be_lost() -> None:
    world = await Reconcilers(service("a")).settled()
    world.prober.outcomes[A] = UNHEALTHY
    await world.probe(A)
    await world.probe(A)
    assert [len(asked.fallbacks) for asked in world.prober.asked[1:]] == [0, 0]
    world.prober.outcomes[A] = SECURE
    await world.probe(A)
    assert len(world.prober.asked[-1].fallbacks) == 3
    await world.publish()
    assert "https://a.monitoring" in world.documents[PROMETHEUS]  # moved, and was never away
    assert len(world.events.writes) == 2


async def test_the_published_variant_is_requested_first_after_a_restart() -> None:
    world = Reconcilers(service("a"))
    world.begin(["https://a.monitoring.svc.cluster.local:9090"])
    await world.detect_all()
    world.prober.outcomes[A] = UNHEALTHY
    await world.probe(A)
    (asked,) = world.prober.asked
    assert (asked.scheme, asked.alternatives, asked.fallbacks) == ("https", (), ())
    await world.publish()
    assert "https://a.monitoring" in world.documents[PROMETHEUS]


async def test_a_tool_that_begins_to_ask_for_credentials_is_published_no_more() -> None:
    world = await Reconcilers(service("a")).settled()
    world.prober.outcomes[A] = Outcome(alive=True, status=401, unauthorized=True)
    for _ in range(DEFAULT_HEALTH.fall):
        assert world.publications == 0
        assert PROMETHEUS in world.documents
        await world.probe(A)
    assert world.publications == 1
    await world.publish()
    assert PROMETHEUS not in world.documents
    verdict = world.events.last_words[A]
    assert isinstance(verdict, Rejected)
    assert verdict.reason is Reason.AUTH_REQUIRED


async def test_backends_that_want_credentials_neither_hold_a_removal_nor_prevent_it() -> None:
    world = await Reconcilers(*(service(f"locked{number}") for number in range(9)), *map(service, "abc")).settled()
    locked = [key for key in world.events.last_words if key.name.startswith("locked")]
    for key in locked:
        world.prober.outcomes[key] = Outcome(alive=True, status=401, unauthorized=True)
        for _ in range(DEFAULT_HEALTH.fall):
            await world.probe(key)
    await world.publish()
    writes = len(world.events.writes)
    for key in (Key("monitoring", name) for name in "abc"):
        world.prober.outcomes[key] = UNHEALTHY
        for _ in range(3):
            await world.probe(key)
    await world.publish()
    assert [hold.known for hold in world.events.holds if hold.begins] == [3]
    assert len(world.events.writes) == writes
