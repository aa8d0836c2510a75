from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import trustme

from support.api_server import Answer, ScriptedApiServer
from support.background import Clock
from support.credentials import bearer, reread
from support.hanging import hanging
from support.tls import server_tls
from toolset.adapters.kube.credentials.providers import (
    REREAD_S,
    InClusterCredentials,
    service_account,
)
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.wire import Request
from toolset.errors import SettingsError, UnavailableError

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


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def pod(tmp_path: Path, mounted: Mounted, clock: Clock) -> AsyncIterator[InClusterCredentials]:
    del mounted
    async with InClusterCredentials("127.0.0.1", "443", tmp_path, clock=clock) as credentials:
        yield credentials


@pytest.mark.parametrize(
    ("host", "url"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")], ids=["IPv4", "IPv6"]
)
async def test_a_pod_reaches_the_address_it_was_given(tmp_path: Path, mounted: Mounted, host: str, url: str) -> None:
    del mounted
    async with InClusterCredentials(host, "443", tmp_path) as credentials:
        access = await credentials.current()

    assert (access.base_url, access.headers) == (url, bearer("first"))


async def test_a_pods_token_and_authority_work_on_the_wire(
    tmp_path: Path, clock: Clock, mounted: Mounted, authority: trustme.CA
) -> None:
    server = ScriptedApiServer(Answer(), Answer())
    async with server.serve(server_tls(authority)):
        credentials = InClusterCredentials("127.0.0.1", server.url.rpartition(":")[2], tmp_path, clock=clock)
        async with KubeTransport(credentials, "test/1") as transport:
            await transport.send(GET)
            mounted.token("second")
            await reread(credentials, clock)
            await transport.send(GET)

    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer first", "Bearer second"]


async def test_another_authority_is_not_trusted(tmp_path: Path, mounted: Mounted) -> None:
    del mounted
    server = ScriptedApiServer(Answer())
    async with server.serve(server_tls(trustme.CA())):
        credentials = InClusterCredentials("127.0.0.1", server.url.rpartition(":")[2], tmp_path)
        async with KubeTransport(credentials, "test/1") as transport:
            with pytest.raises(UnavailableError, match="not accepted: unable to get local issuer certificate"):
                await transport.send(GET)

    assert server.asked == []


async def test_files_are_not_read_again_within_a_minute(pod: InClusterCredentials, mounted: Mounted) -> None:
    first = await pod.current()
    mounted.token("second")

    assert await pod.current() is first


async def test_a_401_reads_the_files_at_once(pod: InClusterCredentials, mounted: Mounted) -> None:
    await pod.current()
    mounted.token("second")
    pod.refused(await pod.current())

    assert (await pod.current()).headers == bearer("second")


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
    pod: InClusterCredentials, clock: Clock, mounted: Mounted, content: str | bytes | None
) -> None:
    await pod.current()
    mounted.token(content)

    assert (await reread(pod, clock)).headers == bearer("first")

    mounted.token("third")
    assert (await reread(pod, clock)).headers == bearer("third")


@pytest.mark.parametrize("content", ["", None, "no certificate", b"\xff"])
async def test_an_authority_that_cannot_be_used_keeps_the_last_good_one(
    pod: InClusterCredentials, clock: Clock, mounted: Mounted, content: str | bytes | None
) -> None:
    before = await pod.current()
    mounted.authority(content)

    assert (await reread(pod, clock)).tls is before.tls


async def test_a_new_authority_makes_a_new_context_and_an_old_one_does_not(
    pod: InClusterCredentials, clock: Clock, mounted: Mounted
) -> None:
    first = (await pod.current()).tls
    assert (await reread(pod, clock)).tls is first
    mounted.authority(trustme.CA().cert_pem.bytes())

    assert (await reread(pod, clock)).tls is not first


async def test_comments_and_blocks_that_are_cut_short_do_not_void_a_pods_authority(
    tmp_path: Path, mounted: Mounted, authority: trustme.CA
) -> None:
    whole = authority.cert_pem.bytes()
    mounted.authority("# Zertifizierungsstelle für Prüfungen\n".encode() + whole + whole[: len(whole) // 2])
    server = ScriptedApiServer(Answer(b"welcome"))
    async with server.serve(server_tls(authority)):
        credentials = InClusterCredentials("127.0.0.1", server.url.rpartition(":")[2], tmp_path)
        async with KubeTransport(credentials, "test/1") as transport:
            assert await transport.send(GET) == b"welcome"


@pytest.mark.parametrize(
    ("token", "authority_content", "file", "reason"),
    [
        pytest.param(None, b"", "token", "it cannot be read (No such file or directory)", id="no token"),
        pytest.param("two words", b"", "token", "this is no token", id="a token that is none"),
        pytest.param("good", None, "ca.crt", "it cannot be read (No such file or directory)", id="no authority"),
        pytest.param("good", b"x", "ca.crt", "no certificate of an authority can be read: it holds no", id="no PEM"),
        pytest.param(
            "good",
            b"-----BEGIN CERTIFICATE-----\nMII",
            "ca.crt",
            "no certificate of an authority can be read: no PEM block of",
            id="cut",
        ),
        pytest.param(
            "good",
            b"-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n",
            "ca.crt",
            "no certificate of an authority can be read: ",
            id="no certificate",
        ),
    ],
)
async def test_a_pod_without_token_or_authority_hears_which_file_and_why(
    pod: InClusterCredentials,
    tmp_path: Path,
    mounted: Mounted,
    token: str | None,
    authority_content: bytes | None,
    file: str,
    reason: str,
) -> None:
    mounted.token(token)
    mounted.authority(authority_content)

    with pytest.raises(SettingsError) as caught:
        await pod.current()
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / file}: {reason}")
    assert text.endswith("mount the token and the CA of a ServiceAccount, or name a kubeconfig with --kubeconfig")


async def test_a_token_that_comes_later_than_the_authority_is_enough(
    pod: InClusterCredentials, mounted: Mounted
) -> None:
    mounted.token(None)
    with pytest.raises(SettingsError):
        await pod.current()
    mounted.token("late")

    assert (await pod.current()).headers == bearer("late")


async def test_a_token_whose_read_hangs_keeps_no_request_beyond_its_deadline(
    pod: InClusterCredentials, tmp_path: Path, mounted: Mounted
) -> None:
    with hanging(tmp_path / "token"):
        with anyio.move_on_after(0.05) as patience:
            await pod.current()
        assert patience.cancelled_caught
    mounted.token("back")
    with pytest.raises(SettingsError, match="this is no token"):  # what hung has ended without a word
        await pod.current()

    assert (await pod.current()).headers == bearer("back")


async def test_a_token_whose_read_hangs_leaves_the_last_good_one_in_use(
    pod: InClusterCredentials, tmp_path: Path, clock: Clock
) -> None:
    before = await pod.current()
    with hanging(tmp_path / "token"):
        clock.now += REREAD_S
        with anyio.fail_after(1):
            for _ in range(10):
                assert await pod.current() is before
                clock.now += REREAD_S


async def test_a_second_401_to_the_same_access_changes_nothing(pod: InClusterCredentials, mounted: Mounted) -> None:
    first = await pod.current()
    mounted.token("second")
    pod.refused(first)
    second = await pod.current()
    mounted.token("third")
    pod.refused(first)

    assert await pod.current() is second


async def test_a_pod_says_who_it_is(pod: InClusterCredentials, mounted: Mounted) -> None:
    mounted.token("e30.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6YTpiIn0.x")

    origin = (await pod.current()).origin
    assert str(origin) == ("cluster https://127.0.0.1:443, context in-cluster, identity system:serviceaccount:a:b")


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
