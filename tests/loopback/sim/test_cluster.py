"""The cluster and the backends over HTTP."""

from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from toolset.sim import Backends, EmbeddedCluster
from toolset.sim.tables import duration


@pytest.fixture
async def cluster() -> AsyncIterator[EmbeddedCluster]:
    async with EmbeddedCluster(bookmark_s=0.05) as running:
        yield running


@pytest.fixture
async def client(cluster: EmbeddedCluster) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=cluster.url, trust_env=False) as opened:
        yield opened


@pytest.fixture
async def backends() -> AsyncIterator[Backends]:
    async with Backends() as running:
        yield running


async def test_a_watch_reports_what_an_admin_does_and_that_it_lives(
    cluster: EmbeddedCluster, client: httpx.AsyncClient
) -> None:
    query = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": str(cluster.store.version)}
    with anyio.fail_after(5):
        async with client.stream("GET", "/api/v1/configmaps", params=query) as answer:
            lines = answer.aiter_lines()
            assert '"BOOKMARK"' in await anext(lines)
            cluster.create("ConfigMap", {"metadata": {"name": "x", "namespace": "default"}})
            while '"BOOKMARK"' in (line := await anext(lines)):
                pass
            assert '"ADDED"' in line


async def test_a_watch_ends_when_its_time_is_over(client: httpx.AsyncClient) -> None:
    with anyio.fail_after(5):
        answer = await client.get("/api/v1/namespaces", params={"watch": "1", "timeoutSeconds": "1"})
    assert answer.text.count('"ADDED"') == 4


REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def test_everything_is_allowed(client: httpx.AsyncClient) -> None:
    review = {"spec": {"resourceAttributes": {"verb": "create", "resource": "leases"}}}
    answer = await client.post(REVIEWS, json=review)
    assert (answer.status_code, answer.json()["status"]) == (201, {"allowed": True})


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/api/v1/pods", "", 404),
        ("PUT", "/api/v1/namespaces", "{}", 405),
        ("POST", "/api/v1/namespaces", "{", 400),
        ("POST", "/api/v1/namespaces", "[]", 400),
        ("POST", "/api/v1/namespaces", "{}", 400),
        ("POST", "/api/v1/namespaces", '{"metadata": "a"}', 400),
        ("POST", "/api/v1/namespaces/default/services", '{"metadata": {"name": "a"}, "spec": {"ports": [{}]}}', 400),
        ("GET", "/api/v1/services?labelSelector=a", "", 400),
        ("GET", "/api/v1/services?fieldSelector=spec.type=x", "", 400),
        ("GET", "/api/v1/services?limit=x", "", 400),
        ("GET", "/api/v1/services?watch=1&resourceVersion=x", "", 400),
    ],
)
async def test_what_is_not_understood_is_refused_with_a_status(
    client: httpx.AsyncClient, method: str, path: str, body: str, code: int
) -> None:
    answer = await client.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"], answer.json()["kind"]) == (code, code, "Status")


async def test_a_body_of_another_type_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/namespaces", content=b"k8s", headers={"Content-Type": "application/x"})
    assert answer.json()["reason"] == "UnsupportedMediaType"


async def test_an_admin_can_get_create_patch_and_delete(cluster: EmbeddedCluster) -> None:
    cluster.create("ConfigMap", {"metadata": {"name": "x", "namespace": "default"}, "data": {"a": "1"}})
    cluster.patch("ConfigMap", "default", "x", {"data": {"b": "2"}})
    content = cluster.get("ConfigMap", "default", "x")
    assert content is not None
    assert content["data"] == {"a": "1", "b": "2"}
    cluster.delete("ConfigMap", "default", "x")
    assert cluster.get("ConfigMap", "default", "x") is None


@pytest.mark.parametrize(
    ("product", "path", "identity"),
    [
        ("prometheus", "/-/healthy", "Prometheus"),
        ("grafana", "/api/health", '"database"'),
        ("jaeger", "/", "Jaeger UI"),
        ("elasticsearch", "/_cluster/health", '"cluster_name"'),
    ],
)
async def test_backends_answer_as_products_do(backends: Backends, product: str, path: str, identity: str) -> None:
    backends.put("a.svc:80", product)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # one of them
    answer = await ask(backends, "a.svc:80", path)
    assert answer.status_code == 200
    assert identity in answer.text
    assert backends.connect_to() == {"a.svc:80": backends.address}


async def test_backends_fail_redirect_and_heal_one_by_one(backends: Backends) -> None:
    for authority in ("a.svc:80", "b.svc:80"):
        backends.put(authority, "prometheus")
    backends.fail("a.svc:80")
    assert (await ask(backends, "a.svc:80", "/-/healthy")).status_code == 503
    assert (await ask(backends, "b.svc:80", "/-/healthy")).status_code == 200
    backends.redirect("a.svc:80", "/login")
    assert (await ask(backends, "a.svc:80", "/-/healthy")).headers["Location"] == "/login"
    backends.heal("a.svc:80")
    assert (await ask(backends, "a.svc:80", "/-/healthy")).status_code == 200
    assert (await ask(backends, "nobody:80", "/")).status_code == 404


async def test_a_backend_can_hang(backends: Backends) -> None:
    backends.put("a.svc:80", "prometheus")
    backends.hang("a.svc:80")
    with pytest.raises(httpx.ReadTimeout):
        await ask(backends, "a.svc:80", "/-/healthy", read_s=0.1)


async def ask(backends: Backends, authority: str, path: str, read_s: float = 5.0) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(5.0, read=read_s)) as client:
        return await client.get(f"http://{backends.address}{path}", headers={"Host": authority})


async def test_writes_of_another_kind_do_not_defer_the_bookmark_of_a_watch(
    cluster: EmbeddedCluster, client: httpx.AsyncClient
) -> None:
    query = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": str(cluster.store.version)}

    async def write() -> None:
        for number in range(1000):
            cluster.create("ConfigMap", {"metadata": {"name": f"x{number}", "namespace": "default"}})
            await anyio.sleep(0.01)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as writing:
            writing.start_soon(write)
            async with client.stream("GET", "/api/v1/services", params=query) as answer:
                lines = answer.aiter_lines()
                assert all(['"BOOKMARK"' in await anext(lines) for _ in range(3)])
            writing.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0s"), (119, "119s"), (120, "2m"), (599, "9m59s"), (600, "10m"), (10_799, "179m"), (10_800, "3h"),
        (28_740, "7h59m"), (28_800, "8h"), (172_799, "47h"), (172_800, "2d"), (176_400, "2d1h"), (691_199, "7d23h"),
        (691_200, "8d"), (63_071_999, "729d"), (63_072_000, "2y"), (63_158_400, "2y1d"), (252_288_000, "8y"),
        (300_000_000, "9y"),
    ],
)  # fmt: skip
def test_ages_are_printed_as_kubectl_prints_them(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
