"""Real servers of which nothing on the Service shows the scheme or the path: found, published, and asked by HolmesGPT.

Each is detected, probed over real connections and published, as the service does it; the real HolmesGPT then runs a
query through what was published. Answers of Thanos are recorded: the HTTP server that all its components share (its
pkg/server/http) has ``/metrics``, ``/-/healthy`` and ``/-/ready``; only the querier and the query frontend add
Prometheus' API.
"""

import ssl
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from signal import SIGKILL
from threading import Thread
from typing import Final, Self

import httpx
import msgspec
import pytest
import trustme
from typing_extensions import override

import controlplane
from consumer.holmes import Call, Holmes
from controlplane import Child
from integration import backends as products
from support.build import service
from support.lacking import lack
from toolset.adapters.probe import HttpProber, ProberOptions
from toolset.core.candidate import Candidate, Reason, Rejected
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.core.dialects.holmesgpt import DOCUMENT_KEY
from toolset.core.health.http_config import HttpConfig
from toolset.core.inventory import Inventory
from toolset.core.publishing.access import prepared
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.publication import publish

pytestmark = [pytest.mark.consumer, pytest.mark.timeout(120)]

LOOPBACK: Final = "127.0.0.1"
HOST: Final = "prometheus.monitoring.svc.cluster.local"
SERVICE: Final = service(app="prometheus")
VECTOR: Final = '{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1764435600,"42"]}]}}'
QUERY: Final[Call] = (
    "prometheus/metrics",
    "execute_prometheus_instant_query",
    {"query": "vector(42)", "description": ""},
)
AGENT: Final = "--enable-feature=agent"  # `--agent` since Prometheus 3; Debian has 2
PAGE: Final = "<!doctype html><title>Prometheus: Sign in</title><form></form>"


class Prometheus:
    """A real Prometheus on a loopback port; use it as a context manager."""

    def __init__(self, folder: Path, *flags: str, base: str = "", tls: Path | None = None) -> None:
        folder.mkdir()
        port = controlplane.free_ports()
        self.address = f"{LOOPBACK}:{port}"
        self._url = f"{'https' if tls else 'http'}://{self.address}"
        self._base, self._log = base, folder / "log"
        self._command = [products.binary("prometheus"), f"--web.listen-address={self.address}", *flags]
        storage = "agent" if AGENT in flags else "tsdb"
        self._command += [f"--storage.{storage}.path={folder / 'data'}"]
        (folder / "prometheus.yaml").write_text("global: {}\n")
        self._command += [f"--config.file={folder / 'prometheus.yaml'}"]
        if tls:
            web = {"tls_server_config": {"cert_file": str(tls), "key_file": str(tls)}}
            (folder / "web.yaml").write_bytes(msgspec.yaml.encode(web))
            self._command += [f"--web.config.file={folder / 'web.yaml'}"]

    def __enter__(self) -> Self:
        self._child = Child(self._command, self._log)
        with httpx.Client(base_url=self._url, trust_env=False, verify=_unverified()) as client:
            self._child.wait_for(client, f"{self._base}/-/ready")
        return self

    def __exit__(self, *_: object) -> None:
        self._child.end(SIGKILL)


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class _Recorded(BaseHTTPRequestHandler):
    """Answers by path; ``*`` stands for all the others."""

    def __init__(self, answers: Mapping[str, tuple[int, str]], *arguments: object) -> None:
        self._answers = answers
        super().__init__(*arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # the server's own

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._respond()

    def _respond(self) -> None:
        path = self.path.partition("?")[0]
        status, text = self._answers.get(path, self._answers.get("*", (404, "404 page not found\n")))
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if text.startswith("{") else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@contextmanager
def recorded(answers: Mapping[str, tuple[int, str]]) -> Generator[str]:
    server = ThreadingHTTPServer((LOOPBACK, 0), partial(_Recorded, answers))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"{LOOPBACK}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The address of each server, and the file with who signed their certificates."""
    if absent := products.missing():
        lack(f"there is no {absent[0]} here: run hack/backends once")
    folder, authority = tmp_path_factory.mktemp("variants"), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    with ExitStack() as stack:
        real = {
            "plain": Prometheus(folder / "plain"),
            "tls": Prometheus(folder / "tls", tls=folder / "server.pem"),
            "below": Prometheus(folder / "below", "--web.route-prefix=/prometheus", base="/prometheus"),
            "tls below": Prometheus(
                folder / "tls-below", "--web.route-prefix=/prometheus", base="/prometheus", tls=folder / "server.pem"
            ),
            "elsewhere": Prometheus(folder / "elsewhere", "--web.route-prefix=/metrics/ui", base="/metrics/ui"),
            "agent": Prometheus(folder / "agent", AGENT),
        }
        found = {name: stack.enter_context(each).address for name, each in real.items()}
        thanos = {
            "thanos sidecar": {"/-/healthy": (200, "ok"), "/metrics": (200, "")},
            "thanos query": {"/-/healthy": (200, "OK"), "/api/v1/query": (200, VECTOR)},
            "login page": {"*": (200, PAGE)},
            "says success": {"*": (200, '{"status":"success"}')},
        }
        found |= {name: stack.enter_context(recorded(answers)) for name, answers in thanos.items()}
        yield found | {"ca": str(folder / "ca.pem")}


async def discovered(address: str, ca_file: str) -> tuple[Inventory, Candidate]:
    """Detect and probe the Service when it leads to ``address``."""
    candidate = detect(SERVICE, DetectionOptions(BUILT_IN))
    assert isinstance(candidate, Candidate)
    config = HttpConfig(ca_file=ca_file)
    moved = {f"{candidate.host}:{candidate.port}": address}
    prober = HttpProber(ProberOptions(5.0, connect_to=moved, http_configs={"prometheus": config}))
    inventory = Inventory()
    inventory.detected(candidate.key, candidate)
    inventory.probed(candidate, await prober.probe(candidate))
    return inventory, candidate


@pytest.mark.parametrize(
    ("name", "url", "how"),
    [
        ("plain", f"http://{HOST}:9090", ""),
        ("tls", f"https://{HOST}:9090", "https after http answered 400"),
        ("below", f"http://{HOST}:9090/prometheus", "/prometheus after / answered 404"),
        (
            "tls below",
            f"https://{HOST}:9090/prometheus",
            "https /prometheus after http / answered 400 and https / answered 404",
        ),
        ("thanos query", f"http://{HOST}:9090", ""),
    ],
)
async def test_what_answers_queries_is_published_where_it_does_and_asked_there(
    servers: dict[str, str], holmes: Holmes, name: str, url: str, how: str
) -> None:
    inventory, candidate = await discovered(servers[name], servers["ca"])
    assert [tool.url for tool in inventory.tools()] == [url], inventory.verdicts()
    assert inventory.health(candidate.key).how == how

    unverified = {"prometheus": HttpConfig(insecure_skip_verify=True, publish_verify=False)}
    found = publish(prepared(inventory.tools(), unverified), OutputOptions(dialects=("holmesgpt",)))
    connect_to = {f"{HOST}:9090": servers[name]}
    loaded = holmes.load(found.data[DOCUMENT_KEY], connect_to=connect_to, calls=[QUERY])
    assert loaded.error is None
    toolset = loaded.toolset("prometheus/metrics")
    assert toolset.status == "enabled", toolset.error
    assert [answer.status for answer in loaded.calls] == ["success"], loaded.calls


@pytest.mark.parametrize(
    ("name", "reason", "detail"),
    [
        ("agent", Reason.UNHEALTHY, "answered 422"),
        (
            "elsewhere",
            Reason.UNHEALTHY,
            "/: answered 404; /prometheus: answered 404; annotate it with kubernaut.io/toolset-path to decide",
        ),
        (
            "thanos sidecar",
            Reason.UNHEALTHY,
            "/: answered 404; /prometheus: answered 404; annotate it with kubernaut.io/toolset-path to decide",
        ),
        ("login page", Reason.IDENTITY_MISMATCH, "the answer does not identify prometheus"),
        ("says success", Reason.IDENTITY_MISMATCH, "the answer does not identify prometheus"),
    ],
)
async def test_what_answers_no_query_is_not_published_and_says_why(
    servers: dict[str, str], name: str, reason: Reason, detail: str
) -> None:
    inventory, candidate = await discovered(servers[name], servers["ca"])
    verdict = inventory.verdicts()[candidate.key]
    assert isinstance(verdict, Rejected)
    assert verdict.reason is reason
    assert detail in verdict.detail


async def test_a_certificate_that_is_not_trusted_says_who_would_have_to_trust_it(servers: dict[str, str]) -> None:
    candidate = detect(SERVICE, DetectionOptions(BUILT_IN))
    assert isinstance(candidate, Candidate)
    prober = HttpProber(ProberOptions(5.0, connect_to={f"{HOST}:9090": servers["tls"]}))
    outcome = await prober.probe(candidate)
    assert outcome.detail == (
        "http: answered 400; https: TLS failed: the certificate is not trusted; "
        "setting health.detectors.prometheus.ca_file names who signs its certificate"
    )
