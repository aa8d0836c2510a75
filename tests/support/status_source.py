"""A status that is what the test says."""

from collections.abc import Callable
from datetime import datetime, timezone

import msgspec

from toolset.core.status.agent_types import Known
from toolset.core.status.history import History
from toolset.core.status.snapshot import (
    Change,
    Installation,
    Problem,
    ServiceStatus,
    StatusSnapshot,
    Summary,
)
from toolset.model import Key

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
INSTALLATION = Installation(
    version="1.2.3", identity="pod-0_1", role="leader", target="kubernaut-system/kubernaut-toolset-config"
)
URL = "http://prometheus.monitoring.svc.cluster.local:9090"


def row(name: str = "prometheus", namespace: str = "monitoring", **others: object) -> ServiceStatus:
    """Return a Service, published unless ``others`` say otherwise."""
    made = ServiceStatus(
        namespace=namespace,
        name=name,
        verdict="Published",
        published=True,
        type="prometheus",
        since=NOW,
        sentence="it is published",
        url=URL,
    )
    return msgspec.structs.replace(made, **others)


def problem(word: str = "RemovalsHeld", **others: object) -> Problem:
    """Return a warning."""
    made = Problem(word=word, severity="warning", sentence="most tools stopped answering", remedy="check the network")
    return msgspec.structs.replace(made, **others)


class FakeSource:
    """Keeps the promise of ``http.api.StatusSource``.

    Attributes:
        history: Numbers the changes; feed it to let clients hear of something.
        services: What the snapshot holds.
        problems: What needs attention.
        documents: What is published.
        installation: Which process answers.
        built: How many snapshots were asked for.
    """

    settle_s = 0.01

    def __init__(self, *services: ServiceStatus) -> None:
        self.history = History(Key("kubernaut-system", "kubernaut-toolset-config"))
        self.services = services or (row(),)
        self.problems: tuple[Problem, ...] = ()
        self.documents = {"custom_toolset.yaml": "toolsets: {}\n"}
        self.installation = INSTALLATION
        self.built = 0

    @property
    def revision(self) -> int:
        return self.history.revision

    @property
    def number(self) -> int:
        return self.history.number

    @property
    def known(self) -> Known:
        return Known(frozenset({"prometheus", "grafana"}))

    def snapshot(self) -> StatusSnapshot:
        self.built += 1
        summary = Summary(
            at=NOW,
            revision=self.revision,
            installation=self.installation,
            problems=self.problems,
            changes=self.history.changes,
        )
        return StatusSnapshot(summary=summary, services=self.services, documents=self.documents)

    def service(self, key: Key) -> ServiceStatus | None:
        return next((each for each in self.services if each.key == key), None)

    def changes_after(self, number: int) -> tuple[Change, ...]:
        return self.history.changes_after(number)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        return self.history.subscribe(listener)
