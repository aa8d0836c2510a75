"""What this process lacks is no verdict on a backend."""

import errno

import pytest
from typing_extensions import override

from support.api_server import Answer, ScriptedApiServer
from support.descriptors import no_descriptor_left, no_thread_left
from toolset.adapters.probe import AddressGuard, HttpProber, ProberOptions, Resolver
from toolset.adapters.probe.error import is_exhaustion
from toolset.adapters.probe.limits import LOOKUPS
from toolset.core.candidate import Candidate, Evidence, HealthCheck
from toolset.core.health.thresholds import EXHAUSTED, Failure
from toolset.model import Key


class Anywhere(AddressGuard):
    @override
    def objection(self, address: str) -> str:
        del address
        return ""


def candidate(port: int, *, address: str = "127.0.0.1", scheme: str = "http") -> Candidate:
    return Candidate(
        key=Key("monitoring", "prometheus"),
        type="prometheus",
        product="prometheus",
        evidence=Evidence.LABEL,
        scheme=scheme,
        host="localhost",
        port=port,
        path="",
        check=HealthCheck("/-/healthy"),
        address=address,
    )


@pytest.mark.parametrize("address", ["127.0.0.1", ""], ids=["connecting", "resolving"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_probe_without_a_descriptor_is_no_verdict(address: str, scheme: str) -> None:
    server = ScriptedApiServer(Answer(b"ok"), Answer(b"ok"))
    async with server.serve():
        prober = HttpProber(ProberOptions(), guard=Anywhere())
        asked = candidate(int(server.url.rpartition(":")[2]), address=address, scheme=scheme)
        with no_descriptor_left():
            assert await prober.probe(asked) == EXHAUSTED
        assert (await prober.probe(asked)).alive == (scheme == "http")


async def test_a_probe_without_a_thread_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    prober = HttpProber(ProberOptions(), guard=Anywhere())
    with no_thread_left(monkeypatch):
        assert await prober.probe(candidate(1, address="")) == EXHAUSTED
    assert (await prober.probe(candidate(1, address=""))).failure is Failure.REFUSED


async def test_the_resolver_keeps_its_slots_when_no_thread_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(lambda _: ("10.0.0.1",))
    with no_thread_left(monkeypatch):
        for number in range(2 * LOOKUPS):
            with pytest.raises(RuntimeError, match="thread"):
                await resolver.addresses(f"host-{number}.example")
    assert await resolver.addresses("host-0.example") == ("10.0.0.1",)


async def test_a_look_up_without_memory_keeps_its_slot_and_is_no_verdict() -> None:
    def look_up(_: str) -> tuple[str, ...]:
        raise MemoryError

    resolver = Resolver(look_up)
    for number in range(2 * LOOKUPS):
        with pytest.raises(OSError, match="lack of resources"):
            await resolver.addresses(f"host-{number}.example")


@pytest.mark.parametrize(
    ("error", "exhausted"),
    [
        (OSError(errno.EMFILE, ""), True),
        (OSError(errno.ENOBUFS, ""), True),
        (OSError(errno.ECONNREFUSED, ""), False),
        (MemoryError(), True),
        (RuntimeError("can't start new thread"), True),
        (RuntimeError("a bug"), False),
        (ExceptionGroup("", [OSError(errno.ECONNREFUSED, ""), OSError(errno.ENFILE, "")]), True),
    ],
)
def test_exhaustion_is_found_among_the_causes_of_an_error(error: Exception, *, exhausted: bool) -> None:
    outer = OSError("all attempts failed")
    outer.__cause__ = error
    assert is_exhaustion(error) == is_exhaustion(outer) == exhausted


async def test_a_bug_in_a_probe_is_not_taken_for_exhaustion() -> None:
    def look_up(_: str) -> tuple[str, ...]:
        return ("127.0.0.1",)

    class Broken(AddressGuard):
        @override
        def objection(self, address: str) -> str:
            raise RuntimeError(address)

    prober = HttpProber(ProberOptions(), guard=Broken(), resolver=Resolver(look_up))
    with pytest.raises(RuntimeError, match=r"127\.0\.0\.1"):
        await prober.probe(candidate(1))
