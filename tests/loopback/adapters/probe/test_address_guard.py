import threading
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

import anyio
import pytest
from anyio.abc import SocketStream
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from support.api_server import Answer, ScriptedApiServer, raw_server, request_head, saying, silence
from support.build import candidate
from toolset.adapters.probe import AddressGuard, HttpProber, ProberOptions, Resolver
from toolset.adapters.probe.limits import LOOKUPS
from toolset.core.health.thresholds import Failure, Outcome

GUARD = AddressGuard(["192.168.7.0/24", "fd12:3456::/32", "10.9.9.9"])
ALIVE = Outcome(alive=True, status=200)
OK = b"HTTP/1.1 200 OK\r\n\r\n"
_TEREDO_CLIENT = 0xFFFF_FFFF ^ int(IPv4Address("127.0.0.1"))


class NoGuard(AddressGuard):
    """Lets everything be dialled, for servers on loopback."""

    @override
    def objection(self, address: str) -> str:
        del address
        return ""


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "link-local"),
        ("fd00:ec2::254", "metadata"),
        ("fd00:ec2::253", "metadata"),
        ("fd00:ec2:0:1::23", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("192.0.0.192", "metadata"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("255.255.255.255", "broadcast"),
        ("192.168.7.1", "refused by the settings"),
        ("10.9.9.9", "refused by the settings"),
        ("fd12:3456::1", "refused by the settings"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "metadata"),
        ("::ffff:192.168.7.9", "refused by the settings"),
        ("::127.0.0.1", "loopback"),
        ("::ffff:0:127.0.0.1", "loopback"),
        ("64:ff9b::169.254.169.254", "metadata"),
        ("64:ff9b:1::127.0.0.1", "translated"),
        ("64:ff9b:1:7f00:0:100::", "translated"),
        ("2002:7f00:1::1", "loopback"),
        ("2002:a9fe:a9fe::", "metadata"),
        (str(IPv6Address((0x2001_0000_4136_E378 << 64) | _TEREDO_CLIENT)), "loopback"),
        ("2001:0:7f00:1::1", "loopback"),
        ("fe80::5efe:10.0.0.1", "link-local"),
        ("fd00::5efe:127.0.0.1", "loopback"),
        ("fd00::200:5efe:169.254.169.254", "metadata"),
        ("", "not an address"),
        ("localhost", "not an address"),
        ("127.1", "not an address"),
        ("0x7f.0.0.1", "not an address"),
    ],
)
def test_an_address_that_only_this_pod_can_reach_is_refused_in_every_disguise(address: str, kind: str) -> None:
    assert GUARD.objection(address) == kind


@pytest.mark.parametrize(
    "address",
    [
        "10.96.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "203.0.113.7",
        "fd00:10:96::1",
        "2001:db8::1",
        "2002:a00:1::1",
        "64:ff9b::10.0.0.1",
        "::ffff:10.0.0.1",
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    ],
)
def test_an_address_of_a_cluster_or_of_the_world_is_not(address: str) -> None:
    assert GUARD.objection(address) == ""


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str) | st.text(max_size=40))
def test_no_text_makes_the_guard_raise(address: str) -> None:
    assert isinstance(GUARD.objection(address), str)


def test_a_range_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        AddressGuard(["here"])


async def probe(answers: Sequence[str], port: int = 9090) -> tuple[Outcome, list[str]]:
    """Probe a headless Service whose name resolves to ``answers``; return what was looked up as well."""
    asked: list[str] = []

    def look_up(host: str) -> Sequence[str]:
        asked.append(host)
        return answers

    prober = HttpProber(ProberOptions(1), resolver=Resolver(look_up))
    return await prober.probe(candidate(address="", port=port)), asked


async def test_one_refused_address_speaks_against_the_whole_name() -> None:
    outcome, asked = await probe(["192.0.2.1", "127.0.0.1"])
    assert outcome == Outcome(alive=False, detail="its address may not be dialled: loopback", failure=Failure.ADDRESS)
    assert asked == ["prometheus.monitoring.svc.cluster.local."]


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("prometheus.monitoring.svc.cluster.local", "prometheus.monitoring.svc.cluster.local."),
        ("prometheus.monitoring.svc.cluster.local.", "prometheus.monitoring.svc.cluster.local."),
        ("prometheus.monitoring.svc", "prometheus.monitoring.svc"),  # an admin's own word, which needs the search list
        ("prometheus.example.org", "prometheus.example.org"),
    ],
)
async def test_the_name_of_a_service_is_looked_up_without_the_search_list(host: str, asked: str) -> None:
    names: list[str] = []

    def look_up(name: str) -> Sequence[str]:
        names.append(name)
        return ()

    assert await Resolver(look_up).addresses(host) == ()
    assert names == [asked]


async def test_a_cluster_ip_needs_no_resolver_and_is_checked_too() -> None:
    def look_up(host: str) -> Sequence[str]:
        raise AssertionError(host)

    prober = HttpProber(ProberOptions(1), resolver=Resolver(look_up))
    outcome = await prober.probe(candidate(address="169.254.169.254"))
    assert outcome.detail == "its address may not be dialled: metadata"


async def test_a_refused_address_is_not_dialled() -> None:
    reached = False

    async def talk(stream: SocketStream) -> None:
        nonlocal reached
        reached = True
        await stream.aclose()

    async with raw_server(talk) as port:
        outcome, _ = await probe(["::ffff:127.0.0.1"], port)
        await anyio.wait_all_tasks_blocked()
    assert outcome.failure is Failure.ADDRESS
    assert not reached


async def test_a_resolver_that_changes_its_answer_cannot_come_between_check_and_connection() -> None:
    answers = [["10.0.0.1", "10.0.0.2"], ["127.0.0.1"]]
    checked: list[str] = []

    class Noting(AddressGuard):
        @override
        def objection(self, address: str) -> str:
            checked.append(address)
            return super().objection(address)

    resolver = Resolver(lambda _: answers.pop(0))
    prober = HttpProber(ProberOptions(0.2), resolver=resolver, guard=Noting())
    await prober.probe(candidate(address=""))
    assert (checked, len(answers)) == (["10.0.0.1", "10.0.0.2"], 1)  # looked up once, dialled as checked
    outcome = await prober.probe(candidate(address=""))
    assert outcome.failure is Failure.ADDRESS


@pytest.mark.parametrize(
    "addresses",
    [
        pytest.param(["127.0.0.2", "127.0.0.1"], id="the first refuses"),
        pytest.param(["::1", "127.0.0.1"], id="dual-stack, and only IPv4 answers"),
        pytest.param(["192.0.2.1", "127.0.0.1"], id="the first says nothing"),
    ],
)
async def test_of_several_addresses_the_first_that_answers_is_asked(addresses: list[str]) -> None:
    async with ScriptedApiServer(Answer()).serve() as server:
        resolver = Resolver(lambda _: addresses)
        prober = HttpProber(ProberOptions(3), resolver=resolver, guard=NoGuard())
        asked = candidate(address="", port=int(server.url.rpartition(":")[2]))
        assert await prober.probe(asked) == ALIVE


async def test_an_ipv6_only_service_is_asked_at_its_address_under_its_name() -> None:
    heads: list[bytes] = []

    async def talk(stream: SocketStream) -> None:
        async with stream:
            heads.append(await request_head(stream))
            await stream.send(OK)

    async with await anyio.create_tcp_listener(local_host="::1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, talk)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - this is no Django
        prober = HttpProber(ProberOptions(3), guard=NoGuard())
        assert await prober.probe(candidate(address="::1", port=port)) == ALIVE
        assert f"Host: prometheus.monitoring.svc.cluster.local:{port}".encode() in heads[0]
        group.cancel_scope.cancel()


async def test_an_address_without_a_route_is_said_to_be_so() -> None:
    prober = HttpProber(ProberOptions(1), guard=NoGuard())
    outcome = await prober.probe(candidate(address="fe80::1"))  # which device is not said
    assert outcome.failure is Failure.REFUSED


async def test_a_name_that_nobody_knows_is_not_alive() -> None:
    outcome, _ = await probe([])
    detail = "connection refused or host not found"
    assert outcome == Outcome(alive=False, detail=detail, failure=Failure.REFUSED)


class Wedged:
    """A DNS that says nothing until it is let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go_on = threading.Event()

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        self.go_on.wait()
        return ["192.0.2.1"]


async def test_a_dns_that_hangs_runs_out_of_time_and_holds_no_more_than_its_own_threads() -> None:
    wedged = Wedged()
    outcomes: list[Outcome] = []
    prober = HttpProber(ProberOptions(0.3, 100), resolver=Resolver(wedged), guard=NoGuard())
    async with ScriptedApiServer(Answer()).serve() as server:

        async def one(number: int) -> None:
            outcomes.append(await prober.probe(candidate(f"p{number}", address="")))

        async with anyio.create_task_group() as group:
            for number in range(3 * LOOKUPS):
                group.start_soon(one, number)
            port = int(server.url.rpartition(":")[2])
            assert await prober.probe(candidate(address="127.0.0.1", port=port)) == ALIVE

    assert len(wedged.asked) == LOOKUPS
    assert {outcome.failure for outcome in outcomes} == {Failure.TIMEOUT}
    wedged.go_on.set()


async def test_who_asks_for_the_same_name_shares_one_answer_and_the_next_one_asks_again() -> None:
    wedged = Wedged()
    resolver = Resolver(wedged)
    answers: list[Sequence[str]] = []

    async def ask() -> None:
        answers.append(await resolver.addresses("a"))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        wedged.go_on.set()
    assert (wedged.asked, answers) == (["a"], [["192.0.2.1"]] * 5)
    await ask()
    assert wedged.asked == ["a", "a"]


async def test_names_wait_for_a_thread_and_get_one() -> None:
    wedged = Wedged()
    resolver = Resolver(wedged)
    async with anyio.create_task_group() as group:
        for number in range(2 * LOOKUPS):
            group.start_soon(resolver.addresses, f"p{number}")
        await anyio.wait_all_tasks_blocked()
        wedged.go_on.set()
    assert len(wedged.asked) == 2 * LOOKUPS


async def test_an_address_needs_no_thread() -> None:
    def look_up(host: str) -> Sequence[str]:
        raise AssertionError(host)

    assert await Resolver(look_up).addresses("::1") == ("::1",)


async def test_the_systems_resolver_knows_localhost() -> None:
    assert {"127.0.0.1", "::1"} & set(await Resolver().addresses("localhost"))


async def test_two_at_once_ask_one_host_and_waiting_for_that_costs_a_probe_no_time() -> None:
    in_flight, most = 0, 0

    async def slow(stream: SocketStream) -> None:
        nonlocal in_flight, most
        await request_head(stream)
        in_flight += 1
        most = max(most, in_flight)
        await anyio.sleep(0.3)
        in_flight -= 1
        await stream.send(OK)

    outcomes: list[Outcome] = []
    async with raw_server(slow) as port:
        prober = HttpProber(ProberOptions(0.5), guard=NoGuard())

        async def one(name: str) -> None:
            outcomes.append(await prober.probe(candidate(name, address="127.0.0.1", port=port)))

        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(one, f"p{number}")

    assert most == 2
    assert outcomes == [ALIVE] * 4


async def test_who_waits_too_long_for_its_host_is_deferred() -> None:
    outcomes: list[Outcome] = []
    async with raw_server(silence) as port:
        prober = HttpProber(ProberOptions(0.2), guard=NoGuard())

        async def one() -> None:
            outcomes.append(await prober.probe(candidate(address="127.0.0.1", port=port)))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(one)

    words = [outcome.word for outcome in outcomes]
    assert (len(words), set(words)) == (5, {"timeout", "put_off"})


@pytest.mark.parametrize(
    ("spoken", "detail"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n", "it sends too many headers", id="101"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 4000, "it does not speak HTTP", id="an endless head"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 2000, "its headers are too long", id="endless Continue"),
        pytest.param(b"HTTP/1.1 101 Switching\r\n\r\n", "it does not speak HTTP", id="another protocol"),
    ],
)
async def test_a_head_has_its_limits(spoken: bytes, detail: str) -> None:
    async with raw_server(saying(spoken)) as port:
        prober = HttpProber(ProberOptions(5), guard=NoGuard())
        outcome = await prober.probe(candidate(address="127.0.0.1", port=port))
    assert outcome == Outcome(alive=False, detail=detail, failure=Failure.PROTOCOL)


async def test_a_head_of_a_hundred_headers_is_taken() -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 100 + b"\r\n"
    async with raw_server(saying(head)) as port:
        prober = HttpProber(ProberOptions(5), guard=NoGuard())
        assert await prober.probe(candidate(address="127.0.0.1", port=port)) == ALIVE


async def test_a_body_in_a_million_pieces_is_read_no_further_than_a_hundred_or_so() -> None:
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100_000
    async with raw_server(saying(body)) as port:
        prober = HttpProber(ProberOptions(5), guard=NoGuard())
        assert await prober.probe(candidate(address="127.0.0.1", port=port)) == ALIVE


async def test_a_backend_that_resets_is_not_alive() -> None:
    async def talk(stream: SocketStream) -> None:
        await request_head(stream)
        raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 - this is no Django
        raw.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: a reset instead of an end

    async with raw_server(talk) as port:
        prober = HttpProber(ProberOptions(5), guard=NoGuard())
        outcome = await prober.probe(candidate(address="127.0.0.1", port=port))
    assert outcome.failure is Failure.PROTOCOL
