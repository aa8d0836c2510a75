"""Real servers on real cluster IPs: what is trusted, what is dialled, and what never is."""

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final

import msgspec
import pytest
import trustme
from typing_extensions import override

from controlplane import Child
from integration import backends as products
from integration import netns
from integration.cluster import Cluster, Tool, urls_in
from integration.netns import Confined, Names, Netns
from support.lacking import lack
from support.waiting import eventually, settles

pytestmark = pytest.mark.integration

METADATA: Final = "169.254.169.254"
FAST: Final = {"HEALTH__INTERVAL": "300ms", "HEALTH__TIMEOUT": "2s"}
Run = Callable[..., Confined]


@pytest.fixture
def inside(cluster: Cluster) -> Iterator[Netns]:
    if reason := netns.missing():
        lack(reason)
    if absent := products.missing():
        lack(f"there is no {absent[0]} here: run hack/backends once")
    with netns.namespace(cluster.plane.url) as made:
        yield made


@pytest.fixture
def names(inside: Netns) -> Iterator[Names]:
    made = Names(inside)
    yield made
    made.close()


@pytest.fixture
def run(cluster: Cluster, inside: Netns, tmp_path: Path) -> Iterator[Run]:
    started: list[Confined] = []

    def begin(**settings: str) -> Confined:
        folder = tmp_path / f"service-{len(started)}"
        started.append(Confined(inside, cluster.kubeconfig(), folder, **{**FAST, **settings}))
        return started[-1]

    yield begin
    for service in started:
        service.stop()
        assert service.bugs() == []


class _Login(BaseHTTPRequestHandler):
    """Answers as an Elasticsearch that wants to know who asks."""

    def do_GET(self) -> None:
        body = b'{"error": {"reason": "missing authentication credentials"}, "status": 401}'
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="security"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@contextmanager
def server(inside: Netns, port: int, handler: type[BaseHTTPRequestHandler]) -> Generator[None]:
    """Serve inside the block."""
    made = ThreadingHTTPServer(("", 0), handler, bind_and_activate=False)
    made.socket.close()
    made.socket = inside.listener("0.0.0.0", port)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


@contextmanager
def daemon(inside: Netns, log: Path, *command: str) -> Generator[None]:
    """Run a real product inside the block."""
    child = Child(inside.command(*command), log)
    try:
        yield
    finally:
        child.end(SIGKILL)


def prometheus(inside: Netns, folder: Path, authority: trustme.CA, host: str) -> AbstractContextManager[None]:
    """Return a Prometheus behind TLS on 9443, with a certificate for ``host``."""
    folder.mkdir()
    authority.issue_cert(host).private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    tls = {"tls_server_config": {"cert_file": "server.pem", "key_file": "server.pem"}}
    (folder / "web.yaml").write_bytes(msgspec.yaml.encode(tls))
    return daemon(
        inside,
        folder / "log",
        products.binary("prometheus"),
        "--config.file=/dev/null",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.config.file={folder / 'web.yaml'}",
        "--web.listen-address=0.0.0.0:9443",
    )


# Debian's Alertmanager wants two files below /usr/share; a namespace has mounts of its own.
_WITH_TEMPLATES: Final = """
folder=/usr/share/prometheus/alertmanager
mount -t tmpfs none /usr/share && mkdir -p $folder && touch $folder/default.tmpl $folder/email.tmpl && exec "$0" "$@"
"""


def alertmanager(inside: Netns, folder: Path) -> AbstractContextManager[None]:
    """Return an Alertmanager on the port of a Prometheus."""
    folder.mkdir()
    (folder / "config.yaml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    return daemon(
        inside,
        folder / "log",
        *("sh", "-c", _WITH_TEMPLATES),
        products.binary("prometheus-alertmanager"),
        f"--config.file={folder / 'config.yaml'}",
        f"--storage.path={folder / 'data'}",
        "--web.listen-address=0.0.0.0:9090",
        "--cluster.listen-address=",
    )


def victoria_metrics(inside: Netns, folder: Path) -> AbstractContextManager[None]:
    folder.mkdir()
    return daemon(
        inside,
        folder / "log",
        products.binary("victoria-metrics"),
        f"-storageDataPath={folder / 'data'}",
        "-httpListenAddr=0.0.0.0:8428",
        "-memory.allowedBytes=64MB",
    )


SECURE: Final = Tool("", "monitoring", "prometheus-server", 9443, "https")
MISMATCH: Final = Tool("", "team-b", "am", 9090, "web")
VICTORIA: Final = Tool("", "monitoring", "vmsingle", 8428, "http")
LOGIN: Final = Tool("", "logging", "elasticsearch", 9200, "http", labels={"app": "elasticsearch"})


@pytest.fixture
def real_servers(inside: Netns, tmp_path: Path) -> Iterator[Path]:
    """Yield the bundle of the private authority; the servers run."""
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    with ExitStack() as stack:
        host = SECURE.authority.partition(":")[0]
        stack.enter_context(prometheus(inside, tmp_path / "prometheus", authority, host))
        stack.enter_context(alertmanager(inside, tmp_path / "alertmanager"))
        stack.enter_context(victoria_metrics(inside, tmp_path / "victoria-metrics"))
        stack.enter_context(server(inside, 9200, _Login))
        yield bundle


def published(cluster: Cluster) -> set[str]:
    return set(urls_in(cluster.data()).values())


def secure_url(tool: Tool) -> str:
    return tool.url.replace("http:", "https:")


def cluster_ip(cluster: Cluster, tool: Tool) -> str:
    found: str = cluster.admin.get(tool.path).raise_for_status().json()["spec"]["clusterIP"]
    return found


def last_words(service: Confined, tool: Tool) -> set[str]:
    """Return how probes of ``tool`` failed."""
    return {line["detail"] for line in service.logged("probe failed") if line["k8s.service.name"] == tool.name}


def test_real_servers_on_real_cluster_ips_are_distinguished(cluster: Cluster, run: Run, real_servers: Path) -> None:
    all_of_them = (SECURE, MISMATCH, VICTORIA, LOGIN)
    cluster.create(*all_of_them)
    detectors = {"prometheus": {"ca_file": str(real_servers)}}
    service = run(HEALTH__DETECTORS=msgspec.json.encode(detectors).decode())
    settles(lambda: published(cluster), {secure_url(SECURE), VICTORIA.url, LOGIN.url}, within_s=15)

    eventually(lambda: any("answered 404" in detail for detail in last_words(service, MISMATCH)), within_s=5)
    dialled = service.dialled() - {"127.0.0.1"}  # the API server's
    assert dialled == {cluster_ip(cluster, tool) for tool in all_of_them}

    trustme.CA().cert_pem.write_to_path(real_servers)  # another authority: the bundle is read again
    settles(lambda: published(cluster), {VICTORIA.url, LOGIN.url}, within_s=15)
    assert "TLS failed: the certificate is not trusted" in last_words(service, SECURE)


@pytest.mark.usefixtures("real_servers")
def test_without_its_authority_a_server_behind_tls_is_not_trusted(cluster: Cluster, run: Run) -> None:
    cluster.create(SECURE, VICTORIA)
    service = run()
    settles(lambda: published(cluster), {VICTORIA.url}, within_s=15)
    assert last_words(service, SECURE) == {"TLS failed: the certificate is not trusted"}


def remake(cluster: Cluster, tool: Tool, **spec: object) -> None:
    """Put ``tool`` there with more in its spec; what was there before goes."""
    cluster.create(tool)
    cluster.delete(tool)
    manifest: dict[str, Any] = tool.manifest()
    manifest["spec"] |= spec
    cluster.admin.post(tool.path.removesuffix(f"/{tool.name}"), json=manifest).raise_for_status()
    cluster._made.add(tool.path)


def test_a_cluster_ip_that_changes_is_followed_at_once(cluster: Cluster, run: Run, inside: Netns) -> None:
    remake(cluster, LOGIN, clusterIP="10.111.0.1")
    with server(inside, 9200, _Login):
        service = run(HEALTH__INTERVAL="60s")
        settles(lambda: published(cluster), {LOGIN.url}, within_s=10)
        assert service.dialled() - {"127.0.0.1"} == {"10.111.0.1"}

        cluster.delete(LOGIN)
        remake(cluster, LOGIN, clusterIP="10.111.0.2")
        eventually(lambda: "10.111.0.2" in service.dialled(), within_s=5)
        settles(lambda: published(cluster), {LOGIN.url}, within_s=5)


def test_a_name_that_begins_to_resolve_to_a_refused_address_is_dialled_there_never(
    cluster: Cluster, run: Run, inside: Netns, names: Names
) -> None:
    host = LOGIN.authority.partition(":")[0]
    names.addresses[host] = "10.111.0.3"
    remake(cluster, LOGIN, clusterIP="None")
    inside.run("ip", "address", "add", f"{METADATA}/32", "dev", "lo")
    with server(inside, 9200, _Login):  # it would answer at that address too
        service = run()
        settles(lambda: published(cluster), {LOGIN.url}, within_s=10)
        names.addresses[host] = METADATA
        settles(lambda: published(cluster), set[str](), within_s=15)

    assert "its address may not be dialled: metadata" in last_words(service, LOGIN)
    assert service.dialled() - {"127.0.0.1"} == {"10.111.0.3"}
    assert service.metric("toolset_probes_total", type="elasticsearch", outcome="address") >= 3


@pytest.mark.parametrize(
    ("address", "detail"),
    [
        pytest.param("127.0.0.1", "its address may not be dialled: loopback", id="loopback"),
        pytest.param("10.111.7.7", "its address may not be dialled: refused by the settings", id="a configured range"),
        pytest.param("", "connection refused or host not found", id="no such name"),
        pytest.param("10.111.0.4", "", id="an address like any other"),
    ],
)
def test_an_external_name_that_settings_allow_is_checked_like_any_other(
    cluster: Cluster, run: Run, inside: Netns, names: Names, address: str, detail: str
) -> None:
    names.addresses[LOGIN.authority.partition(":")[0]] = address
    remake(cluster, LOGIN, type="ExternalName", externalName="elsewhere.example.org", selector=None)
    with server(inside, 9200, _Login):
        service = run(HEALTH__ALLOW_EXTERNAL_NAME='["logging/*"]', HEALTH__REFUSED_RANGES="[10.111.7.0/24]")
        if detail:
            eventually(lambda: last_words(service, LOGIN) == {detail}, within_s=10)
            assert service.dialled() == {"127.0.0.1"}  # the API server's
        settles(lambda: published(cluster), set[str]() if detail else {LOGIN.url}, within_s=10)


def test_an_external_name_that_settings_do_not_allow_is_not_even_looked_up(
    cluster: Cluster, run: Run, names: Names
) -> None:
    remake(cluster, LOGIN, type="ExternalName", externalName="elsewhere.example.org", selector=None)
    service = run()
    eventually(lambda: service.metric("toolset_services", verdict="ExternalName") == 1, within_s=10)
    assert service.dialled() == {"127.0.0.1"}
    assert names.asked[LOGIN.authority.partition(":")[0]] == 0
