"""Leadership over an hour, with credentials that take seconds to get."""

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import pytest
from typing_extensions import override

from support.background import running
from support.leases import FakeLeaseClient, FakeLeases
from toolset.adapters.kube.credentials.renewal import Loaded, Renewal, ending
from toolset.errors import ForbiddenError, SettingsError
from toolset.model import Lease, LeaseSpec
from toolset.runtime.election import DEFAULT_OPTIONS, Leadership
from toolset.runtime.elector import Elector

T = TypeVar("T")


class Token:
    """A token that the API server takes until ``ends_at``."""

    def __init__(self, lives_s: float) -> None:
        self.ends_at = anyio.current_time() + lives_s


class Authenticated(FakeLeaseClient):
    """A client whose every request needs a token."""

    def __init__(self, server: FakeLeases, renewal: Renewal[Token]) -> None:
        super().__init__(server)
        self._renewal = renewal

    @override
    async def read(self) -> Lease | None:
        return await self._with_token(super().read)

    @override
    async def create(self, spec: LeaseSpec) -> Lease:
        return await self._with_token(lambda: FakeLeaseClient.create(self, spec))

    @override
    async def replace(self, current: Lease, spec: LeaseSpec) -> Lease:
        return await self._with_token(lambda: FakeLeaseClient.replace(self, current, spec))

    async def _with_token(self, request: Callable[[], Awaitable[T]]) -> T:
        token = await self._renewal.current()
        if anyio.current_time() >= token.ends_at:
            self._renewal.refused(token)
            raise ForbiddenError("401")
        return await request()


@pytest.mark.parametrize("lives_s", [45.0, 60.0, 900.0])
@pytest.mark.parametrize(
    ("takes_s", "says_when"),
    [pytest.param(7.0, True, id="renewed in time"), pytest.param(4.0, False, id="renewed when it is refused")],
)
async def test_an_exec_plugin_of_seconds_does_not_cost_the_leadership(
    lives_s: float, takes_s: float, *, says_when: bool
) -> None:
    led: list[Leadership] = []

    async def load() -> Loaded[Token]:
        await anyio.sleep(takes_s)
        return ending(Token(lives_s), lives_s if says_when else math.inf)

    async def lead(leadership: Leadership) -> None:
        led.append(leadership)
        await anyio.sleep_forever()

    async with Renewal(load) as renewal:
        elector = Elector(Authenticated(FakeLeases(), renewal), "a", jitter=lambda: 1.0, options=DEFAULT_OPTIONS)

        async def run() -> None:
            await elector.run(lead)

        async with running(run):
            await anyio.sleep(3600)
            assert elector.healthy()

    assert len(led) == 1


async def test_a_plugin_that_fails_for_a_while_does_not_end_the_election() -> None:
    led: list[Leadership] = []
    broken_until = anyio.current_time() + 40

    async def load() -> Loaded[Token]:
        await anyio.sleep(7.0)
        if anyio.current_time() < broken_until:
            raise SettingsError("the exec plugin failed")
        return ending(Token(math.inf), math.inf)

    async def lead(leadership: Leadership) -> None:
        led.append(leadership)
        await anyio.sleep_forever()

    async with Renewal(load) as renewal:
        elector = Elector(Authenticated(FakeLeases(), renewal), "a", jitter=lambda: 1.0, options=DEFAULT_OPTIONS)

        async def run() -> None:
            await elector.run(lead)

        async with running(run):
            await anyio.sleep(120)

    assert len(led) == 1
