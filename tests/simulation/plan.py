"""What happens in a world: long quiet stretches and storms, drawn from the seed."""

import logging
import math
from collections.abc import Callable, Iterable
from typing import Final

from integration.cluster import KUBERNETES_KEY, Tool
from simulation.backends import OUTCOMES
from simulation.link import Weather
from simulation.places import LEASE_PLACE, NOTES, OVERRIDES, POOL, SPACES, SYSTEM, TARGET
from simulation.reference import TRUST
from simulation.replica import Replica
from simulation.world import (
    HOUR_S,
    QUIET_BOUND_S,
    STORM_BOUND_S,
    LogLines,
    World,
)
from toolset.sim.kinds import CONFIG_MAP, NAMESPACE, SERVICE, Place
from toolset.sim.statuses import Object, Refused

QUIET_RESTORES: Final = 0.2
"""How often etcd is restored in a quiet stretch. Then the leader stays, which no other fault makes list again."""
ERRORS: Final = ((401,), (403,), (429,), (500,), (503,), (504,), (429, 500, 503, 504), (409,))


class Plan:
    """The people and the faults of one world; each action returns nothing and notes what it did.

    Args:
        world: The world.
        skip: Numbers of storm steps that are left out, to find the smallest plan that still fails.
    """

    def __init__(self, world: World, skip: frozenset[int] = frozenset()) -> None:
        self.world = world
        self.chance = world.chance
        self.skip = skip
        self.steps = 0
        self._serial = 0
        self._people: tuple[tuple[int, Callable[[], None]], ...] = (
            (8, self._toggle),
            (3, self._prioritise),
            (3, self._opt),
            (5, self._sicken),
            (6, self._recover),
            (3, self._edit_notes),
            (3, self._override),
            (3, self._edit_ours),
            (1, self._replace),
            (1, self._delete_config_map),
            (3, self._other_service),
            (1, self._end_namespace),
            (2, self._label),
        )
        self._faults: tuple[tuple[int, Callable[[Replica], None]], ...] = (
            (6, self._errors),
            (4, self._lose_answers),
            (3, self._slow),
            (4, self._partition),
            (6, self._cut),
            (3, self._freeze),
            (3, self._pause),
            (2, self._suspend),
            (3, self._kill),
            (2, self._terminate),
            (2, self._skew),
            (2, self._compact),
            (1, self._delete_lease),
            (1, self._throttle),
            (1, self._restore),
            (1, self._fight),
            (2, self._refuse_writes),
            (8, self._heal),
        )

    def run(self, hours: float) -> None:
        """Run the world for so long.

        Raises:
            Violation: Something did not hold.
        """
        world, chance = self.world, self.chance
        log, handler = logging.getLogger("toolset"), LogLines(world)
        before = log.level, log.propagate
        log.setLevel(logging.INFO if world.verbose else logging.WARNING)
        log.propagate = False
        log.addHandler(handler)
        try:
            world.begin()
            self._settle(QUIET_BOUND_S)
            end = hours * HOUR_S
            while world.scheduler.now < end:
                if chance.random() < 0.5:
                    self._quiet(min(chance.expovariate(1 / (3 * HOUR_S)), end - world.scheduler.now))
                else:
                    self._storm(chance.uniform(60.0, 1200.0))
        finally:
            log.removeHandler(handler)
            log.setLevel(before[0])
            log.propagate = before[1]
            for each in world.replicas:
                each.kill()

    def _quiet(self, seconds: float) -> None:
        """Let hours pass, with a change now and then."""
        self.world.coverage.met("state: quiet stretch")
        end = self.world.scheduler.now + seconds
        while self.world.scheduler.now < end:
            self.world.advance(self.chance.uniform(60.0, HOUR_S))
            self._do(self._people)
            self._settle(QUIET_BOUND_S)
            if self.chance.random() < QUIET_RESTORES:
                self._step(self.world.restore)
                self._settle(STORM_BOUND_S)

    def _storm(self, seconds: float) -> None:
        """Let everything go wrong for some minutes, and then nothing any more."""
        self.world.coverage.met("state: storm")
        self.world.epoch = None
        end = self.world.scheduler.now + seconds
        while self.world.scheduler.now < end:
            self.world.advance(self.chance.choice((0.01, 0.2, 1.0, 5.0, 20.0, 60.0)) * self.chance.random())
            if self.chance.random() < 0.5:
                self._do(self._people)
            else:
                replica = self.chance.choice(self.world.replicas)
                _, fault = self.chance.choices(self._faults, [weight for weight, _ in self._faults])[0]
                self._step(lambda: fault(replica))  # noqa: B023 - it is called at once
        self.world.calm()
        self._settle(STORM_BOUND_S)

    def _settle(self, bound_s: float) -> None:
        self.world.advance(bound_s)
        self.world.check_settled()
        self.world.advance(0.0)
        if self.chance.random() < 0.3:
            self.world.back_up()

    def _do(self, actions: tuple[tuple[int, Callable[[], None]], ...]) -> None:
        _, action = self.chance.choices(actions, [weight for weight, _ in actions])[0]
        self._step(action)

    def _step(self, action: Callable[[], None]) -> None:
        self.steps += 1
        if self.steps in self.skip:
            return
        try:
            action()
        except Refused as refused:
            self.world.note("admin", f"refused: {refused}")

    # --- People and other controllers

    def _any(self) -> Tool:
        present = [tool for tool in POOL if self.world.store.get(self.world.place(tool)) is not None]
        return self.chance.choice(present or [*POOL[:1]])

    def _toggle(self) -> None:
        tool, world = self.chance.choice(POOL), self.world
        if not world.is_open(tool.namespace):
            world.end_namespace(tool.namespace)
            return
        if world.store.get(world.place(tool)) is None:
            world.note("admin", f"create {tool.path}")
            world.create(tool)
            return
        world.note("admin", f"delete {tool.path}")
        world.disturb(tool.path)
        world.writer.delete(world.place(tool))

    def _annotate(self, tool: Tool, name: str, value: str | None) -> None:
        self.world.note("admin", f"annotate {tool.path} {name}={value}")
        change: Object = {"metadata": {"annotations": {f"kubernaut.io/{name}": value}}}
        self.world.writer.patch(self.world.place(tool), change, "kubectl")

    def _prioritise(self) -> None:
        self._annotate(self._any(), "toolset-priority", str(self.chance.randrange(10)))

    def _opt(self) -> None:
        tool = self._any()
        self.world.disturb(tool.path)
        self._annotate(tool, "toolset", self.chance.choice(("disabled", "enabled", tool.annotations.get("toolset"))))

    def _sicken(self) -> None:
        tool, mood = self.chance.choice(POOL), self.chance.choice([*OUTCOMES])
        self.world.note("backend", f"{mood} {tool.authority}")
        self.world.backends.set(tool.authority, mood)

    def _recover(self) -> None:
        sick = [tool for tool in POOL if not self.world.backends.is_up(tool.authority)]
        for tool in sick:
            self.world.note("backend", f"up {tool.authority}")
            self.world.backends.set(tool.authority, "up")

    def _edit_notes(self) -> None:
        self._serial += 1
        self._edit(NOTES, f"note {self._serial}")

    def _override(self) -> None:
        self.world.disturb_all()
        hidden, approved = (self.chance.sample(POOL, self.chance.randrange(most)) for most in (3, 6))
        self._edit(OVERRIDES, f"suppress: {_paths(hidden)}\napprove: {_paths(approved)}\n")

    def _edit(self, key: str, value: str) -> None:
        self.world.note("admin", f"edit {key} {value!r}")
        if self.world.store.get(TARGET) is None:
            body: Object = {"metadata": {"name": TARGET.name}, "data": {key: value}}
            self.world.writer.create(Place(CONFIG_MAP, SYSTEM), body, "kubectl")
        else:
            self.world.writer.patch(TARGET, {"data": {key: value}}, "kubectl")
        self.world.foreign[key] = value

    def _edit_ours(self) -> None:
        keys = sorted(key for key in self.world.data() if key.endswith("-toolset.yaml"))
        if keys:
            key, value = self.chance.choice(keys), self.chance.choice((None, "config: {url: 'http://elsewhere'}\n"))
            self.world.note("admin", f"break {key} {value!r}")
            self.world.writer.patch(TARGET, {"data": {key: value}}, "kubectl")

    def _replace(self) -> None:
        """Write the whole ConfigMap back, as a GitOps tool does: all of it is the tool's then."""
        if (current := self.world.store.get(TARGET)) is not None:
            self.world.note("admin", "replace the ConfigMap")
            data = {key: value for key, value in current["data"].items() if key != KUBERNETES_KEY}
            self.world.writer.replace(TARGET, {**current, "data": data}, "gitops")

    def _delete_config_map(self) -> None:
        """Delete it: the overrides go with it, and stay in force for the process."""
        if self.world.store.get(TARGET) is None or OVERRIDES in self.world.foreign:
            return
        self.world.note("admin", "delete-config-map")
        self.world.writer.delete(TARGET)
        self.world.foreign.clear()

    def _other_service(self) -> None:
        number = self.chance.randrange(20)
        place = Place(SERVICE, "team-a", f"app-{2 * number}")
        self._serial += 1
        self.world.note("admin", f"touch {place.name}")
        self.world.writer.patch(place, {"metadata": {"labels": {"edition": str(self._serial)}}}, "kubectl")

    def _end_namespace(self) -> None:
        self.world.end_namespace(self.chance.choice(SPACES))

    def _label(self) -> None:
        """Let a namespace no longer be trusted, or be trusted again."""
        space, label = self.chance.choice(SPACES), self.chance.choice(("untrusted", "trusted", None))
        self.world.note("admin", f"label {space} {label}")
        self.world.disturb_all(space)
        self.world.writer.patch(Place(NAMESPACE, "", space), {"metadata": {"labels": {TRUST: label}}}, "kubectl")

    # --- Faults

    def _weather(self, replica: Replica, weather: Weather, what: str) -> None:
        if replica.link is not None:
            self.world.note("fault", f"{what} {replica.name}")
            replica.link.weather = weather

    def _errors(self, replica: Replica) -> None:
        codes = self.chance.choice(ERRORS)
        rate, only = self.chance.choice((0.3, 1.0)), self.chance.random() < 0.4
        self._weather(replica, Weather(errors=codes, error_rate=rate, writes_only=only), f"errors-{codes[0]}")

    def _throttle(self, replica: Replica) -> None:
        self._weather(replica, Weather(errors=(429,), error_rate=1.0, retry_after_s=30, writes_only=True), "throttle")

    def _refuse_writes(self, replica: Replica) -> None:
        """Refuse each write of the ConfigMap, and nothing else: the Lease stays, as with a webhook that conflicts."""
        codes = self.chance.choice(((409,), (500,)))
        self._weather(replica, Weather(errors=codes, error_rate=1.0, config_maps_only=True), f"refuse-{codes[0]}")

    def _restore(self, _: Replica) -> None:
        self.world.restore()

    def _fight(self, _: Replica) -> None:
        """Let another controller write an owned key back at once, until the storm is over."""
        self.world.note("fault", "fight")
        self.world.rival_until = math.inf

    def _lose_answers(self, replica: Replica) -> None:
        only = self.chance.random() < 0.7
        self._weather(replica, Weather(lost_rate=self.chance.choice((0.3, 1.0)), writes_only=only), "lose-answers")

    def _slow(self, replica: Replica) -> None:
        self._weather(replica, Weather(slow_s=self.chance.choice((0.5, 3.0, 12.0))), "slow")

    def _partition(self, replica: Replica) -> None:
        self._weather(replica, Weather(partitioned=True), "partition")

    def _heal(self, replica: Replica) -> None:
        self._weather(replica, Weather(), "heal")
        if replica.loop is not None and replica.loop.is_paused:
            replica.loop.resume()
        replica.start()

    def _cut(self, replica: Replica) -> None:
        if replica.link is not None:
            how = self.chance.choice(("clean", "broken", "torn", "failed"))
            self.world.note("fault", f"cut-{how} {replica.name}")
            self.world.server.cut(replica.link, how)

    def _freeze(self, replica: Replica) -> None:
        if replica.link is not None:
            self.world.note("fault", f"freeze {replica.name}")
            self.world.server.cut(replica.link, "frozen")

    def _pause(self, replica: Replica) -> None:
        if replica.loop is not None and not replica.loop.is_paused:
            self.world.note("fault", f"pause {replica.name}")
            loop = replica.loop
            loop.is_paused = True
            self.world.scheduler.after(self.chance.uniform(0.1, 60.0), loop.resume)

    def _suspend(self, replica: Replica) -> None:
        if replica.loop is not None and not replica.loop.is_paused:
            self.world.note("fault", f"suspend {replica.name}")
            replica.loop.suspend(on=True)

    def _kill(self, replica: Replica) -> None:
        if replica.is_running:
            self.world.note("fault", f"kill {replica.name}")
            replica.kill()
            self.world.scheduler.after(self.chance.uniform(0.5, 30.0), replica.start)

    def _terminate(self, replica: Replica) -> None:
        if replica.is_running:
            self.world.note("fault", f"terminate {replica.name}")
            replica.terminate()

    def _skew(self, replica: Replica) -> None:
        replica.skew_s = self.chance.choice((-3600.0, -5.0, 0.0, 5.0, 86400.0))
        self.world.note("fault", f"skew {replica.name} {replica.skew_s}")

    def _compact(self, replica: Replica) -> None:
        self.world.note("fault", "compact")
        self.world.store.compact()
        if replica.link is not None:
            self.world.server.cut(replica.link, "broken")

    def _delete_lease(self, _: Replica) -> None:
        if (lease := self.world.store.get(LEASE_PLACE)) is not None:
            self.world.note("fault", "delete-lease")
            spec = lease["spec"]
            self.world.writes.lease_deleted(spec.get("leaseTransitions", 0), spec.get("holderIdentity", ""))
            self.world.writer.delete(LEASE_PLACE)


def _paths(tools: Iterable[Tool]) -> str:
    return f"[{', '.join(f'{tool.namespace}/{tool.name}' for tool in tools)}]"
