"""What a kubeconfig makes of a request; `tests/integration/test_kubeconfigs.py` compares that with kubectl."""

import base64
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
import trustme
from aiohttp import web

from support.api_server import Answer, ScriptedApiServer, raw_server, saying, status_error
from support.background import Clock
from support.credentials import bearer, reread
from support.kubeconfigs import COUNTING_PLUGIN, kubeconfig, plugin
from support.tls import server_tls
from toolset.adapters.kube.credentials.providers import REREAD_S, KubeconfigCredentials, RestConfig
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.wire import Request
from toolset.errors import ForbiddenError, SettingsError, UnavailableError

GET = Request("GET", "/version")
NOWHERE = "https://127.0.0.1:1"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


def trusting(authority: trustme.CA) -> dict[str, object]:
    return {"certificate-authority-data": base64.b64encode(authority.cert_pem.bytes()).decode()}


async def loaded(path: str, context: str = "") -> RestConfig:
    async with KubeconfigCredentials(path, context) as credentials:
        return await credentials.current()


async def ask(path: str) -> bytes:
    async with KubeTransport(KubeconfigCredentials(path, ""), "test/1") as transport:
        return await transport.send(GET)


async def test_a_kubeconfigs_token_is_sent(tmp_path: Path, authority: trustme.CA) -> None:
    server = ScriptedApiServer(Answer())
    async with server.serve(server_tls(authority)):
        await ask(kubeconfig(tmp_path, server.url, {"token": "secret"}, trusting(authority)))

    assert server.asked[0].headers["authorization"] == "Bearer secret"


async def test_nothing_secret_goes_over_plain_http(tmp_path: Path) -> None:
    server = ScriptedApiServer(Answer())
    async with server.serve():
        await ask(kubeconfig(tmp_path, server.url, {"token": "secret", "as": "bob"}))

    assert "authorization" not in server.asked[0].headers
    assert server.asked[0].headers["impersonate-user"] == "bob"


async def test_whom_a_user_impersonates_is_sent_with_every_request(tmp_path: Path, authority: trustme.CA) -> None:
    asked: list[list[tuple[str, str]]] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        asked.append([(name, value) for name, value in request.headers.items() if name.startswith("Impersonate")])
        return web.Response(text="{}")

    user: dict[str, object] = {
        "token": "t",
        "as": "system:serviceaccount:a:b",
        "as-uid": "42",
        "as-groups": ["one", "two"],
        "as-user-extra": {"example.org/scopes%": ["read", "write"]},
    }
    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_tls(authority)).start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        await ask(kubeconfig(tmp_path, url, user, trusting(authority)))
    finally:
        await runner.cleanup()

    assert asked == [
        [
            ("Impersonate-User", "system:serviceaccount:a:b"),
            ("Impersonate-Uid", "42"),
            ("Impersonate-Group", "one"),
            ("Impersonate-Group", "two"),
            ("Impersonate-Extra-example.org%2Fscopes%25", "read"),
            ("Impersonate-Extra-example.org%2Fscopes%25", "write"),
        ]
    ]


async def test_a_kubeconfig_is_found_through_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = kubeconfig(tmp_path, NOWHERE, {"token": "secret"})
    empty = tmp_path / "empty"
    empty.touch()
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(("/nowhere/config", "", str(empty), file)))

    assert (await loaded("")).headers == bearer("secret")


@pytest.mark.parametrize("as_data", [False, True], ids=["files", "data"])
async def test_a_kubeconfigs_client_certificate_is_shown(
    tmp_path: Path, authority: trustme.CA, *, as_data: bool
) -> None:
    certificate = authority.issue_cert("me@example.org")
    pem = {"client-certificate": certificate.cert_chain_pems[0], "client-key": certificate.private_key_pem}
    user: dict[str, object] = {}
    for name, blob in pem.items():
        blob.write_to_path(tmp_path / name)
        user |= {f"{name}-data": base64.b64encode(blob.bytes()).decode()} if as_data else {name: name}
    server = ScriptedApiServer(Answer(b"welcome"))
    async with server.serve(server_tls(authority, client_certificate=True)):
        file = kubeconfig(tmp_path, server.url, user, trusting(authority))
        assert await ask(file) == b"welcome"


async def test_certificates_and_keys_leave_no_files_behind(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = authority.issue_cert("me@example.org")
    user: dict[str, object] = {
        "client-certificate-data": base64.b64encode(certificate.cert_chain_pems[0].bytes()).decode(),
        "client-key-data": base64.b64encode(certificate.private_key_pem.bytes()).decode(),
    }
    for name in ("TMPDIR", "HOME"):
        monkeypatch.setenv(name, "/nowhere")  # as good as a root that is read-only
    access = await loaded(kubeconfig(tmp_path, NOWHERE, user, trusting(authority)))

    assert access.tls is not None
    assert os.listdir(tmp_path) == ["config"]  # noqa: PTH208 - a folder of the test


async def test_a_kubeconfig_may_skip_verification(tmp_path: Path, authority: trustme.CA) -> None:
    server = ScriptedApiServer(Answer(b"welcome"))
    async with server.serve(server_tls(authority)):
        assert await ask(kubeconfig(tmp_path, server.url, {"token": "t"}, {"insecure-skip-tls-verify": True}))


async def test_a_kubeconfig_may_name_the_server_in_the_certificate(tmp_path: Path, authority: trustme.CA) -> None:
    trusted = trusting(authority)
    server = ScriptedApiServer(Answer(b"welcome"))
    async with server.serve(server_tls(authority, host="api.example.org")):
        with pytest.raises(UnavailableError, match="certificate is not accepted: IP address mismatch"):
            await ask(kubeconfig(tmp_path, server.url, {"token": "t"}, trusted))
        named = {**trusted, "tls-server-name": "api.example.org"}
        answer = await ask(kubeconfig(tmp_path, server.url, {"token": "t"}, named))

    assert answer == b"welcome"


async def test_an_exec_plugin_runs_once_and_again_after_a_401(tmp_path: Path, authority: trustme.CA) -> None:
    server = ScriptedApiServer(Answer(), Answer(), status_error(401), Answer())
    async with server.serve(server_tls(authority)):
        file = kubeconfig(tmp_path, server.url, plugin(tmp_path, COUNTING_PLUGIN), trusting(authority))
        async with KubeTransport(KubeconfigCredentials(file, ""), "test/1") as transport:
            await transport.send(GET)
            await transport.send(GET)
            with pytest.raises(ForbiddenError):
                await transport.send(GET)
            await transport.send(GET)

    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer run-1"] * 3 + ["Bearer run-2"]


async def test_requests_that_are_refused_together_run_an_exec_plugin_once(
    tmp_path: Path, clock: Clock, authority: trustme.CA
) -> None:
    server = ScriptedApiServer(Answer(), *[status_error(401)] * 5, *[Answer()] * 5)
    async with server.serve(server_tls(authority)):
        file = kubeconfig(tmp_path, server.url, plugin(tmp_path, COUNTING_PLUGIN), trusting(authority))
        credentials = KubeconfigCredentials(file, "", clock=clock)
        async with KubeTransport(credentials, "test/1") as transport:
            await transport.send(GET)

            async def refused() -> None:
                with pytest.raises(ForbiddenError):
                    await transport.send(GET)

            async def accepted() -> None:
                await transport.send(GET)

            for act in (refused, accepted):
                async with anyio.create_task_group() as group:
                    for _ in range(5):
                        group.start_soon(act)

    assert (tmp_path / "runs").read_text("utf-8") == "xx"
    assert [asked.headers["authorization"] for asked in server.asked[6:]] == ["Bearer run-2"] * 5


async def test_an_exec_plugin_that_fails_after_a_401_is_a_reason_to_try_again(tmp_path: Path, clock: Clock) -> None:
    file = kubeconfig(tmp_path, NOWHERE, plugin(tmp_path, COUNTING_PLUGIN))
    async with KubeconfigCredentials(file, "", clock=clock) as credentials:
        access = await credentials.current()
        (tmp_path / "plugin.py").write_text("raise SystemExit(3)")
        credentials.refused(access)

        with pytest.raises(UnavailableError, match=r"cannot be renewed: .*failed with exit code 3"):
            await credentials.current()
        assert await credentials.current() is access, "until it may run again"


EXPIRING_PLUGIN = """
import datetime, json, pathlib, sys
runs = pathlib.Path(sys.argv[1])
runs.write_text((runs.read_text("utf-8") if runs.exists() else "") + "x")
end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=%d)
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                  "status": {"token": "run-" + str(len(runs.read_text("utf-8"))),
                             "expirationTimestamp": end.strftime("%%Y-%%m-%%dT%%H:%%M:%%SZ")}}))
"""


@pytest.mark.parametrize(
    ("lives_s", "good_s", "renewed_s"),
    [
        pytest.param(3600, 2800, 2890, id="an hour"),
        pytest.param(-60, 9, 10, id="ended already"),
        pytest.param(1, 9, 10, id="a second"),
    ],
)
async def test_an_exec_plugin_runs_again_before_its_credentials_end(
    tmp_path: Path, clock: Clock, lives_s: int, good_s: float, renewed_s: float
) -> None:
    user = plugin(tmp_path, EXPIRING_PLUGIN % lives_s)
    async with KubeconfigCredentials(kubeconfig(tmp_path, NOWHERE, user), "", clock=clock) as credentials:
        first = await credentials.current()
        clock.now += good_s
        assert await credentials.current() is first

        assert (await reread(credentials, clock, renewed_s - good_s)).headers == bearer("run-2")


async def test_an_exec_plugin_without_an_end_is_not_run_again_after_a_minute(tmp_path: Path, clock: Clock) -> None:
    file = kubeconfig(tmp_path, NOWHERE, plugin(tmp_path, COUNTING_PLUGIN))
    async with KubeconfigCredentials(file, "", clock=clock) as credentials:
        first = await credentials.current()
        clock.now += 86400

        assert await credentials.current() is first


async def test_a_slow_exec_plugin_ends_although_nobody_waits_that_long(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, NOWHERE, plugin(tmp_path, "import time\ntime.sleep(0.4)\n" + COUNTING_PLUGIN))
    async with KubeconfigCredentials(file, "") as credentials:
        given_up = 0
        with anyio.fail_after(10):
            while True:
                with anyio.move_on_after(0.1) as patience:
                    access = await credentials.current()
                    break
                given_up += patience.cancelled_caught

    assert given_up >= 1
    assert access.headers == bearer("run-1")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"a: [", id="not YAML"),
        pytest.param(b"text", id="not a mapping"),
        pytest.param(b"[1]", id="a list"),
        pytest.param(b"\xff\xfe\xff", id="binary"),
        pytest.param(b"contexts: 1\n", id="contexts are no list"),
        pytest.param(b"current-context: gone\n", id="context is missing"),
        pytest.param(b"current-context: c\ncontexts: [{}]\n", id="context without a name"),
        pytest.param(b"", id="empty"),
        pytest.param(b"users: [{name: a, user: {token: 5}}]\n", id="a token that is a number"),
        pytest.param(b"kind: Secret\n", id="another kind"),
        pytest.param(b"users: [{name: a}, {name: a}]\n", id="two of a name"),
        pytest.param(b"users: [{user: {client-key-data: '%'}}]\n", id="no base64"),
    ],
)
async def test_a_bad_kubeconfig_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config"
    file.write_bytes(content)

    with pytest.raises(SettingsError) as caught:
        await loaded(str(file))

    text = str(caught.value)
    assert text.startswith(f"{file}: ")
    assert text.endswith("name another file with --kubeconfig")
    assert "\n" not in text


async def test_a_missing_kubeconfig_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^/nowhere/config: there is no such file; name a kubeconfig with"):
        await loaded("/nowhere/config")


async def test_a_context_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no context `other` in it, only `[^`]+`; name another"):
        await loaded(kubeconfig(tmp_path, NOWHERE, {}), "other")


PEM = base64.b64encode(b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n").decode()


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ({"client-certificate": "gone.pem", "client-key": "gone.pem"}, "gone.pem cannot be read (No such file"),
        ({"client-certificate-data": "bm90IFBFTQ==", "client-key-data": "bm90IFBFTQ=="}, "its key cannot be used"),
        ({"client-certificate-data": PEM, "client-key-data": PEM}, "its key cannot be used"),
        ({"client-certificate": "config"}, "its client-certificate has no client-key"),
        ({"token": "a\nb"}, "the user has credentials that cannot be sent"),
        ({"token": "t", "username": "me"}, "token and username are both set; remove one"),
        ({"as-groups": ["admins"]}, "as-uid, as-groups and as-user-extra need `as`"),
        ({"tokenFile": "gone"}, "its tokenFile gone is missing or empty"),
        ({"auth-provider": {"name": "gcp"}}, "of auth-providers only oidc is supported; use an exec plugin"),
        ({"auth-provider": {"name": "oidc"}}, "oidc: idp-issuer-url is not set"),
    ],
)
async def test_a_user_that_cannot_be_used_is_one_sentence(tmp_path: Path, user: dict[str, object], reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        await loaded(kubeconfig(tmp_path, NOWHERE, user))

    assert reason in str(caught.value)
    assert str(caught.value).endswith("; name another file with --kubeconfig")


@pytest.mark.parametrize(
    ("cluster", "reason"),
    [
        ({"certificate-authority": "gone.pem"}, "gone.pem cannot be read (No such file or directory)"),
        ({"certificate-authority-data": "bm90IFBFTQ=="}, "no certificate of an authority can be read"),
        ({"certificate-authority": "config", "certificate-authority-data": "YQ=="}, "are both set; remove one"),
        ({"certificate-authority-data": "YQ==", "insecure-skip-tls-verify": True}, "are both set; remove one"),
        ({"proxy-url": "http://127.0.0.1:2"}, "proxy-url is not supported; name a cluster that is reached without a"),
        ({"server": ""}, "its cluster has no server"),
        ({"server": "ftp://a"}, "the server of its cluster must be a URL"),
        ({"server": "https://a:b"}, "the server of its cluster must be a URL"),
        ({"server": "example.org/path"}, "the server of its cluster must be a URL"),
    ],
)
async def test_a_cluster_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, cluster: dict[str, object], reason: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        await loaded(kubeconfig(tmp_path, NOWHERE, {"token": "t"}, cluster))

    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("server", "base_url"),
    [
        ("https://a:6443", "https://a:6443"),
        ("HTTPS://a:6443/", "https://a:6443"),
        ("https://a/k8s/clusters/c-1/", "https://a/k8s/clusters/c-1"),
        ("https://[fd00::1]:6443", "https://[fd00::1]:6443"),
        ("a:8080", "http://a:8080"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("localhost", "http://localhost"),
    ],
)
async def test_a_server_is_read_as_client_go_reads_it(tmp_path: Path, server: str, base_url: str) -> None:
    assert (await loaded(kubeconfig(tmp_path, server, {"token": "t"}))).base_url == base_url


async def test_a_kubeconfig_says_which_cluster_it_is_and_who_asks(tmp_path: Path) -> None:
    access = await loaded(kubeconfig(tmp_path, "https://user:secret@a:6443", {"token": "t", "as": "bob"}))

    assert str(access.origin) == "cluster one (https://a:6443), context here, identity me as bob"


@pytest.mark.parametrize("user", [None, {}], ids=["no user", "a user without credentials"])
async def test_a_kubeconfig_without_credentials_is_anonymous(tmp_path: Path, user: dict[str, object] | None) -> None:
    access = await loaded(kubeconfig(tmp_path, NOWHERE, user))

    assert access.headers == ()
    assert access.origin.identity == ("anonymous" if user is None else "me")


async def test_a_token_file_is_read_again_after_a_minute_and_comes_before_the_token(
    tmp_path: Path, clock: Clock
) -> None:
    (tmp_path / "token").write_text("first\n")
    file = kubeconfig(tmp_path, NOWHERE, {"token": "stale", "tokenFile": "token"})
    async with KubeconfigCredentials(file, "", clock=clock) as credentials:
        before = await credentials.current()
        (tmp_path / "token").write_text("second\n")
        assert await credentials.current() is before

        assert [before.headers, (await reread(credentials, clock)).headers] == [bearer("first"), bearer("second")]


@pytest.mark.parametrize("content", ["", "\n", "a\nb", None], ids=["empty", "newline", "two lines", "missing"])
async def test_a_token_file_that_cannot_be_used_keeps_the_last_good_token(
    tmp_path: Path, clock: Clock, content: str | None
) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    file = kubeconfig(tmp_path, NOWHERE, {"tokenFile": "token"})
    async with KubeconfigCredentials(file, "", clock=clock) as credentials:
        before = await credentials.current()
        token.unlink() if content is None else token.write_text(content)
        clock.now += REREAD_S
        for _ in range(20):
            assert (await credentials.current()).headers == before.headers
            await anyio.sleep(0.01)


async def test_a_kubeconfig_whose_files_stay_the_same_keeps_its_tls_context(
    tmp_path: Path, clock: Clock, authority: trustme.CA
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    file = kubeconfig(tmp_path, NOWHERE, {"token": "t"}, {"certificate-authority": "ca.pem"})
    async with KubeconfigCredentials(file, "", clock=clock) as credentials:
        first = (await credentials.current()).tls
        second = (await reread(credentials, clock)).tls
        trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
        third = (await reread(credentials, clock)).tls

    assert first is second
    assert third is not first


def oidc(port: int, **settings: str) -> dict[str, object]:
    """Return a user whose token has to be fetched from an issuer on ``port``."""
    issuer = f"http://127.0.0.1:{port}"
    config = {"client-id": "c", "client-secret": "s", "idp-issuer-url": issuer, "refresh-token": "r", **settings}
    return {"auth-provider": {"name": "oidc", "config": config}}


def jwt(expires_at: float) -> str:
    claims = base64.urlsafe_b64encode(f'{{"exp": {expires_at}}}'.encode()).decode().rstrip("=")
    return f"e30.{claims}.x"


class Issuer:
    """An OIDC issuer that takes each refresh token once."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/.well-known/openid-configuration":
            return web.json_response({"token_endpoint": f"{self.url}/token"})
        form = await request.post()
        self.taken.append(str(form["refresh_token"]))
        count = len(self.taken)
        return web.json_response({"id_token": jwt(2e9 + count), "refresh_token": f"r{count}"})


@pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning")  # what the package uses of aiohttp
async def test_an_oidc_user_gets_a_token_from_an_issuer_that_has_to_prove_who_it_is(
    tmp_path: Path, authority: trustme.CA, clock: Clock
) -> None:
    issuer = Issuer()
    runner = web.ServerRunner(web.Server(issuer.handle))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_tls(authority)).start()
        port = runner.addresses[0][1]
        issuer.url = f"https://127.0.0.1:{port}"
        url = {"idp-issuer-url": issuer.url}
        with pytest.raises(SettingsError, match=r"oidc: the issuer gave no token \(ClientConnectorCertificateError\)"):
            await loaded(kubeconfig(tmp_path, NOWHERE, oidc(port, **url)))
        assert issuer.taken == []

        trusted = {"idp-certificate-authority-data": base64.b64encode(authority.cert_pem.bytes()).decode()}
        file = kubeconfig(tmp_path, NOWHERE, oidc(port, **url, **trusted))
        async with KubeconfigCredentials(file, "", clock=clock) as credentials:
            first = await credentials.current()
            assert first.headers == bearer(jwt(2e9 + 1))
            clock.now += 2e9
            assert (await reread(credentials, clock)).headers == bearer(jwt(2e9 + 1)), "by its own clock it is good"
    finally:
        await runner.cleanup()

    assert issuer.taken == ["r"]


async def test_an_id_token_that_is_good_is_sent_as_it_is(tmp_path: Path) -> None:
    user = oidc(1, **{"id-token": jwt(2e9)})

    assert (await loaded(kubeconfig(tmp_path, NOWHERE, user))).headers == bearer(jwt(2e9))


async def test_an_id_token_that_has_ended_needs_a_refresh_token(tmp_path: Path) -> None:
    user = oidc(1, **{"id-token": jwt(1e9), "refresh-token": ""})

    with pytest.raises(SettingsError, match="oidc: the ID token has expired, and there is no refresh-token"):
        await loaded(kubeconfig(tmp_path, NOWHERE, user))


@pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning")  # what the package uses of aiohttp
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="cut off"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{", id="broken"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n", id="another type"),
        pytest.param(b"no HTTP\r\n\r\n", id="no HTTP"),
    ],
)
async def test_an_issuer_that_breaks_off_leaves_the_last_good_token(
    tmp_path: Path, clock: Clock, answer: bytes
) -> None:
    file = kubeconfig(tmp_path, NOWHERE, {"token": "first"})
    async with raw_server(saying(answer)) as issuer, KubeconfigCredentials(file, "", clock=clock) as credentials:
        before = await credentials.current()
        kubeconfig(tmp_path, NOWHERE, oidc(issuer))
        clock.now += REREAD_S
        for _ in range(20):
            assert await credentials.current() is before
            await anyio.sleep(0.01)
        with pytest.raises(SettingsError, match="oidc: the issuer gave no token"):
            await loaded(file)


async def test_an_oidc_user_without_the_package_that_renews_tokens_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes.aio.config.openid", None)
    with pytest.raises(SettingsError, match="oidc: an ID token is renewed with the package kubernetes"):
        await loaded(kubeconfig(tmp_path, NOWHERE, oidc(1)))
