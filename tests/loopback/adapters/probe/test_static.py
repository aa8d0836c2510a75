"""Static backends: guard exceptions and headers are for one entry alone, and no proxy is on their way."""

from pathlib import Path

import msgspec
import pytest

from support.api_server import Answer, FixedCredentials, ScriptedApiServer
from support.build import candidate
from toolset.adapters.probe import HttpProber, ProberOptions, StaticConfig
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.health.http_config import AddressRange
from toolset.core.publishing.static_backends import StaticBackend, static_candidates

HEALTHY = Answer(b"Prometheus Server is Healthy.\n")
LOOPBACK = ("127.0.0.0/8",)


def backend(url: str, **fields: object) -> StaticBackend:
    entry = {"type": "prometheus", "name": "prod", "url": url, "health_path": "/-/healthy", **fields}
    return msgspec.convert(entry, StaticBackend, dec_hook=lambda _, value: AddressRange.parse(value))


def options(*backends: StaticBackend) -> ProberOptions:
    return ProberOptions(static={each.key: StaticConfig(each.http_config, each.allowed_ranges) for each in backends})


async def probed(prober: HttpProber, entry: StaticBackend) -> str:
    (tool,) = static_candidates([entry], BUILT_IN).values()
    outcome = await prober.probe(tool)
    return "" if outcome.alive else outcome.detail


async def test_an_address_that_probes_refuse_is_dialled_for_the_entry_that_allows_it() -> None:
    async with ScriptedApiServer(HEALTHY).serve() as server:
        allowed, refused = backend(server.url, allowed_ranges=LOOPBACK), backend(server.url, name="other")
        prober = HttpProber(options(allowed, refused))
        assert await probed(prober, refused) == "its address may not be dialled: loopback"
        assert await probed(prober, allowed) == ""
        service = candidate("prod", port=int(server.url.rpartition(":")[2]), address="127.0.0.1")
        assert (await prober.probe(service)).detail == "its address may not be dialled: loopback"


@pytest.mark.parametrize("address", ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200"])
async def test_an_address_of_cloud_metadata_is_never_dialled(address: str) -> None:
    entry = backend(f"http://{address}", allowed_ranges=("0.0.0.0/0", "::/0"))
    assert await probed(HttpProber(options(entry)), entry) == "its address may not be dialled: metadata"


async def test_headers_are_sent_to_their_entry_only(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("Bearer one\n")
    async with ScriptedApiServer(HEALTHY, HEALTHY, HEALTHY).serve() as server:
        own = backend(server.url, allowed_ranges=LOOPBACK, headers_from={"Authorization": str(secret)})
        other = backend(server.url, allowed_ranges=LOOPBACK, name="other")
        moved = {"prod.prod.svc.cluster.local:9090": server.url.rpartition("//")[2]}
        prober = HttpProber(msgspec.structs.replace(options(own, other), connect_to=moved))
        assert await probed(prober, own) == ""
        assert await probed(prober, other) == ""
        assert (await prober.probe(candidate("prod", namespace="prod"))).alive
    assert [request.headers.get("authorization") for request in server.asked] == ["Bearer one", None, None]


async def test_a_static_backend_is_probed_directly_where_services_are_probed_through_the_api_server() -> None:
    async with ScriptedApiServer().serve() as api_server, ScriptedApiServer(HEALTHY).serve() as server:
        entry = backend(server.url, allowed_ranges=LOOPBACK)
        prober = HttpProber(options(entry), api_server=FixedCredentials(api_server.url))
        assert await probed(prober, entry) == ""
    assert [request.path for request in server.asked] == ["/-/healthy"]
