"""What may happen to a connection with the API server happens: nothing wrong is written, and all comes right again."""

import base64
import itertools
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import pytest
import yaml

from controlplane import ControlPlane
from integration import faults
from integration.backends import Backends
from integration.cluster import NAMESPACE, SERVICE_ACCOUNT, AuditTail, Cluster, Tool, expected_urls
from integration.demands import applied, losses, omissions, urls_of
from integration.faults import FaultProxy, Reply, busiest
from integration.service import Service, Start
from support.waiting import eventually, settles
from toolset.service.informers import NAMESPACES_PATIENCE

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

SETTINGS: Final = {"HEALTH__INTERVAL": "300ms", "OUTPUT__DIALECTS": "[kubernaut]"}
"""The delays between retries are those that are shipped."""
HELD_S: Final = 2.5
LONGEST_RETRY_S: Final = 6.4
"""The third delay, which is the last to begin within HELD_S: 0.8 s, twice doubled, and as much again by jitter."""
PATIENT_RETRY_S: Final = 2 * 1.6 * NAMESPACES_PATIENCE
"""The second delay of the Namespaces, which are asked for with more patience: 0.8 s, doubled, and as much by jitter."""
RIGHT_WITHIN_S: Final = 10.0 + LONGEST_RETRY_S
START_UP_S: Final = 2.0
REQUESTS_A_SECOND: Final = 10
FOLLOWED: Final = 3
"""Services, the ConfigMap and Namespaces: a watch of each."""


def grafana(name: str, priority: int) -> Tool:
    annotations = {"toolset-priority": str(priority)}
    product = "grafana below /a and /b"
    return Tool(product, "team-a", name, 3000, "service", labels={"app": "grafana"}, annotations=annotations)


STEADY: Final = (grafana("steady-0", 9), grafana("steady-1", 8))
LEAVING: Final = grafana("leaving", 7)
MORTAL: Final = grafana("mortal", 6)
COMING: Final = grafana("coming", 5)
LATE: Final = grafana("late", 4)
EVERY: Final = (*STEADY, LEAVING, MORTAL, COMING, LATE)
BEFORE: Final = (*STEADY, LEAVING, MORTAL)
AFTER: Final = (*STEADY, COMING)


class Scene:
    """A service behind a proxy, that has published BEFORE."""

    def __init__(self, cluster: Cluster, proxy: FaultProxy, service: Service, backends: Backends) -> None:
        self.cluster = cluster
        self.proxy = proxy
        self.service = service
        self._backends = backends
        self._audit = AuditTail(cluster.plane, "kubernaut-toolset-config")
        self._began = time.monotonic()

    def change(self) -> None:
        """Let one Service come and another go, and one backend die: the last leads to a write without any event."""
        self.cluster.create(COMING)
        self.cluster.delete(LEAVING)
        self._backends.answers.fail(MORTAL.authority)

    def hold(self, for_s: float = HELD_S) -> None:
        """Let the fault last; a process that is well says so all the time."""
        ends = time.monotonic() + for_s
        while time.monotonic() < ends:
            assert self.service.status("/livez") == 200
            assert self.service.status("/readyz") == 200
            threading.Event().wait(0.05)

    def suffer(self) -> None:
        """Change the cluster, let the fault last and heal it; all is right then."""
        self.change()
        self.hold()
        self.proxy.heal()
        self.comes_right()

    def comes_right(self, *late: Tool) -> None:
        """Wait for what is demanded after :meth:`change`, and judge all that happened until then."""
        settles(self.cluster.urls, expected_urls("grafana", (*AFTER, *late)), RIGHT_WITHIN_S)
        assert self.service.status("/readyz") == 200
        written = self._audit.read()
        published = {tool.url for tool in STEADY}
        assert all(published <= urls_of(data) for event in written if (data := applied(event)) is not None)
        assert (omissions(written, published), losses(written, published)) == ([], [])
        assert busiest(self.proxy.attempts(self._began)) <= REQUESTS_A_SECOND

    def asked(self, kind: faults.Kind) -> int:
        """Return how many requests of a kind there were."""
        return sum(seen.kind == kind for seen in self.proxy.requests)

    def read_since(self, began: float) -> list[float]:
        """Return when lists and watches were asked for after ``began``."""
        return [seen.at for seen in self.proxy.requests if seen.at > began and seen.kind != "write"]

    def relisted(self) -> list[str]:
        """Return why lists were fetched again."""
        return [line["reason"] for line in self.service.logged("list stored") if line["reason"] != "start"]


@pytest.fixture
def scene(cluster: Cluster, proxy: FaultProxy, start: Start, backends: Backends) -> Scene:
    cluster.create(*BEFORE)
    service = start(cluster, EVERY, KUBE__KUBECONFIG=proxy.kubeconfig(cluster.kubeconfig()), **SETTINGS)
    settles(cluster.urls, expected_urls("grafana", BEFORE), within_s=10)
    return Scene(cluster, proxy, service, backends)


# --- The proxy itself


def test_the_proxy_leaves_no_thread_and_no_socket(control_plane: ControlPlane, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with FaultProxy(control_plane, tmp_path) as proxy:
        direct = str(control_plane.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT))
        assert proxy.url in Path(proxy.kubeconfig(direct)).read_text(encoding="utf-8")
        context = ssl.create_default_context(cafile=proxy.ca_file)
        with httpx.Client(base_url=proxy.url, verify=context, trust_env=False) as client:
            assert client.get("/livez").status_code == 200
            proxy.freeze()

    assert set(threading.enumerate()) == before
    with pytest.raises(httpx.ConnectError):
        httpx.get(proxy.url, verify=context, trust_env=False)


def watch(client: httpx.Client, over: threading.Event) -> None:
    while not over.is_set():
        with suppress(httpx.HTTPError), client.stream("GET", "/api/v1/services?watch=true") as events:
            for _ in events.iter_lines():
                pass


def edit(cluster: Cluster, over: threading.Event) -> None:
    for value in itertools.cycle("ab"):
        if over.is_set():
            return
        cluster.patch(STEADY[0].path, {"metadata": {"annotations": {"edited": value}}})


def test_watches_that_are_ended_while_events_come_end_nothing_else(cluster: Cluster, proxy: FaultProxy) -> None:
    cluster.create(*STEADY)
    config = yaml.safe_load(Path(proxy.kubeconfig(cluster.kubeconfig())).read_text(encoding="utf-8"))
    bearer = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
    context = ssl.create_default_context(cafile=proxy.ca_file)
    over = threading.Event()
    with (
        httpx.Client(base_url=proxy.url, verify=context, trust_env=False, headers=bearer) as client,
        ThreadPoolExecutor(max_workers=6) as threads,
    ):
        for each in (partial(watch, client), partial(edit, cluster)) * 3:
            threads.submit(each, over)
        try:
            for _ in range(100):
                proxy.fail_watches(faults.GONE)
                over.wait(0.01)
            assert client.get("/livez").status_code == 200
        finally:
            over.set()
            proxy.refuse()


# --- Connections


@pytest.mark.parametrize("reset", [pytest.param(True, id="with-rst"), pytest.param(False, id="with-fin")])
def test_connections_that_are_cut_repeatedly_cost_nothing(scene: Scene, reset: bool) -> None:
    before = scene.asked("watch")
    scene.change()
    for _ in range(10):
        scene.proxy.cut(reset=reset)
        scene.hold(0.15)
    scene.comes_right()
    assert scene.asked("watch") > before


def test_frozen_connections_that_flow_again_deliver_what_they_held(scene: Scene) -> None:
    scene.proxy.freeze()
    scene.suffer()

    assert scene.relisted() == []


def test_frozen_connections_that_are_closed_at_last_are_opened_again(scene: Scene) -> None:
    scene.proxy.freeze()
    scene.change()
    scene.hold()

    scene.proxy.cut(reset=True)
    scene.proxy.heal()

    scene.comes_right()


def test_with_frozen_watches_a_dead_backend_still_goes(scene: Scene) -> None:
    scene.proxy.freeze("watch")
    scene.change()
    settles(scene.cluster.urls, expected_urls("grafana", (*STEADY, LEAVING)), RIGHT_WITHIN_S)

    scene.proxy.heal()

    scene.comes_right()


def test_late_answers_are_only_late(scene: Scene) -> None:
    scene.proxy.delay(0.7)
    scene.suffer()

    assert scene.relisted() == []


def test_refused_connections_are_tried_again_with_patience(scene: Scene) -> None:
    scene.proxy.refuse()
    scene.suffer()

    failures = [*scene.service.logged("list or watch failed"), *scene.service.logged("reconcile failed")]
    times = [datetime.fromisoformat(line["time"]).timestamp() for line in failures]
    assert len(times) >= 4
    assert busiest(times) <= REQUESTS_A_SECOND


# --- Answers


@pytest.mark.parametrize("cleanly", [pytest.param(False, id="broken"), pytest.param(True, id="ended")])
def test_a_watch_that_ends_in_the_middle_of_a_line_is_resumed_without_loss(scene: Scene, cleanly: bool) -> None:
    before = scene.asked("watch")
    scene.proxy.tear("watch", cleanly=cleanly)
    scene.suffer()

    assert scene.asked("watch") > before


def test_a_write_whose_answer_is_lost_is_made_once_more_or_found_made(scene: Scene) -> None:
    scene.proxy.tear("write")
    scene.suffer()

    assert scene.service.logged("reconcile failed")


def test_half_an_answer_to_everything_is_taken_for_nothing(scene: Scene) -> None:
    scene.proxy.cut(reset=True)
    scene.proxy.tear()
    scene.suffer()


def test_expired_versions_lead_to_a_new_list(scene: Scene) -> None:
    scene.proxy.answer(faults.GONE, "watch")
    scene.proxy.cut(reset=False)
    scene.suffer()

    assert "expired" in scene.relisted()


@pytest.mark.parametrize(
    ("reply", "reason"),
    [pytest.param(faults.GONE, "expired", id="410"), pytest.param(faults.BROKEN, "out of sync", id="500")],
)
def test_an_error_in_the_middle_of_a_watch_leads_to_a_new_list(scene: Scene, reply: Reply, reason: str) -> None:
    scene.proxy.freeze("watch")
    scene.change()
    scene.proxy.fail_watches(reply)
    scene.hold(0.5)
    scene.proxy.heal()

    scene.comes_right()
    assert set(scene.relisted()) == {reason}


def test_being_throttled_in_the_middle_of_a_watch_leads_to_no_new_list(scene: Scene) -> None:
    scene.proxy.freeze("watch")
    scene.change()
    scene.proxy.fail_watches(faults.THROTTLED)
    scene.hold(0.5)
    scene.proxy.heal()

    scene.comes_right()
    assert scene.relisted() == []


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(faults.GONE, id="410"),
        pytest.param(faults.THROTTLED, id="429"),
        pytest.param(faults.BROKEN, id="500"),
        pytest.param(faults.UNAVAILABLE, id="503"),
        pytest.param(faults.PAGE, id="html-page"),
    ],
)
def test_an_error_in_answer_to_everything_is_tried_again_with_patience(scene: Scene, reply: Reply) -> None:
    scene.proxy.answer(reply)
    scene.proxy.cut(reset=False)
    scene.suffer()


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(faults.THROTTLED, id="429"),
        pytest.param(faults.BROKEN, id="500"),
        pytest.param(faults.UNAVAILABLE, id="503"),
        pytest.param(faults.PAGE, id="html-page"),
    ],
)
def test_an_error_in_answer_to_writes_is_tried_again_with_patience(scene: Scene, reply: Reply) -> None:
    scene.proxy.answer(reply, "write")
    scene.suffer()

    assert scene.relisted() == []


def test_a_watch_that_is_throttled_waits_as_long_as_it_is_asked_to(scene: Scene) -> None:
    reported = faults.status(429, "TooManyRequests", retry_after_s=3)
    scene.proxy.answer(reported, "watch", "list")
    scene.proxy.cut("watch", reset=False)
    began = time.monotonic()
    eventually(lambda: len(scene.read_since(began)) >= FOLLOWED, within_s=10)
    scene.proxy.heal()

    eventually(lambda: len(scene.read_since(began)) >= 2 * FOLLOWED, within_s=PATIENT_RETRY_S + 2.0)
    asked = scene.read_since(began)
    first, last, later = asked[0], asked[FOLLOWED - 1], asked[FOLLOWED:]
    assert min(later) - first >= 3
    assert len([at for at in later if at - last < 3]) < FOLLOWED
    scene.change()
    scene.comes_right()


# --- A start in the middle of a fault


@pytest.fixture(params=["refused", "frozen", "torn", "429", "500", "html-page"])
def sick_proxy(request: pytest.FixtureRequest, proxy: FaultProxy) -> FaultProxy:
    replies = {
        "429": faults.THROTTLED,
        "500": faults.BROKEN,
        "html-page": faults.PAGE,
    }
    fault: str = request.param
    if fault in replies:
        proxy.answer(replies[fault])
    else:
        {"refused": proxy.refuse, "frozen": proxy.freeze, "torn": proxy.tear}[fault]()
    return proxy


def test_a_service_that_starts_in_the_middle_of_a_fault_is_alive_and_not_ready_until_it_ends(
    cluster: Cluster, sick_proxy: FaultProxy, start: Start
) -> None:
    cluster.create(*STEADY)
    audit = AuditTail(cluster.plane, "kubernaut-toolset-config")
    service = start(cluster, EVERY, KUBE__KUBECONFIG=sick_proxy.kubeconfig(cluster.kubeconfig()), **SETTINGS)
    calm_from = time.monotonic() + START_UP_S
    ends = time.monotonic() + START_UP_S + HELD_S
    while time.monotonic() < ends:
        assert (service.status("/livez"), service.status("/readyz")) == (200, 503)
        threading.Event().wait(0.1)

    sick_proxy.heal()

    eventually(lambda: service.status("/readyz") == 200, RIGHT_WITHIN_S)
    settles(cluster.urls, expected_urls("grafana", STEADY), RIGHT_WITHIN_S)
    refused_once = 0 if cluster.streams_lists else 3  # each reflector asks for a streamed list first
    assert busiest(sick_proxy.attempts(calm_from)) <= REQUESTS_A_SECOND + refused_once
    published = {tool.url for tool in STEADY}
    assert [urls_of(data) for event in audit.read() if (data := applied(event)) is not None] == [published]


# --- An end in the middle of a fault


@pytest.mark.alone
@pytest.mark.parametrize("fault", [FaultProxy.refuse, FaultProxy.freeze, FaultProxy.tear])
def test_sigterm_in_the_middle_of_a_fault_still_ends_the_process_in_time(
    cluster: Cluster, proxy: FaultProxy, start: Start, backends: Backends, fault: Callable[[FaultProxy], None]
) -> None:
    cluster.create(STEADY[0])
    access = proxy.kubeconfig(cluster.kubeconfig())
    service = start(cluster, EVERY, KUBE__KUBECONFIG=access, SHUTDOWN__TIMEOUT="3s", **SETTINGS)
    settles(cluster.urls, expected_urls("grafana", STEADY[:1]), within_s=10)
    cluster.create(STEADY[1])
    settles(cluster.urls, expected_urls("grafana", STEADY), within_s=10)
    fault(proxy)
    cluster.edit(**{"grafana-toolset.yaml": None})
    backends.answers.fail(STEADY[1].authority)  # so that a write is due, whether or not an event comes through
    eventually(lambda: service.logged("probe failed"), within_s=5)
    threading.Event().wait(1.0)

    service.terminate()

    assert service.wait(within_s=5) == 0


# --- The API server and etcd themselves


def test_an_api_server_that_restarts_is_followed_again(scene: Scene) -> None:
    scene.change()
    scene.cluster.plane.kill_apiserver()
    try:
        scene.hold()
    finally:
        scene.cluster.plane.start_apiserver()

    scene.comes_right()


def test_an_etcd_that_restarts_is_hardly_noticed(scene: Scene) -> None:
    scene.cluster.plane.kill_etcd()
    try:
        scene.hold()
    finally:
        scene.cluster.plane.start_etcd()

    eventually(lambda: scene.cluster.admin.get("/readyz").status_code == 200, RIGHT_WITHIN_S)
    scene.change()
    scene.comes_right()


def test_a_version_that_was_compacted_away_while_nobody_watched_leads_to_a_new_list(scene: Scene) -> None:
    """The API server that returns knows nothing older than its start, and neither does etcd."""
    scene.proxy.refuse()
    scene.change()
    scene.cluster.create(LATE)
    compact(scene.cluster.plane)
    scene.cluster.plane.kill_apiserver()
    scene.cluster.plane.start_apiserver()
    scene.hold(0.3)
    scene.proxy.heal()

    scene.comes_right(LATE)
    assert "expired" in scene.relisted()


def compact(plane: ControlPlane) -> None:
    """Let etcd forget every version but the last, over its HTTP gateway."""
    with httpx.Client(base_url=plane.etcd_url, trust_env=False) as etcd:
        key = base64.b64encode(b"none").decode()
        now = etcd.post("/v3/kv/range", json={"key": key}).raise_for_status().json()["header"]["revision"]
        etcd.post("/v3/kv/compaction", json={"revision": now, "physical": True}).raise_for_status()
