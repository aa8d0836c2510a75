"""Over TLS, a request is answered only if the API server knows its token and allows its user the path."""

import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import orjson
import pytest
import trustme
from aiohttp import web

from support.api_server import FixedCredentials, status_error
from support.api_server import serving as listening
from support.status_source import FakeSource
from toolset.adapters.http import authentication, status_server
from toolset.adapters.http.api import BASE
from toolset.adapters.http.status_client import by_url
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.metrics import Metrics
from toolset.adapters.server_certificate import ServerCertificate
from toolset.config.loader import load
from toolset.config.options import check
from toolset.errors import ForbiddenError, SettingsError
from toolset.service.status_service import PREFIX, serving

TOKENS = {"good": "ada", "poor": "bob"}


class Reviewer:
    """An API server that knows two tokens.

    Attributes:
        rights: The paths that each user may get.
        asked: The kinds of the reviews that were asked for.
        fails: Whether it answers at all.
    """

    def __init__(self) -> None:
        self.rights: dict[str, set[str]] = {
            "ada": {f"{PREFIX}{path}" for path in (f"{BASE}/status", f"{BASE}/events", f"{BASE}/toolsets", "/")}
            | {f"{PREFIX}{BASE}/services", "/metrics"},
            "bob": {"/", f"{BASE}/status"},  # as `system:discovery` grants /api/* to every authenticated user
        }
        self.asked: list[str] = []
        self.fails = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self.asked.append(body["kind"])
        if self.fails:
            return web.Response(status=500, body=status_error(500, "InternalError").body)
        spec = body["spec"]
        if body["kind"] == "TokenReview":
            user = TOKENS.get(spec["token"])
            state: Mapping[str, object] = {
                "authenticated": bool(user),
                **({"user": {"username": user, "groups": ["g"]}} if user else {}),
            }
        else:
            place = spec["nonResourceAttributes"]
            assert (place["verb"], spec["groups"]) == ("get", ["g"])
            state = {"allowed": place["path"] in self.rights.get(spec["user"], set())}
        return web.Response(status=201, body=orjson.dumps({**body, "status": state}), content_type="application/json")


class Secured:
    """A status server with a certificate, and the authority that made it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.reviewer = Reviewer()
        self.url = ""
        self.renew()

    def renew(self) -> None:
        certificate = self.authority.issue_cert("127.0.0.1", "localhost")
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        (self.folder / "tls.crt").write_bytes(chain)
        (self.folder / "tls.key").write_bytes(certificate.private_key_pem.bytes())
        (self.folder / "ca.crt").write_bytes(self.authority.cert_pem.bytes())

    @asynccontextmanager
    async def serve(self, more: str = "") -> AsyncGenerator[httpx.AsyncClient]:
        files = f"tls_cert_file: {self.folder}/tls.crt, tls_key_file: {self.folder}/tls.key"
        settings = load(f"status: {{listen: '0.0.0.0:0', auth: kubernetes, {files}{more}}}", {}, {})
        async with (
            listening(self.reviewer.handle) as url,
            KubeTransport(FixedCredentials(url), "test") as kube,
            serving(settings, FakeSource(), kube, Metrics("1").expose) as server,
        ):
            assert server is not None
            self.url = f"https://127.0.0.1:{server.port}"
            context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
            async with httpx.AsyncClient(base_url=self.url, verify=context, trust_env=False) as client:
                yield client


@pytest.fixture
def secured(tmp_path: Path) -> Secured:
    return Secured(tmp_path)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({}, 401, "a bearer token is needed"),
        ({"Authorization": "Basic YTpi"}, 401, "a bearer token is needed"),
        ({"Authorization": "Bearer"}, 401, "a bearer token is needed"),
        (bearer("x" * 20_000), 401, ""),
        (bearer("unknown"), 401, "does not know this token"),
        (bearer("poor"), 403, "nonResourceURLs"),
        (bearer("good"), 200, ""),
        ({"Authorization": "bearer good", "Host": "toolset.example"}, 200, ""),
    ],
)
async def test_a_token_and_the_right_are_needed(
    headers: dict[str, str], status: int, said: str, secured: Secured
) -> None:
    async with secured.serve() as client:
        answer = await client.get(f"{BASE}/status", headers=headers)
    assert answer.status_code in {status, 400} if len(str(headers)) > 10_000 else answer.status_code == status
    assert said in answer.text
    if status == 401 and said:
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/", f"{BASE}/status", f"{BASE}/services/a/b", f"{BASE}/events", f"{BASE}/nothing"])
async def test_nothing_is_answered_without_a_token(path: str, secured: Secured) -> None:
    async with secured.serve() as client:
        assert (await client.get(path)).status_code == 401
    assert secured.reviewer.asked == []


async def test_a_right_is_one_for_a_path(secured: Secured) -> None:
    async with secured.serve() as client:
        assert (await client.get(f"{BASE}/tools", headers=bearer("good"))).status_code == 403
        assert (await client.get("/?q=a", headers=bearer("good"))).status_code == 200


async def test_a_decision_counts_for_a_while_and_a_revoked_right_no_longer(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "ALLOWED_S", 2.0)
    async with secured.serve() as client:
        for _ in range(5):
            assert (await client.get(f"{BASE}/status", headers=bearer("good"))).status_code == 200
        assert secured.reviewer.asked == ["TokenReview", "SubjectAccessReview"]
        secured.reviewer.rights.clear()
        await anyio.sleep(2.1)
        assert (await client.get(f"{BASE}/status", headers=bearer("good"))).status_code == 403


def test_a_revoked_right_counts_within_a_minute() -> None:
    assert authentication.ALLOWED_S + status_server.STREAM_S < 60


async def test_a_stream_ends_so_that_its_right_is_asked_for_again(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_server, "STREAM_S", 0.2)
    async with secured.serve() as client:
        with anyio.fail_after(5):
            answer = await client.get(f"{BASE}/events", headers=bearer("good"))
    assert "event: status" in answer.text


async def test_without_an_answer_of_the_api_server_nothing_is_shown(secured: Secured) -> None:
    secured.reviewer.fails = True
    async with secured.serve() as client:
        answer = await client.get(f"{BASE}/status", headers=bearer("good"))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        secured.reviewer.fails = False
        assert (await client.get(f"{BASE}/status", headers=bearer("good"))).status_code == 200


async def test_guesses_at_tokens_cost_the_api_server_little_and_no_memory(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "REVIEWS_BURST", 5.0)
    monkeypatch.setattr(authentication, "REVIEWS_PER_S", 0.0)
    monkeypatch.setattr(authentication, "DECISIONS_LIMIT", 3)
    async with secured.serve() as client:
        codes = [(await client.get(f"{BASE}/status", headers=bearer(f"t{number}"))).status_code for number in range(20)]
    assert codes == [401] * 5 + [429] * 15
    assert len(secured.reviewer.asked) == 5


async def test_metrics_are_behind_the_same_authentication_on_demand(secured: Secured) -> None:
    async with secured.serve(", metrics: true") as client:
        assert (await client.get("/metrics")).status_code == 401
        assert "toolset_build_info" in (await client.get("/metrics", headers=bearer("good"))).text
    async with secured.serve() as client:
        assert (await client.get("/metrics", headers=bearer("good"))).status_code == 404


async def test_the_command_sends_its_token_over_tls_only(secured: Secured) -> None:
    async with secured.serve():
        authority = secured.authority.cert_pem.bytes()
        assert (await by_url(secured.url, "good", authority).snapshot()).summary.revision == 0
        with pytest.raises(ForbiddenError, match="may not get this path"):
            await by_url(secured.url, "poor", authority).snapshot()
        with pytest.raises(SettingsError, match="over https only"):
            by_url(secured.url.replace("https", "http"), "good")
        with pytest.raises(SettingsError, match="the authority for"):
            by_url(secured.url, "good", b"no certificate")


async def test_a_renewed_certificate_is_used_and_a_broken_one_is_not(
    secured: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "toolset")
    certificate = ServerCertificate(str(secured.folder / "tls.crt"), str(secured.folder / "tls.key"))
    await certificate.look()
    secured.renew()
    await certificate.look()
    (secured.folder / "tls.key").write_bytes(b"no key")
    await certificate.look()
    (secured.folder / "tls.key").unlink()
    await certificate.look()
    secured.renew()
    await certificate.look()
    lines = [record.getMessage() for record in caplog.records]
    refused = "server certificate not renewed: the former one stays"
    assert lines == ["server certificate renewed", refused, refused, "server certificate renewed"]


@pytest.mark.parametrize("broken", ["tls.crt", "tls.key"])
def test_a_certificate_that_cannot_be_used_is_named(broken: str, secured: Secured) -> None:
    (secured.folder / broken).write_bytes(b"-----BEGIN NOTHING-----")
    with pytest.raises(SettingsError, match=r"mount a Secret of type kubernetes\.io/tls"):
        ServerCertificate(str(secured.folder / "tls.crt"), str(secured.folder / "tls.key"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("listen: '0.0.0.0:8081'", "is not a loopback address"),
        ("listen: '[::]:8081'", "is not a loopback address"),
        ("listen: '10.0.0.1:8081'", "is not a loopback address"),
        ("listen: '127.0.0.1:99999'", "is not a loopback address"),
        ("listen: '999.0.0.1:80'", "is not a loopback address"),
        ("auth: kubernetes", "tokens must not be sent in the clear"),
        ("tls_cert_file: a", "neither works without the other"),
    ],
)
def test_settings_that_would_show_the_status_to_others_are_refused(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        check(load(f"status: {{{text}}}", {}, {}))


async def test_an_agent_needs_a_token_and_the_right_to_the_path(secured: Secured) -> None:
    message = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    async with secured.serve(", mcp: true") as client:
        without = await client.post("/mcp", headers=headers, content=message)
        refused = await client.post("/mcp", headers=headers | bearer("good"), content=message)
        secured.reviewer.rights["bob"].add(f"{PREFIX}/mcp")
        allowed = await client.post("/mcp", headers=headers | bearer("poor"), content=message)
    assert [each.status_code for each in (without, refused, allowed)] == [401, 403, 200]
    assert len(allowed.json()["result"]["tools"]) == 3
