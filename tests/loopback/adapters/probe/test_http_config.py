"""TLS, headers and statuses that settings give a detector, and the way through the API server's proxy."""

import ssl
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
import trustme
from typing_extensions import override

from support.api_server import Answer, FixedCredentials, ScriptedApiServer, status_error
from support.hanging import hanging
from support.old_certificates import OldAuthority
from support.tls import server_tls, tls_with
from toolset.adapters.kube.credentials.rest_config import RestConfig
from toolset.adapters.probe import HttpProber, ProberOptions
from toolset.core.candidate import Candidate, Evidence, HealthCheck
from toolset.core.health.http_config import HttpConfig
from toolset.core.health.thresholds import Failure, Outcome
from toolset.model import Key

HOST = "search.logging.svc.cluster.local"
ALIVE = Outcome(alive=True, status=200)
UNTRUSTED = "TLS failed: the certificate is not trusted"


def search(port: int = 9200, *, scheme: str = "http", statuses: tuple[int, ...] = (), identity: str = "") -> Candidate:
    return Candidate(
        key=Key("logging", "search"),
        type="elasticsearch",
        product="elasticsearch",
        evidence=Evidence.LABEL,
        scheme=scheme,
        host=HOST,
        port=port,
        path="/base",
        check=HealthCheck("/_cluster/health", statuses, identity),
    )


def prober(server: str, reach: HttpConfig, *, port: int = 9200, timeout_s: float = 5.0) -> HttpProber:
    """Return a prober that finds the candidate at the URL ``server``."""
    moved = {f"{HOST}:{port}": server.rpartition("//")[2]}
    return HttpProber(ProberOptions(timeout_s, connect_to=moved, http_configs={"elasticsearch": reach}))


def replace(path: Path, content: bytes) -> None:
    """Swap the file as a ConfigMap's mount does."""
    fresh = path.with_name("fresh")
    fresh.write_bytes(content)
    fresh.replace(path)


async def test_a_private_authority_is_trusted_and_read_again_when_its_bundle_changes(tmp_path: Path) -> None:
    authority, other, bundle = trustme.CA(), trustme.CA(), tmp_path / "ca.pem"
    bundle.write_bytes(other.cert_pem.bytes())
    server = ScriptedApiServer(Answer(), Answer())
    async with server.serve(server_tls(authority, host=HOST)):
        asking = prober(server.url, HttpConfig(ca_file=str(bundle)))
        asked = search(scheme="https")
        assert (await asking.probe(asked)).detail == UNTRUSTED
        replace(bundle, authority.cert_pem.bytes())
        assert await asking.probe(asked) == ALIVE
        replace(bundle, b"half a")  # what cannot be read leaves the last good one
        assert await asking.probe(asked) == ALIVE
        bundle.unlink()
        assert (await asking.probe(asked)).status == 404  # the script is over, the handshake was good


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"half a", "no certificate of an authority can be read: it holds no PEM block"),
    ],
    ids=["absent", "no PEM"],
)
async def test_a_bundle_that_never_could_be_read_is_not_alive_and_says_why(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    outcome = await prober("http://127.0.0.1:1", HttpConfig(ca_file=str(bundle))).probe(search(scheme="https"))
    detail = f"{bundle}, the CA bundle of its detector: {reason}"
    assert outcome == Outcome(alive=False, detail=detail, failure=Failure.TLS)


async def test_a_backend_with_a_certificate_of_an_older_kind_is_alive(tmp_path: Path) -> None:
    old, bundle = OldAuthority(critical=False), tmp_path / "ca.pem"
    bundle.write_bytes("# Behörde\n".encode() + old.pem)
    server = ScriptedApiServer(Answer())
    async with server.serve(tls_with(*old.issue("127.0.0.1", HOST))):
        assert await prober(server.url, HttpConfig(ca_file=str(bundle))).probe(search(scheme="https")) == ALIVE


async def test_any_certificate_will_do_where_settings_say_so_and_nowhere_else() -> None:
    async with ScriptedApiServer(Answer()).serve(server_tls(trustme.CA(), host="other.example.org")) as server:
        unchecked, checked = (prober(server.url, HttpConfig(insecure_skip_verify=skip)) for skip in (True, False))
        assert await unchecked.probe(search(scheme="https")) == ALIVE
        assert (await checked.probe(search(scheme="https"))).detail == UNTRUSTED


async def test_statuses_of_the_settings_stand_in_for_those_of_the_detector() -> None:
    server = ScriptedApiServer(*[Answer(b"", code) for code in (418, 401, 200)])
    async with server.serve():
        asking = prober(server.url, HttpConfig(statuses=(418,)))
        outcomes = [await asking.probe(search(statuses=(401,))) for _ in range(3)]
    assert [(outcome.alive, outcome.unauthorized) for outcome in outcomes] == [
        (True, False),
        (True, True),
        (True, False),
    ]


async def test_headers_come_from_files_that_are_read_again_when_they_change(tmp_path: Path) -> None:
    secret = tmp_path / "authorization"
    secret.write_text("Bearer one\n")
    reach = HttpConfig(headers_from={"Authorization": str(secret)}, services=("logging/*",))
    server = ScriptedApiServer(Answer(), Answer(), Answer())
    async with server.serve():
        asking = prober(server.url, reach)
        assert await asking.probe(search()) == ALIVE
        replace(secret, b"Bearer two")
        assert await asking.probe(search()) == ALIVE
        replace(secret, b"")
        assert await asking.probe(search()) == ALIVE
    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer one", "Bearer two", "Bearer two"]


async def test_a_service_that_settings_do_not_name_is_handed_no_credential(tmp_path: Path) -> None:
    secret = tmp_path / "authorization"
    secret.write_text("Bearer one")
    server = ScriptedApiServer(Answer())
    reach = HttpConfig(headers_from={"Authorization": str(secret)}, services=("logging/other", "team-*/*"))
    async with server.serve():
        asking = prober(server.url, reach)
        assert await asking.probe(search()) == ALIVE
    assert "authorization" not in server.asked[0].headers


async def test_headers_are_not_sent_to_a_host_that_is_not_the_services_own(tmp_path: Path) -> None:
    secret = tmp_path / "authorization"
    secret.write_text("Bearer one")
    reach = HttpConfig(headers_from={"Authorization": str(secret)}, services=("logging/*",))
    server = ScriptedApiServer(Answer())
    async with server.serve():
        asking = prober(server.url, reach)
        outcome = await asking.probe(msgspec.structs.replace(search(), external=True))
    assert (outcome.alive, outcome.failure) == (False, Failure.ADDRESS)
    assert outcome.detail == "the headers of its detector are not sent to a host that is not its own"
    assert server.asked == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="no file"),
        pytest.param(b"", id="empty"),
        pytest.param(b"a\r\nX-Other: b", id="two lines"),
        pytest.param(b"a\0b", id="a null"),
    ],
)
async def test_a_header_file_that_holds_no_value_is_not_alive_and_nothing_is_sent(
    tmp_path: Path, content: bytes | None
) -> None:
    secret = tmp_path / "authorization"
    if content is not None:
        secret.write_bytes(content)
    server = ScriptedApiServer(Answer())
    reach = HttpConfig(headers_from={"Authorization": str(secret)}, services=("*/*",))
    async with server.serve():
        asking = prober(server.url, reach)
        outcome = await asking.probe(search())
    assert outcome == Outcome(alive=False, detail="a header file of its detector cannot be read")
    assert server.asked == []


async def test_a_file_whose_read_hangs_costs_its_detector_one_probe_and_leaves_the_last_good_value(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "authorization"
    reach = HttpConfig(headers_from={"Authorization": str(secret)}, services=("*/*",))
    server = ScriptedApiServer(Answer(), Answer(), Answer())
    unread = "a header file of its detector cannot be read"
    async with server.serve():
        asking = prober(server.url, reach, timeout_s=0.4)
        with hanging(secret):
            assert (await asking.probe(search())).failure is Failure.TIMEOUT
            assert (await asking.probe(search())).detail == unread
        secret.write_text("Bearer one")
        while (outcome := await asking.probe(search())).detail == unread:
            pass  # the read that was given up ends on a thread, whenever that runs
        assert outcome == await asking.probe(search()) == ALIVE
        with hanging(secret):
            assert (await asking.probe(search())).failure is Failure.TIMEOUT
            assert await asking.probe(search()) == ALIVE
    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer one"] * 3


async def through(server: ScriptedApiServer, asked: Candidate, headers: Mapping[str, str] | None = None) -> Outcome:
    """Probe by way of an API server."""
    async with server.serve():
        credentials = FixedCredentials(server.url, headers or {"Authorization": "Bearer ours"})
        return await HttpProber(ProberOptions(5), api_server=credentials).probe(asked)


async def test_the_api_server_is_asked_to_ask() -> None:
    server = ScriptedApiServer(Answer(b'{"cluster_name": "logs"}'))
    assert await through(server, search(scheme="https", identity="cluster_name")) == ALIVE
    (asked,) = server.asked
    assert asked.path == "/api/v1/namespaces/logging/services/https:search:9200/proxy/base/_cluster/health"
    assert asked.headers["authorization"] == "Bearer ours"
    assert asked.headers["host"] == server.url.rpartition("//")[2]


async def test_a_refusal_of_the_backend_is_distinguished_from_one_of_the_api_server() -> None:
    backends = Answer(b'{"error": "missing credentials"}', 401)
    assert await through(ScriptedApiServer(backends), search(statuses=(401, 403))) == Outcome(alive=True, status=401)

    forbidden = status_error(403, "Forbidden", 'services "search" is forbidden')
    outcome = await through(ScriptedApiServer(forbidden), search(statuses=(401, 403)))
    detail = "the API server refuses services/proxy with 403"
    assert outcome == Outcome(alive=False, detail=detail, status=403)


async def test_a_service_that_the_api_server_cannot_reach_is_not_alive() -> None:
    outcome = await through(ScriptedApiServer(status_error(503, "ServiceUnavailable", "no endpoints")), search())
    assert outcome == Outcome(alive=False, detail="the API server reached nothing there and answered 503", status=503)


async def test_without_access_to_the_api_server_no_backend_is_asked() -> None:
    class NoAccess(FixedCredentials):
        @override
        async def current(self) -> RestConfig:
            raise OSError("no token")

    outcome = await HttpProber(ProberOptions(5), api_server=NoAccess("")).probe(search())
    assert outcome == Outcome(alive=False, detail="there is no access to the API server")


async def test_an_api_server_without_an_address_is_no_access() -> None:
    asking = HttpProber(ProberOptions(5), api_server=FixedCredentials("https://nowhere.invalid:6443"))
    assert (await asking.probe(search())).detail == "there is no access to the API server"


async def test_the_api_server_is_verified_by_its_own_authority() -> None:
    authority = trustme.CA()
    server = ScriptedApiServer(Answer())
    async with server.serve(server_tls(authority)) as served:
        context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        credentials = FixedCredentials(served.url, tls=context)
        asking = HttpProber(ProberOptions(5), api_server=credentials)
        assert await asking.probe(search()) == ALIVE
