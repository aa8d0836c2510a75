"""ConfigMaps as the embedded API server keeps them, but without a socket: for tests in virtual time or in no loop."""

from collections.abc import Callable, Mapping

import msgspec
import orjson
from anyio.lowlevel import checkpoint

from toolset.adapters.kube.status import error_of
from toolset.core.publishing.plan import FIELD_MANAGER
from toolset.errors import ConflictError, NotFoundError, ToolsetError
from toolset.model import ConfigMap, Key
from toolset.sim.kinds import CONFIG_MAP, NAMESPACE, Place
from toolset.sim.statuses import Object, Refused
from toolset.sim.store import Store
from toolset.sim.writing import Writer


class FakeConfigMaps:
    """The API server's ConfigMaps; a namespace is there as soon as it is needed.

    Attributes:
        on_change: Called with each new state, and of ``None`` for one deleted; a watch without delay.
    """

    def __init__(self) -> None:
        self._store = Store()
        self._writer = Writer(self._store)
        self.on_change: Callable[[Key, ConfigMap | None], None] = lambda _key, _now: None

    def get(self, key: Key) -> ConfigMap | None:
        """Return the ConfigMap as it is now."""
        stored = self._store.get(Place(CONFIG_MAP, key.namespace, key.name))
        return msgspec.convert(stored, ConfigMap) if stored else None

    def apply(self, target: Key, body: bytes, manager: str = FIELD_MANAGER) -> ConfigMap:
        """Do a forced server-side apply.

        Raises:
            ConflictError: The fence in ``body`` does not fit.
        """
        config: Object = orjson.loads(body)
        assert (config["metadata"]["namespace"], config["metadata"]["name"]) == (target.namespace, target.name)
        return self._written(target, lambda place: self._writer.apply(place, config, manager, force=True)[0])

    def patch(
        self,
        target: Key,
        data: Mapping[str, str | None] | None = None,
        *,
        annotations: Mapping[str, str | None] | None = None,
        labels: Mapping[str, str | None] | None = None,
        fence: ConfigMap | None = None,
        manager: str = "kubectl-edit",
    ) -> ConfigMap:
        """Do a JSON merge patch: a null removes. A ConfigMap that is not there is made first.

        Raises:
            ConflictError: The ConfigMap is no longer what ``fence`` says.
        """
        metadata = {"name": target.name, "labels": dict(labels or {}), "annotations": dict(annotations or {})}
        change = {"metadata": metadata, "data": dict(data or {})}
        if fence is None and self.get(target) is None:
            made = Place(CONFIG_MAP, target.namespace)
            return self._written(target, lambda _: self._writer.create(made, change, manager))
        metadata |= {"resourceVersion": fence.version, "uid": fence.uid} if fence else {}
        try:
            return self._written(target, lambda place: self._writer.patch(place, change, manager))
        except NotFoundError as error:
            raise ConflictError(str(error)) from error

    def delete(self, target: Key) -> None:
        """Delete it."""
        if self.get(target):
            self._writer.delete(Place(CONFIG_MAP, target.namespace, target.name))
            self.on_change(target, None)

    def _written(self, target: Key, write: Callable[[Place], Object]) -> ConfigMap:
        before, home = self.get(target), Place(NAMESPACE, "", target.namespace)
        try:
            if self._store.get(home) is None:
                self._writer.create(Place(NAMESPACE), {"metadata": {"name": target.namespace}}, "kube-apiserver")
            seen = msgspec.convert(write(Place(CONFIG_MAP, target.namespace, target.name)), ConfigMap)
        except Refused as refused:
            raise error_of(refused.code, orjson.dumps(refused.status), 0.0) from refused
        if seen != before:
            self.on_change(target, seen)
        return seen


class FakeApplier:
    """Keeps the promises of ``reconciler.Applier`` over ``FakeConfigMaps``.

    Attributes:
        requests: What was asked, in order: ``apply`` or ``patch KEY,KEY``.
        errors: Raised in place of an answer, first one first; ``None`` lets the request through.
        before: Runs when a request is on its way, so that somebody else can be faster.
        answers: Changes what an apply returns, as an admission webhook does what is stored.
    """

    def __init__(self, config_maps: FakeConfigMaps) -> None:
        self._config_maps = config_maps
        self.requests: list[str] = []
        self.errors: list[ToolsetError | None] = []
        self.before: Callable[[], object] = lambda: None
        self.answers: Callable[[ConfigMap], ConfigMap] = lambda written: written

    async def apply(self, target: Key, manifest: bytes) -> ConfigMap:
        """Apply under our field manager."""
        await self._arrive("apply")
        return self.answers(self._config_maps.apply(target, manifest))

    async def patch(self, current: ConfigMap, data: Mapping[str, str | None]) -> ConfigMap:
        """Write and remove keys."""
        await self._arrive(f"patch {','.join(sorted(data))}")
        return self._config_maps.patch(current.key, data, fence=current, manager=FIELD_MANAGER)

    async def _arrive(self, request: str) -> None:
        self.requests.append(request)
        await checkpoint()
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        self.before()
