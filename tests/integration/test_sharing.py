"""One ConfigMap, many hands: people who edit it all the time, an earlier system, and more tools than fit."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
import pytest

from integration.cluster import CONFIG_MAPS, KUBERNETES_KEY, NAMESPACE, TARGET, Cluster, Tool, boards, expected_urls
from integration.service import Start
from support.waiting import settles

pytestmark = [pytest.mark.integration]

EDITS: Final = 100
EDITS_A_SECOND: Final = 20
HANDS: Final = 3
BOARDS: Final = boards("nothing", 100)


class Editors:
    """People who edit the ConfigMap with kubectl twenty times a second, while Services come and go."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._began = time.monotonic()
        self.foreign: dict[str, str] = {}
        self.present: list[Tool] = []

    def edit(self, hand: int) -> None:
        """Make every third edit: one hand edits keys of theirs, one the overrides, one keys of the service."""
        change = (self._note, self._override, self._tamper)[hand]
        for number in range(hand, EDITS, HANDS):
            threading.Event().wait(max(0.0, self._began + number / EDITS_A_SECOND - time.monotonic()))
            change(number)

    def churn(self) -> None:
        """Let a hundred Services come, and every third one go again."""
        for number, board in enumerate(BOARDS):
            self._cluster.create(board)
            if number % 3 == 0:
                self._cluster.delete(board)
            else:
                self.present.append(board)

    def _note(self, number: int) -> None:
        self._put(f"note-{number % 5}", f"note {number}")

    def _override(self, number: int) -> None:
        self._put("overrides.yaml", f"suppress: [team-b/nothing-{number}]\n")

    def _put(self, key: str, text: str) -> None:
        self.foreign[key] = text
        self._patch(key, text)

    def _tamper(self, number: int) -> None:
        self._patch(KUBERNETES_KEY, f"oops {number}" if number % 2 else None)

    def _patch(self, key: str, text: str | None) -> None:
        patch = msgspec.json.encode({"data": {key: text}}).decode()
        target = ("configmap", TARGET.rpartition("/")[2])
        self._cluster.plane.kubectl(f"--namespace={NAMESPACE}", "patch", *target, "--type=merge", f"--patch={patch}")


@pytest.mark.timeout(90)
def test_a_hundred_edits_while_a_hundred_services_come_and_go_lose_nothing(cluster: Cluster, start: Start) -> None:
    start(cluster, BOARDS, HEALTH__ENABLED="false")
    settles(lambda: KUBERNETES_KEY in cluster.data(), expected=True, within_s=10)
    before = len(cluster.writes())
    editors = Editors(cluster)
    with ThreadPoolExecutor(HANDS + 1) as pool:
        for done in [pool.submit(editors.churn), *(pool.submit(editors.edit, hand) for hand in range(HANDS))]:
            done.result()

    settles(cluster.urls, expected_urls("grafana", editors.present), within_s=5)
    data = cluster.data()
    assert {key: data.get(key) for key in editors.foreign} == editors.foreign
    assert idle_writes(cluster.writes()[before:]) == []


def idle_writes(writes: list[dict[str, Any]]) -> list[str]:
    """Return the audit ids of writes that wanted what the one before them had written, at the same version."""
    taken = [event for event in writes if event["responseStatus"]["code"] < 300]
    wanted = [msgspec.json.encode(event["requestObject"], order="sorted") for event in taken]
    return [event["auditID"] for event, this, last in zip(taken[1:], wanted[1:], wanted, strict=False) if this == last]


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        pytest.param({}, {"notes", "toolset.json"}, id="kept"),
        pytest.param({"OUTPUT__LEGACY_KEYS": "remove"}, {"notes"}, id="removed"),
    ],
)
def test_a_config_map_of_the_go_service_is_taken_over(
    cluster: Cluster, start: Start, settings: dict[str, str], left: set[str]
) -> None:
    name = {"name": TARGET.rpartition("/")[2]}
    legacy = {"metadata": name, "data": {"toolset.json": '{"tools": []}', "notes": "theirs"}}
    cluster.admin.post(CONFIG_MAPS, params={"fieldManager": "manager"}, json=legacy).raise_for_status()
    cluster.create(BOARDS[0])
    start(cluster, BOARDS[:1], HEALTH__ENABLED="false", OUTPUT__DIALECTS="[kubernaut]", **settings)
    settles(lambda: set(cluster.data()) - {KUBERNETES_KEY, "grafana-toolset.yaml"}, left, within_s=10)
    settles(cluster.urls, expected_urls("grafana", BOARDS[:1]), within_s=5)


@pytest.mark.alone
@pytest.mark.timeout(600)
def test_of_thousands_of_tools_as_many_are_published_as_fit_and_no_request_is_refused(
    large_cluster: Cluster, start: Start
) -> None:
    detector = {
        "product": "app",
        "type": "prometheus",
        "phrases": [f"app-{number:05}" for number in range(0, 10_000, 2)],
    }
    before = len(large_cluster.requests())
    service = start(
        large_cluster,
        (),
        HEALTH__ENABLED="false",
        DISCOVERY__DETECTORS=msgspec.json.encode([detector]).decode(),
        OUTPUT__MAX_PER_TYPE="0",
    )
    settles(lambda: len(service.logged("config map written")) > 0, expected=True, within_s=60)
    settles(lambda: service.metric("toolset_services", verdict="OverLimit") > 0, expected=True, within_s=30)
    published = service.metric("toolset_services", verdict="Published")
    assert published + service.metric("toolset_services", verdict="OverLimit") == 5000
    data = large_cluster.data()
    assert sum(len(key) + len(text) for key, text in data.items()) < 900 * 1024
    assert len([key for key in data if key.startswith("prometheus")]) == published
    made = large_cluster.requests()[before:]
    if not large_cluster.streams_lists:
        made = [event for event in made if "sendInitialEvents" not in event["requestURI"]]
    assert {event["objectRef"]["resource"] for event in made} >= {"services", "configmaps"}
    refused = [event["objectRef"]["resource"] for event in made if event["responseStatus"]["code"] >= 400]
    assert set(refused) <= {"leases"}  # there is none
    assert [event["responseStatus"]["code"] for event in large_cluster.writes()[-1:]] == [201]
