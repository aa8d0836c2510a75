"""What an attacker's namespace does costs a victim's namespace nothing, in a whole pipeline."""

import anyio
import msgspec
import pytest

from support.leader import ClusterLeader
from support.prober import HUNG, FakeProber
from support.waiting import until
from toolset.config.loader import load
from toolset.model import Service

HANGING = 3000


def grafana(namespace: str, name: str, version: int = 1, port: int = 3000) -> Service:
    metadata = {"name": name, "namespace": namespace, "uid": f"{namespace}-{name}", "resourceVersion": str(version)}
    spec = {"selector": {"app": "grafana", "name": name}, "ports": [{"name": "http", "port": port}]}
    return msgspec.convert({"metadata": {**metadata, "labels": {"app": "grafana"}}, "spec": spec}, Service)


@pytest.mark.alone
async def test_a_new_tool_is_published_in_time_while_an_attacker_has_thousands_that_hang_and_one_that_flaps() -> None:
    prober = FakeProber()
    leader = ClusterLeader(prober)
    hanging = [grafana("attacker", f"hangs-{number:04}") for number in range(HANGING)]
    for service in hanging:
        prober.outcomes[service.key], prober.times_s[service.key] = HUNG, 2.0
    leader.services.replace([grafana("victim", "first"), *hanging], "1")
    leader.config_maps.replace([], "1")

    async def flap() -> None:
        for number in range(10_000):
            leader.services.apply(grafana("another", "flaps", 1000 + number, 3000 + number % 2))
            await anyio.sleep(0.2)

    async with leader.cluster, anyio.create_task_group() as attack:
        leader.cluster.create("Namespace", {"metadata": {"name": "kubernaut-system"}})
        async with leader.leading(load("health: {timeout: 2s}", {}, {}), leader.cluster.url) as working:
            await until(lambda: "first.victim" in leader.documents(), within_s=15)
            attack.start_soon(flap)
            await anyio.sleep(2)
            for number in range(3):
                leader.services.apply(grafana("victim", f"new-{number}", 5_000_000 + number))
                await until(lambda: f"new-{number}.victim" in leader.documents(), within_s=2)  # noqa: B023
                await anyio.sleep(0.5)
            assert "another" in {asked.key.namespace for asked in prober.asked}
            with anyio.fail_after(5):  # nor does a shutdown wait for all of them
                await working.drain()
            attack.cancel_scope.cancel()
