"""`toolset doctor`: check connectivity, clock, permissions, other installations, and the Lease."""

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Final, Literal

import anyio
import msgspec

from toolset.adapters.kube.decoding import decode
from toolset.adapters.kube.reviews import is_allowed, whoami
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.wire import Request
from toolset.adapters.kube.write.leases import KubeLeases
from toolset.commands.session import announce
from toolset.config.clients import named, transport
from toolset.config.options import check, lease_key, target_key
from toolset.config.settings import Settings
from toolset.config.source import Source
from toolset.core.overrides.overrides import NO_OVERRIDES, follow
from toolset.core.publishing.plan import INSTANCE, OVERRIDES_ERROR, OVERRIDES_KEY
from toolset.core.publishing.writer_conflict import installed_by
from toolset.errors import ForbiddenError, NotFoundError, SettingsError, ToolsetError
from toolset.model import ConfigMap, Key, Lease
from toolset.service.permissions import Permission, needed

SKEW_S: Final = 5.0
"""The tolerated clock skew, seconds: beyond it times in logs, Events and the Lease are hard to compare; tokens and
certificates fail at a skew of minutes."""

REQUEST_S: Final = 10.0
_CONFIG_MAP: Final = msgspec.json.Decoder(ConfigMap)

CLOCK: Final = "clock"

State = Literal["ok", "problem", "unknown"]


class Check(msgspec.Struct, frozen=True):
    """The result of one check.

    Attributes:
        subject: What was checked.
        state: ``unknown`` if it could not be determined.
        detail: What was found.
        remedy: What to do; empty if nothing.
    """

    subject: str
    state: State
    detail: str
    remedy: str = ""


async def examine(source: Source) -> AsyncGenerator[Check]:
    """Yield the result of each check.

    Nothing is written. Checks that depend on a failed one are omitted.

    Args:
        source: Where the settings come from.
    """
    environment = dict(source.environment)
    try:
        settings = named(source.parse(source.read()), environment)
        check(settings)
    except SettingsError as error:
        yield Check("settings", "problem", str(error), "fix the setting; `toolset check-config FILE` checks a file")
        return
    yield Check("settings", "ok", f"{source.file or 'defaults and environment'}: valid")
    async with transport(settings, environment) as kube:
        try:
            await announce(kube)
        except ToolsetError as error:
            yield Check("credentials", "problem", str(error), "correct the kubeconfig, or the pod's token volume")
            return
        async for each in Examination(settings, kube).run():
            yield each


class Examination:
    """The checks that need the API server."""

    def __init__(self, settings: Settings, kube: KubeTransport) -> None:
        self._settings = settings
        self._kube = kube
        self._target = target_key(settings)
        self._now = 0.0  # by the API server's clock

    async def run(self) -> AsyncIterator[Check]:
        """Yield the result of each check."""
        reached = await self._connectivity()
        for each in reached:
            yield each
        if any(each.state == "problem" for each in reached if each.subject != CLOCK):
            return
        user = await self._user()
        yield user
        if user.state == "problem":
            return
        yield await self._namespace(user.detail)
        for each in await self._permissions():
            yield each
        yield await self._config_map()
        if self._settings.output.overrides_from:
            yield await self._overrides()
        yield await self._lease()

    async def _connectivity(self) -> list[Check]:
        """Check the connection to the API server, its version, and its clock."""
        sent = time.time()
        try:
            reply = await self._kube.ask(Request("GET", "/version"), timeout_s=REQUEST_S)
        except ForbiddenError as error:  # it is reachable; credentials are another check
            unknown = Check("Kubernetes", "unknown", f"the version is not shown with these credentials: {error}")
            return [Check("API server", "ok", "it answers"), unknown]
        except ToolsetError as error:
            remedy = (
                "check its address, that it is up, and that no proxy or network policy blocks egress to 443 and 6443"
            )
            return [Check("API server", "problem", str(error), remedy)]
        took_s = time.time() - sent
        found = [Check("API server", "ok", f"it answers within {took_s * 1000:.0f} ms"), _kubernetes(reply.body)]
        server_time = _date(reply.date)
        if server_time is None:
            return [*found, Check(CLOCK, "unknown", "the API server sends no time")]
        self._now = server_time
        # A Date header has whole seconds: during the request the server's clock was between it and one second later.
        skew_s = max(server_time - (sent + took_s), sent - (server_time + 1.0), 0.0)
        if skew_s > SKEW_S:
            which = "behind" if server_time > sent else "ahead of"
            detail = f"this machine's clock is {skew_s:.0f} s {which} that of the API server"
            return [*found, Check(CLOCK, "problem", detail, "synchronise the clock of this machine (NTP)")]
        return [*found, Check(CLOCK, "ok", "it agrees with that of the API server")]

    async def _user(self) -> Check:
        try:
            return Check("credentials", "ok", f"authenticated as {await whoami(self._kube) or 'nobody'}")
        except NotFoundError:  # before Kubernetes 1.28
            return Check("credentials", "ok", "accepted by the API server")
        except ForbiddenError as error:
            remedy = "check whether the token is expired or of another cluster; in a pod, check the projected volume"
            return Check("credentials", "problem", str(error), remedy)
        except ToolsetError as error:
            return Check("credentials", "unknown", str(error))

    async def _namespace(self, user: str) -> Check:
        name = self._target.namespace
        subject = f"namespace {name}"
        try:
            await self._kube.send(Request("GET", f"/api/v1/namespaces/{name}"), timeout_s=REQUEST_S)
        except NotFoundError:
            return Check(subject, "problem", "it does not exist", f"kubectl create namespace {name}")
        except ForbiddenError:
            if f":serviceaccount:{name}:" in user:
                return Check(subject, "ok", "it exists: this ServiceAccount is in it")
            return Check(subject, "unknown", "these credentials may not read Namespaces")
        except ToolsetError as error:
            return Check(subject, "unknown", str(error))
        return Check(subject, "ok", "it exists")

    async def _permissions(self) -> list[Check]:
        wanted = needed(self._settings)
        answers: dict[Permission, bool] = {}
        try:
            for each in wanted:
                answers[each] = await is_allowed(self._kube, each.attributes)
        except ToolsetError as error:
            unasked = len(wanted) - len(answers)
            failed = Check("permissions", "unknown", f"{unasked} of them cannot be checked: {error}")
            return [*_judged(answers), failed]
        return _judged(answers)

    async def _config_map(self) -> Check:
        """Check whether another installation writes the ConfigMap, and whether its overrides are valid."""
        subject = f"ConfigMap {self._target}"
        try:
            found = await self._read(self._target)
        except NotFoundError:
            return Check(subject, "ok", "it does not exist yet; the service creates it")
        except (ToolsetError, msgspec.DecodeError) as error:
            return Check(subject, "unknown", str(error))
        prefix, own = self._settings.discovery.annotation_prefix, self._settings.output.instance
        keeper = found.annotations.get(f"{prefix}/{INSTANCE}", "")
        if installed_by(found, prefix, own):
            this = f"this one is {own!r}" if own else "this one has no name, and would write nothing"
            remedy = "stop one of the two, or give this one another `target.name`"
            if not own:
                remedy = f"to check that installation, run this in its pod, or with TOOLSET_OUTPUT__INSTANCE={keeper}"
            return Check(subject, "problem", f"it belongs to another installation, {keeper!r}; {this}", remedy)
        if problem := found.annotations.get(f"{prefix}/{OVERRIDES_ERROR}", ""):
            return Check(
                subject,
                "problem",
                f"overrides: {problem}",
                "correct or restore overrides.yaml in the ConfigMap that the problem names",
            )
        return Check(subject, "ok", f"owned by the installation {keeper}" if keeper else "it exists")

    async def _read(self, key: Key) -> ConfigMap:
        """Return a ConfigMap.

        Raises:
            ToolsetError: There is none, or the API server cannot be reached or refuses.
            msgspec.DecodeError: The answer is no ConfigMap.
        """
        path = f"/api/v1/namespaces/{key.namespace}/configmaps/{key.name}"
        return decode(_CONFIG_MAP, await self._kube.send(Request("GET", path), timeout_s=REQUEST_S))

    async def _overrides(self) -> Check:
        """Check the ConfigMap that `output.overrides_from` names."""
        output = self._settings.output
        key = Key(self._target.namespace, output.overrides_from)
        subject = f"overrides in ConfigMap {key}"
        remedy = f"kubectl create configmap {key.name} -n {key.namespace} --from-file=overrides.yaml"
        try:
            found = await self._read(key)
        except NotFoundError:
            return Check(subject, "problem", "it does not exist, and without it nothing is written", remedy)
        except (ToolsetError, msgspec.DecodeError) as error:
            return Check(subject, "unknown", str(error))
        text = found.entries.get(OVERRIDES_KEY)
        if text is None:
            return Check(subject, "problem", "it has no overrides.yaml, and without it nothing is written", remedy)
        _, problem = follow(NO_OVERRIDES, text, output.policy)
        if problem is not None:
            return Check(
                subject, "problem", str(problem), "correct it; until then the last valid overrides stay in force"
            )
        return Check(subject, "ok", "valid")

    async def _lease(self) -> Check:
        """Check the Lease: whether its holder has stopped, or another replica leads while the election is off here."""
        key = lease_key(self._settings)
        subject = f"Lease {key}"
        try:
            lease = await KubeLeases(self._kube, key).read()
        except ToolsetError as error:
            if not self._settings.election.enabled:
                return Check(subject, "ok", "not used: `election.enabled` is off, so run one replica only")
            return Check(subject, "unknown", str(error))
        if lease is None or not lease.holder:
            return Check(subject, "ok", "it has no holder")
        age_s = self._age_s(lease.spec.renew_time or "")
        try:
            if age_s > (lease.spec.lease_duration_seconds or 0) and not await self._is_renewed(lease):
                return self._stale(subject, lease, age_s)
        except ToolsetError as error:
            return Check(subject, "unknown", str(error))
        held = f"{lease.holder} holds it; renewed {age_s:.0f} s ago by its own clock"
        if self._settings.election.enabled:
            return Check(subject, "ok", held)
        remedy = "turn on `election.enabled` here too, or stop one of the two"
        return Check(subject, "problem", f"{held}, while the election is off here: two would write", remedy)

    async def _is_renewed(self, lease: Lease) -> bool:
        """Read the Lease again after two renewal periods: the clock of its holder may be wrong."""
        await anyio.sleep(2 * self._settings.election.retry_period)
        again = await KubeLeases(self._kube, lease.key).read()
        return again is not None and again.version != lease.version

    def _stale(self, subject: str, lease: Lease, age_s: float) -> Check:
        if not self._settings.election.enabled:
            return Check(subject, "ok", "its last holder has stopped, and the election is off")
        when = f"{age_s:.0f} s ago, longer than it lasts" if math.isfinite(age_s) else "at an unknown time"
        detail = f"{lease.holder} renewed it {when}: it has stopped, and there is no leader"
        namespace = lease.metadata.namespace
        remedy = f"a ready replica takes it by itself; check for one: kubectl -n {namespace} get pods"
        return Check(subject, "problem", detail, remedy)

    def _age_s(self, renewed: str) -> float:
        try:
            then = datetime.fromisoformat(renewed)
        except ValueError:
            return math.inf
        return max(0.0, (self._now or time.time()) - then.timestamp())


def _judged(answers: Mapping[Permission, bool]) -> list[Check]:
    refused = [each for each, allowed in answers.items() if not allowed]
    return [
        Check(f"may {each.sentence}", "ok", "allowed")
        if allowed
        else Check(f"may {each.sentence}", "problem", _loss(each, refused), each.remedy)
        for each, allowed in answers.items()
    ]


def _loss(permission: Permission, refused: Sequence[Permission]) -> str:
    """Return the effect of a missing permission; ``list`` and ``watch`` depend on each other."""
    about = permission.attributes
    pairs = {"list": "watch", "watch": "list"}
    other = msgspec.structs.replace(about, verb=pairs.get(about.verb, ""))
    if about.verb not in pairs or any(each.attributes == other for each in refused):
        return f"not allowed: {permission.loss}"
    if about.verb == "watch":
        return f"not allowed, while list is: the view would be frozen as it is at the start, and {permission.loss}"
    return (
        "not allowed, while watch is: the view would be frozen as soon as the API server cannot stream a list, "
        f"and then {permission.loss}"
    )


def _kubernetes(body: bytes) -> Check:
    """Check that the answer with a version is that of an API server; a login page answers everything, too."""
    try:
        return Check("Kubernetes", "ok", f"version {decode(msgspec.json.Decoder(_Version), body).git_version}")
    except msgspec.DecodeError:
        remedy = "is `server` in the kubeconfig the address of the API server, without a login page in front of it?"
        return Check("Kubernetes", "problem", "what answers there is not an API server: it has no version", remedy)


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    git_version: str


def _date(header: str) -> float | None:
    try:
        return parsedate_to_datetime(header).astimezone(timezone.utc).timestamp()
    except (ValueError, TypeError):
        return None
