"""SIGTERM: not ready at once, then what is pending is written, then nothing more, and exit code 0."""

import socket
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import cycle
from typing import Final

import httpx
import pytest

from integration.cluster import Cluster, Tool, boards, expected_urls
from integration.service import Service, Start
from support.waiting import eventually, settles

pytestmark = pytest.mark.integration

GRAFANAS: Final = boards("grafana below /a and /b", 3)


def published(cluster: Cluster, start: Start, **settings: str) -> Service:
    """Return a running service that has published the first tool."""
    cluster.create(GRAFANAS[0])
    service = start(cluster, GRAFANAS, **settings)
    settles(cluster.urls, expected_urls("grafana", GRAFANAS[:1]), within_s=10)
    return service


def test_sigterm_ends_readiness_first_then_the_work_then_the_process_within_the_budget(
    cluster: Cluster, start: Start
) -> None:
    service = published(cluster, start, SHUTDOWN__DELAY="1s", SHUTDOWN__TIMEOUT="5s")
    assert service.status("/readyz") == 200
    began = time.monotonic()

    service.terminate()
    eventually(lambda: service.status("/readyz") == 503, within_s=1)
    assert service.status("/livez") == 200
    cluster.create(GRAFANAS[1])  # it still works while endpoints propagate
    settles(cluster.urls, expected_urls("grafana", GRAFANAS[:2]), within_s=1)

    assert service.wait(within_s=10) == 0
    assert 1 <= time.monotonic() - began < 5
    assert [line["message"] for line in service.lines()][-1] == "stopped"


def test_after_the_workers_have_ended_nothing_is_written(cluster: Cluster, start: Start) -> None:
    service = published(cluster, start)

    service.terminate()
    created = 0
    while service.exit_code is None and created < 100:  # changes go on through the whole shutdown
        cluster.create(Tool("grafana", "team-b", f"late-{created}", 3000, "service"))
        created += 1

    assert service.wait(within_s=10) == 0
    stopped = datetime.fromisoformat(service.logged("stopped")[0]["time"])
    writes = [datetime.fromisoformat(event["requestReceivedTimestamp"]) for event in cluster.writes()]
    assert max(writes) <= stopped


def test_a_second_sigterm_ends_at_once(cluster: Cluster, start: Start) -> None:
    service = published(cluster, start, SHUTDOWN__DELAY="30s", SHUTDOWN__TIMEOUT="40s")

    service.terminate()
    eventually(lambda: service.logged("stopping"), within_s=2)
    service.terminate()

    assert service.wait(within_s=3) == 0
    assert service.logged("stopping at once: a second signal came")


@pytest.fixture
def hanging() -> Iterator[str]:
    """Give the address of a collector that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def traced_to(endpoint: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_TRACES_SAMPLER": "always_on"}


def test_a_collector_that_hangs_is_given_up_after_a_while_and_that_is_reported(
    cluster: Cluster, start: Start, hanging: str
) -> None:
    service = published(cluster, start, **traced_to(hanging))

    service.terminate()

    assert service.wait(within_s=8) == 0
    assert service.logged("traces dropped: the collector does not take them")


def test_a_second_sigterm_does_not_wait_for_a_collector_that_hangs(
    cluster: Cluster, start: Start, hanging: str
) -> None:
    service = published(cluster, start, SHUTDOWN__DELAY="30s", SHUTDOWN__TIMEOUT="40s", **traced_to(hanging))

    service.terminate()
    eventually(lambda: service.logged("stopping"), within_s=2)
    service.terminate()

    assert service.wait(within_s=3) == 0


def test_a_second_sigterm_that_comes_while_a_collector_hangs_ends_at_once(
    cluster: Cluster, start: Start, hanging: str
) -> None:
    service = published(cluster, start, **traced_to(hanging))

    service.terminate()
    eventually(lambda: service.logged("sending the last traces"), within_s=2)
    service.terminate()

    assert service.wait(within_s=3) == 0
    assert service.logged("stopping at once: a second signal came")


def test_a_new_service_still_in_the_debounce_when_sigterm_comes_is_published(cluster: Cluster, start: Start) -> None:
    service = published(cluster, start)
    cluster.create(GRAFANAS[1])

    keep_moving(cluster, GRAFANAS[1])
    service.terminate()

    assert service.wait(within_s=10) == 0
    urls = cluster.urls()
    assert urls.pop("grafana-toolset.yaml") == GRAFANAS[0].url
    assert urls.popitem()[1] in {f"{GRAFANAS[1].url}/a", f"{GRAFANAS[1].url}/b"}


def test_a_service_that_moved_just_before_sigterm_is_not_lost(cluster: Cluster, start: Start) -> None:
    service = published(cluster, start)

    keep_moving(cluster, GRAFANAS[0])
    service.terminate()

    assert service.wait(within_s=10) == 0
    assert cluster.urls()["grafana-toolset.yaml"] in {f"{GRAFANAS[0].url}/a", f"{GRAFANAS[0].url}/b"}


def keep_moving(cluster: Cluster, tool: Tool) -> None:
    """Change ``tool`` faster than the debounce is quiet (50 ms), for less time than it waits at most (0.5 s)."""
    ends = time.monotonic() + 0.2
    for path in cycle(("/a", "/b")):
        cluster.patch(tool.path, {"metadata": {"annotations": {"kubernaut.io/toolset-path": path}}})
        if time.monotonic() > ends:
            return


def test_sigterm_while_the_api_server_hides_still_ends_the_process(cluster: Cluster, start: Start) -> None:
    service = published(cluster, start, SHUTDOWN__TIMEOUT="3s")

    cluster.plane.kill_apiserver()
    try:
        with pytest.raises(httpx.TransportError):
            cluster.admin.get("/readyz")
        service.terminate()
        assert service.wait(within_s=6) == 0
    finally:
        cluster.plane.start_apiserver()
