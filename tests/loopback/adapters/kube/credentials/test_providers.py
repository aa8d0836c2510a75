import os
import sys
from pathlib import Path

import anyio
import msgspec
import orjson
import pytest
import trustme
import yaml

from support.api_server import Answer, ScriptedApiServer, raw_server, saying, status_error
from support.background import Clock
from support.hanging import hanging
from support.tls import server_tls
from toolset.adapters.kube.credentials.providers import (
    REREAD_S,
    InClusterCredentials,
    KubeconfigCredentials,
    RestConfig,
    service_account,
)
from toolset.adapters.kube.transport import KubeTransport, Request
from toolset.errors import ForbiddenError, SettingsError, UnavailableError

GET = Request("GET", "/version")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class Mounted:
    """A mounted ServiceAccount."""

    def __init__(self, directory: Path, authority: trustme.CA) -> None:
        self._directory = directory
        self.token("first\n")
        self.authority(authority.cert_pem.bytes())

    def token(self, content: str | bytes | None) -> None:
        self._write("token", content)

    def authority(self, content: str | bytes | None) -> None:
        self._write("ca.crt", content)

    def _write(self, name: str, content: str | bytes | None) -> None:
        file = self._directory / name
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def mounted(tmp_path: Path, authority: trustme.CA) -> Mounted:
    return Mounted(tmp_path, authority)


async def reread(credentials: InClusterCredentials, clock: Clock) -> RestConfig:
    """Return the access after a minute, which the test does not wait for."""
    clock.now += REREAD_S
    return await credentials.current()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("host", "url"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")], ids=["IPv4", "IPv6"]
)
async def test_a_pod_reaches_the_address_it_was_given(tmp_path: Path, mounted: Mounted, host: str, url: str) -> None:
    del mounted
    access = await InClusterCredentials(host, "443", tmp_path).current()

    assert (access.base_url, access.headers) == (url, {"Authorization": "Bearer first"})


async def test_a_pods_token_and_authority_work_on_the_wire(
    tmp_path: Path, clock: Clock, mounted: Mounted, authority: trustme.CA
) -> None:
    server = ScriptedApiServer(Answer(), Answer())
    async with server.serve(server_tls(authority)):
        credentials = InClusterCredentials("127.0.0.1", server.url.rpartition(":")[2], tmp_path, clock=clock)
        async with KubeTransport(credentials, "test/1") as transport:
            await transport.send(GET)
            mounted.token("second")
            clock.now += REREAD_S
            await transport.send(GET)

    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer first", "Bearer second"]


async def test_another_authority_is_not_trusted(tmp_path: Path, mounted: Mounted) -> None:
    del mounted
    server = ScriptedApiServer(Answer())
    async with server.serve(server_tls(trustme.CA())):
        credentials = InClusterCredentials("127.0.0.1", server.url.rpartition(":")[2], tmp_path)
        async with KubeTransport(credentials, "test/1") as transport:
            with pytest.raises(UnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
                await transport.send(GET)

    assert server.asked == []


async def test_files_are_not_read_again_within_a_minute(tmp_path: Path, mounted: Mounted) -> None:
    credentials = InClusterCredentials("127.0.0.1", "443", tmp_path)
    first = await credentials.current()
    mounted.token("second")

    assert await credentials.current() is first


async def test_a_401_reads_the_files_at_once(tmp_path: Path, mounted: Mounted) -> None:
    credentials = InClusterCredentials("127.0.0.1", "443", tmp_path)
    await credentials.current()
    mounted.token("second")
    credentials.refused(await credentials.current())

    assert (await credentials.current()).headers == {"Authorization": "Bearer second"}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("\n", id="newline"),
        pytest.param(None, id="missing"),
        pytest.param("two\nlines", id="two lines"),
        pytest.param("two words", id="two words"),
        pytest.param(b"\xff\xfe", id="binary"),
    ],
)
async def test_a_token_that_cannot_be_used_keeps_the_last_good_one(
    tmp_path: Path, clock: Clock, mounted: Mounted, content: str | bytes | None
) -> None:
    credentials = InClusterCredentials("127.0.0.1", "443", tmp_path, clock=clock)
    await credentials.current()
    mounted.token(content)

    assert (await reread(credentials, clock)).headers == {"Authorization": "Bearer first"}

    mounted.token("third")
    assert (await reread(credentials, clock)).headers == {"Authorization": "Bearer third"}


@pytest.mark.parametrize("content", ["", None, "no certificate", b"\xff"])
async def test_an_authority_that_cannot_be_used_keeps_the_last_good_one(
    tmp_path: Path, clock: Clock, mounted: Mounted, content: str | bytes | None
) -> None:
    credentials = InClusterCredentials("127.0.0.1", "443", tmp_path, clock=clock)
    before = await credentials.current()
    mounted.authority(content)

    assert (await reread(credentials, clock)).tls is before.tls


async def test_a_new_authority_makes_a_new_context_and_an_old_one_does_not(
    tmp_path: Path, clock: Clock, mounted: Mounted
) -> None:
    credentials = InClusterCredentials("127.0.0.1", "443", tmp_path, clock=clock)
    first = (await credentials.current()).tls
    assert (await reread(credentials, clock)).tls is first
    mounted.authority(trustme.CA().cert_pem.bytes())

    assert (await reread(credentials, clock)).tls is not first


@pytest.mark.parametrize("lost", ["token", "authority"])
async def test_a_pod_without_token_or_authority_is_told(tmp_path: Path, mounted: Mounted, lost: str) -> None:
    getattr(mounted, lost)(None)

    with pytest.raises(SettingsError, match="no ServiceAccount token and CA to read; mount them, or name a kubeconfig"):
        await InClusterCredentials("127.0.0.1", "443", tmp_path).current()


async def test_a_token_that_comes_later_than_the_authority_is_enough(tmp_path: Path, mounted: Mounted) -> None:
    mounted.token(None)
    credentials = InClusterCredentials("127.0.0.1", "443", tmp_path)
    with pytest.raises(SettingsError):
        await credentials.current()
    mounted.token("late")

    assert (await credentials.current()).headers == {"Authorization": "Bearer late"}


async def test_a_token_whose_read_hangs_keeps_no_request_beyond_its_deadline(tmp_path: Path, mounted: Mounted) -> None:
    credentials = InClusterCredentials("127.0.0.1", "443", tmp_path)
    with hanging(tmp_path / "token"), anyio.move_on_after(0.05) as patience:
        await credentials.current()
    assert patience.cancelled_caught
    mounted.token("back")

    assert (await credentials.current()).headers == {"Authorization": "Bearer back"}


def kubeconfig(folder: Path, url: str, user: dict[str, object] | None, cluster: dict[str, object] | None = None) -> str:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "one"} | ({} if user is None else {"user": "me"})}],
        "clusters": [{"name": "one", "cluster": {"server": url, **(cluster or {})}}],
    } | ({} if user is None else {"users": [{"name": "me", "user": user}]})
    file = folder / "config"
    file.write_text(yaml.safe_dump(content))
    return str(file)


async def ask(credentials: KubeconfigCredentials) -> bytes:
    async with KubeTransport(credentials, "test/1") as transport:
        return await transport.send(GET)


async def test_a_kubeconfigs_token_is_sent(tmp_path: Path) -> None:
    server = ScriptedApiServer(Answer())
    async with server.serve():
        await ask(KubeconfigCredentials(kubeconfig(tmp_path, server.url, {"token": "secret"}), "here"))

    assert server.asked[0].headers["authorization"] == "Bearer secret"


async def test_a_kubeconfig_is_found_through_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ScriptedApiServer(Answer())
    async with server.serve():
        file = kubeconfig(tmp_path, server.url, {"token": "secret"})
        monkeypatch.setenv("KUBECONFIG", f"/nowhere/config{os.pathsep}{file}")
        await ask(KubeconfigCredentials("", ""))

    assert server.asked[0].headers["authorization"] == "Bearer secret"


async def test_a_kubeconfigs_client_certificate_is_shown(tmp_path: Path, authority: trustme.CA) -> None:
    certificate = authority.issue_cert("me@example.org")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    server = ScriptedApiServer(Answer(b"welcome"))
    async with server.serve(server_tls(authority, client_certificate=True)):
        file = kubeconfig(
            tmp_path,
            server.url,
            {"client-certificate": "cert.pem", "client-key": "key.pem"},
            {"certificate-authority": "ca.pem"},
        )
        assert await ask(KubeconfigCredentials(file, "")) == b"welcome"


async def test_a_kubeconfig_may_skip_verification(tmp_path: Path, authority: trustme.CA) -> None:
    server = ScriptedApiServer(Answer(b"welcome"))
    async with server.serve(server_tls(authority)):
        file = kubeconfig(tmp_path, server.url, {"token": "t"}, {"insecure-skip-tls-verify": True})
        assert await ask(KubeconfigCredentials(file, "")) == b"welcome"


def plugin(folder: Path, program: str) -> dict[str, object]:
    script = folder / "plugin.py"
    script.write_text(program)
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(script), str(folder / "runs")],
        }
    }


COUNTING_PLUGIN = """
import json, pathlib, sys
runs = pathlib.Path(sys.argv[1])
runs.write_text((runs.read_text() if runs.exists() else "") + "x")
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                  "status": {"token": "run-" + str(len(runs.read_text()))}}))
"""


async def test_an_exec_plugin_runs_once_and_again_after_a_401(tmp_path: Path) -> None:
    server = ScriptedApiServer(Answer(), Answer(), status_error(401), Answer())
    async with server.serve():
        credentials = KubeconfigCredentials(kubeconfig(tmp_path, server.url, plugin(tmp_path, COUNTING_PLUGIN)), "")
        async with KubeTransport(credentials, "test/1") as transport:
            await transport.send(GET)
            await transport.send(GET)
            with pytest.raises(ForbiddenError):
                await transport.send(GET)
            await transport.send(GET)

    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer run-1"] * 3 + ["Bearer run-2"]


@pytest.mark.parametrize("program", ["raise SystemExit(3)", "print('no JSON')", "print('{}')"])
async def test_an_exec_plugin_that_fails_is_told_and_nothing_is_sent(tmp_path: Path, program: str) -> None:
    server = ScriptedApiServer(Answer())
    async with server.serve():
        credentials = KubeconfigCredentials(kubeconfig(tmp_path, server.url, plugin(tmp_path, program)), "")
        with pytest.raises(SettingsError, match="the exec plugin gave no credentials; run it by hand"):
            await ask(credentials)

    assert server.asked == []


def oidc(port: int) -> dict[str, object]:
    """Return a user whose token has to be fetched from an issuer on ``port``."""
    issuer = f"http://127.0.0.1:{port}"
    config = {"client-id": "c", "client-secret": "s", "idp-issuer-url": issuer, "refresh-token": "r"}
    return {"auth-provider": {"name": "oidc", "config": config}}


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
async def test_an_issuer_that_breaks_off_is_told_and_leaves_the_last_good_token(
    tmp_path: Path, clock: Clock, answer: bytes
) -> None:
    file = kubeconfig(tmp_path, "http://127.0.0.1:1", {"token": "first"})
    credentials = KubeconfigCredentials(file, "", clock=clock)
    before = await credentials.current()
    async with raw_server(saying(answer)) as issuer:
        kubeconfig(tmp_path, "http://127.0.0.1:1", oidc(issuer))
        clock.now += REREAD_S
        assert await credentials.current() is before
        with pytest.raises(SettingsError, match="name another file with --kubeconfig"):
            await KubeconfigCredentials(file, "").current()


async def test_a_kubeconfig_without_a_user_is_anonymous(tmp_path: Path) -> None:
    server = ScriptedApiServer(Answer())
    async with server.serve():
        await ask(KubeconfigCredentials(kubeconfig(tmp_path, server.url, {}), ""))

    assert "authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"a: [", id="not YAML"),
        pytest.param(b"text", id="not a mapping"),
        pytest.param(b"[1]", id="a list"),
        pytest.param(b"\xff\xfe\xff", id="binary"),
        pytest.param(b"contexts: 1\n", id="contexts are no list"),
        pytest.param(b"current-context: gone\n", id="context is missing"),
        pytest.param(b"current-context: c\ncontexts: [{}]\n", id="context without a name"),
    ],
)
async def test_a_bad_kubeconfig_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config"
    file.write_bytes(content)

    with pytest.raises(SettingsError) as caught:
        await KubeconfigCredentials(str(file), "").current()

    text = str(caught.value)
    assert text.startswith(f"{file}: ")
    assert text.endswith("name another file with --kubeconfig")
    assert "\n" not in text


async def test_an_empty_kubeconfig_is_called_what_it_is(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.touch()

    with pytest.raises(SettingsError) as caught:
        await KubeconfigCredentials(str(file), "").current()

    assert str(caught.value) == f"{file}: this is no kubeconfig; name another file with --kubeconfig"


async def test_a_missing_kubeconfig_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^/nowhere/config: there is no such file; name a kubeconfig with"):
        await KubeconfigCredentials("/nowhere/config", "").current()


async def test_a_context_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="other"):
        await KubeconfigCredentials(kubeconfig(tmp_path, "http://127.0.0.1:1", {}), "other").current()


@pytest.mark.parametrize(
    "user",
    [
        {"client-certificate": "gone.pem", "client-key": "gone.pem"},
        {"client-certificate-data": "bm90IFBFTQ==", "client-key-data": "bm90IFBFTQ=="},
        {"client-certificate-data": "%", "client-key-data": "%"},
    ],
    ids=["missing", "not PEM", "not base64"],
)
async def test_a_client_certificate_that_cannot_be_loaded_is_told(tmp_path: Path, user: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="name another file with --kubeconfig"):
        await KubeconfigCredentials(kubeconfig(tmp_path, "https://127.0.0.1:1", user), "").current()


async def test_access_has_no_authority_for_plain_http(tmp_path: Path) -> None:
    access = await KubeconfigCredentials(kubeconfig(tmp_path, "http://127.0.0.1:1/", {"token": "t"}), "").current()

    assert (access.base_url, access.tls) == ("http://127.0.0.1:1", None)
    assert orjson.loads(msgspec.json.encode(access.headers)) == {"authorization": "Bearer t"}


async def test_a_second_401_to_the_same_access_changes_nothing(tmp_path: Path, clock: Clock, mounted: Mounted) -> None:
    credentials = InClusterCredentials("127.0.0.1", "443", tmp_path, clock=clock)
    first = await credentials.current()
    mounted.token("second")
    credentials.refused(first)
    second = await credentials.current()
    mounted.token("third")
    credentials.refused(first)

    assert await credentials.current() is second


async def test_a_token_file_is_read_again_after_a_minute(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "token").write_text("first\n")
    credentials = KubeconfigCredentials(
        kubeconfig(tmp_path, "http://127.0.0.1:1", {"tokenFile": "token"}), "", clock=clock
    )
    before = await credentials.current()
    (tmp_path / "token").write_text("second\n")

    assert await credentials.current() is before
    clock.now += REREAD_S
    assert [before.headers, (await credentials.current()).headers] == [
        {"authorization": "Bearer first"},
        {"authorization": "Bearer second"},
    ]


@pytest.mark.parametrize("content", ["", "\n", "a\nb", None], ids=["empty", "newline", "two lines", "missing"])
async def test_a_token_file_that_cannot_be_used_keeps_the_last_good_token_and_begins_with_an_error(
    tmp_path: Path, clock: Clock, content: str | None
) -> None:
    token = tmp_path / "token"
    file = kubeconfig(tmp_path, "http://127.0.0.1:1", {"tokenFile": "token"})
    token.write_text("first")
    credentials = KubeconfigCredentials(file, "", clock=clock)
    before = await credentials.current()
    token.unlink() if content is None else token.write_text(content)
    clock.now += REREAD_S

    assert (await credentials.current()).headers == before.headers
    with pytest.raises(SettingsError, match=r"the user has no credentials that can be sent|No such file|not exist"):
        await KubeconfigCredentials(file, "").current()


async def test_a_kubeconfig_whose_files_stay_the_same_keeps_its_tls_context(
    tmp_path: Path, clock: Clock, authority: trustme.CA
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    file = kubeconfig(tmp_path, "https://127.0.0.1:1", {"token": "t"}, {"certificate-authority": "ca.pem"})
    credentials = KubeconfigCredentials(file, "", clock=clock)
    first = (await credentials.current()).tls
    clock.now += REREAD_S
    second = (await credentials.current()).tls
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    clock.now += REREAD_S
    third = (await credentials.current()).tls

    assert first is second
    assert third is not first


async def test_a_kubeconfig_may_name_the_server_in_the_certificate(tmp_path: Path, authority: trustme.CA) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trusted: dict[str, object] = {"certificate-authority": "ca.pem"}
    server = ScriptedApiServer(Answer(b"welcome"))
    async with server.serve(server_tls(authority, host="api.example.org")):
        with pytest.raises(UnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            await ask(KubeconfigCredentials(kubeconfig(tmp_path, server.url, {"token": "t"}, trusted), ""))
        named = {**trusted, "tls-server-name": "api.example.org"}
        answer = await ask(KubeconfigCredentials(kubeconfig(tmp_path, server.url, {"token": "t"}, named), ""))

    assert answer == b"welcome"


async def test_a_proxy_in_a_kubeconfig_is_refused_in_one_sentence(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, "http://127.0.0.1:1", {"token": "t"}, {"proxy-url": "http://127.0.0.1:2"})

    with pytest.raises(SettingsError, match="proxy-url is not supported; name a cluster that is reached without a"):
        await KubeconfigCredentials(file, "").current()


EXPIRING_PLUGIN = """
import datetime, json, pathlib, sys
runs = pathlib.Path(sys.argv[1])
runs.write_text((runs.read_text() if runs.exists() else "") + "x")
end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=%d)
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                  "status": {"token": "run-" + str(len(runs.read_text())),
                             "expirationTimestamp": end.strftime("%%Y-%%m-%%dT%%H:%%M:%%SZ")}}))
"""


@pytest.mark.parametrize(
    ("lives_s", "good_s", "renewed_s"),
    [
        pytest.param(3600, 3500, 3600, id="an hour"),
        pytest.param(-60, 9, 10, id="ended already"),
        pytest.param(1, 9, 10, id="a second"),
    ],
)
async def test_an_exec_plugin_runs_again_shortly_before_its_credentials_end(
    tmp_path: Path, clock: Clock, lives_s: int, good_s: float, renewed_s: float
) -> None:
    user = plugin(tmp_path, EXPIRING_PLUGIN % lives_s)
    credentials = KubeconfigCredentials(kubeconfig(tmp_path, "http://127.0.0.1:1", user), "", clock=clock)
    first = await credentials.current()
    clock.now += good_s
    assert await credentials.current() is first
    clock.now += renewed_s - good_s

    assert (await credentials.current()).headers == {"authorization": "Bearer run-2"}


async def test_an_exec_plugin_without_an_end_is_not_run_again_after_a_minute(tmp_path: Path, clock: Clock) -> None:
    file = kubeconfig(tmp_path, "http://127.0.0.1:1", plugin(tmp_path, COUNTING_PLUGIN))
    credentials = KubeconfigCredentials(file, "", clock=clock)
    first = await credentials.current()
    clock.now += 86400

    assert await credentials.current() is first


async def test_requests_that_are_refused_together_run_an_exec_plugin_once(tmp_path: Path, clock: Clock) -> None:
    server = ScriptedApiServer(Answer(), *[status_error(401)] * 5, *[Answer()] * 5)
    async with server.serve():
        file = kubeconfig(tmp_path, server.url, plugin(tmp_path, COUNTING_PLUGIN))
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

    assert (tmp_path / "runs").read_text() == "xx"
    assert [asked.headers["authorization"] for asked in server.asked[6:]] == ["Bearer run-2"] * 5


async def test_an_exec_plugin_that_fails_after_a_401_is_told_as_a_reason_to_try_again(
    tmp_path: Path, clock: Clock
) -> None:
    file = kubeconfig(tmp_path, "http://127.0.0.1:1", plugin(tmp_path, COUNTING_PLUGIN))
    credentials = KubeconfigCredentials(file, "", clock=clock)
    access = await credentials.current()
    (tmp_path / "plugin.py").write_text("raise SystemExit(3)")
    credentials.refused(access)

    with pytest.raises(UnavailableError, match=r"refused and cannot be renewed: .*the exec plugin gave no credentials"):
        await credentials.current()
    assert await credentials.current() is access, "until it may run again"


async def test_credentials_that_nobody_can_send_are_told_and_nothing_is_sent(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, "http://127.0.0.1:1", {"token": "a\nb"})

    with pytest.raises(SettingsError, match="the user has no credentials that can be sent; look at its token"):
        await KubeconfigCredentials(file, "").current()


async def test_a_kubeconfig_without_users_is_anonymous(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, "http://127.0.0.1:1", None)

    assert (await KubeconfigCredentials(file, "").current()).headers == {}


@pytest.mark.parametrize(
    ("token", "subject"),
    [
        pytest.param(
            b"e30.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6YTpiIn0.x\n", "system:serviceaccount:a:b", id="a token"
        ),
        pytest.param(b"opaque", "", id="no JWT"),
        pytest.param(b"a.!!!.c", "", id="a JWT that is broken"),
    ],
)
def test_a_mounted_token_says_whose_it_is(tmp_path: Path, token: bytes, subject: str) -> None:
    (tmp_path / "token").write_bytes(token)
    assert service_account(tmp_path) == subject


def test_without_a_token_nobody_is_named(tmp_path: Path) -> None:
    assert service_account(tmp_path) == ""
