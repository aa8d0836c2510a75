"""Record Kubernetes Events: ``events.k8s.io/v1``, in the ConfigMap's namespace, about the ConfigMap.

The API server's requirements, verified against a real one (1.37): ``action``, ``reason``, ``type``, ``eventTime``,
``reportingController`` and ``reportingInstance`` are required; times have microseconds; a note has at most 1,024
*bytes* and may hold control characters; after creation only ``series`` can change; ``series.count`` is at least 2, and
may be set at creation. ``kubectl describe`` selects by the uid of the object, so it is included.
"""

import logging
import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Final, Literal, Protocol
from uuid import uuid4

import anyio
import msgspec
import orjson

from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.wire import Request
from toolset.errors import ConflictError, ForbiddenError, InvalidError, TerminalError, ToolsetError, TransientError
from toolset.model import Key
from toolset.runtime.backoff import Backoff, TokenBucket
from toolset.runtime.correlator import Correlator, Occurrence, Refusal, Series
from toolset.runtime.turns import Turns
from toolset.runtime.workqueue import WorkQueue

NOTE_LIMIT_BYTES: Final = 1024
NAME_LIMIT: Final = 253
REFUSED_TRIES: Final = 5
"""The first is given up after 12 s: an API server that has just started refuses all requests for seconds."""
_WORD: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,127}")
_CUT: Final = "…"

_log: Final = logging.getLogger("toolset")

Kind = Literal["Normal", "Warning"]
Lost = Literal["malformed", "limited", "full", "forbidden", "invalid", "unavailable", "stopped", "bug"]
"""Why an Event was not sent: a bug, the correlator, a full queue, the API server, the shutdown."""


class EventsObserver(Protocol):
    """What the recorder reports."""

    def sent(self) -> None:
        """The API server has accepted an Event or a new count."""

    def dropped(self, reason: Lost) -> None:
        """An Event is dropped."""


class NoEventsObserver:
    """Ignores everything."""

    def sent(self) -> None:
        """Ignore it."""

    def dropped(self, reason: Lost) -> None:
        """Ignore it."""


def _unique() -> str:
    return uuid4().hex


class EventOptions(msgspec.Struct, frozen=True):
    """Limits and times; those of client-go are from ``tools/events/event_broadcaster.go`` and ``rest/config.go``.

    Attributes:
        waiting: How many series may wait to be sent; as in client-go's queue.
        tries: How often one request is tried; as in client-go.
        absent_s: How long an Event waits while there is no ConfigMap, to regard the next one, seconds.
        repeats_s: How long repeats are counted before the count is sent, seconds.
        request_timeout_s: Time limit of one request, seconds.
        rate_per_s: Requests per second; client-go's default for a client.
        burst: Requests at once; client-go's default too.
        backoff: Between two tries. Only the leader sends, so it needs no jitter.
        longest_pause_s: Maximum ``Retry-After`` that is obeyed, seconds: other Events wait behind.
        account: Returns the account of a namespace; by default each has its own.
        unique: Returns a unique part for the name of an Event.
    """

    waiting: int = 1000
    tries: int = 12
    absent_s: float = 1.0
    repeats_s: float = 60.0
    request_timeout_s: float = 10.0
    rate_per_s: float = 5.0
    burst: int = 10
    backoff: Backoff = Backoff(spread=0.0)
    longest_pause_s: float = 60.0
    account: Callable[[str], str] = str
    unique: Callable[[], str] = _unique


class KubeEvents:
    """Records without waiting, sends in the background, one request at a time; implements ``reconciler.EventRecorder``.

    The queue holds series, not Events: a repeat while its Event waits, is being sent or was just sent only increments
    the count. So a slow API server results in fewer requests, not a longer queue. Events about the ConfigMap come
    first, then the namespaces take turns.
    """

    def __init__(
        self,
        transport: KubeTransport,
        target: Key,
        reporter: str,
        instance: str,
        now: Callable[[], datetime],
        *,
        target_uid: Callable[[], str] = lambda: "",
        observer: EventsObserver | None = None,
        options: EventOptions = EventOptions(),  # noqa: B008 - it is frozen
    ) -> None:
        """Make a recorder that sends nothing before :meth:`run`.

        Args:
            transport: An open session.
            target: The ConfigMap that every Event regards.
            reporter: ``reportingController``.
            instance: ``reportingInstance``, the pod; beyond 128 characters the end is kept, which distinguishes pods.
            now: The wall clock.
            target_uid: The current uid of the ConfigMap; empty if there is none.
            observer: Notified of the outcome of each record.
            options: Limits and times.
        """
        self._transport = transport
        self._target = target
        self._reporter = reporter
        self._instance = instance[-128:] or reporter
        self._now = now
        self._target_uid = target_uid
        self._observer = observer or NoEventsObserver()
        self._options = options
        self._correlator = Correlator(account=options.account)
        self._queue: WorkQueue[Series] = WorkQueue(turns=Turns(self._namespace, options.account))
        self._waiting: set[Series] = set()
        self._pace = TokenBucket(options.rate_per_s, options.burst)
        self._lost: set[Lost] = set()
        self._refused = False  # whether the last was given up because of it: the next waits less

    def record(
        self, kind: Kind, reason: str, note: str, *, related: Key | None = None, action: str = "Publish"
    ) -> None:
        """Record an Event; never waits, never raises; frequent ones are counted or dropped.

        Args:
            kind: ``Warning`` if action is required.
            reason: The reason, one word in UpperCamelCase.
            note: The message. It should name the Service: kubectl does not show ``related``.
            related: The Service that it is about; ``None`` when it is about the ConfigMap alone.
            action: The action, one word in UpperCamelCase.
        """
        try:
            self._record(Occurrence(kind, reason, action, printable(note), related))
        except Exception as error:  # noqa: BLE001 - recording must not fail its caller
            self._drop("bug", "record failed", error)

    def _record(self, occurrence: Occurrence) -> None:
        if not (_WORD.fullmatch(occurrence.reason) and _WORD.fullmatch(occurrence.action)):
            self._drop("malformed", f"reason {occurrence.reason!r}, action {occurrence.action!r}")
            return
        series = self._correlator.observe(occurrence, self._now())
        if isinstance(series, Refusal):
            self._drop("limited", series.value)
        elif series not in self._waiting and len(self._waiting) >= self._options.waiting:
            self._drop("full")
        elif series not in self._waiting:
            self._waiting.add(series)
            first_s = 0.0 if self._target_uid() else self._options.absent_s
            self._add(series, after_s=self._options.repeats_s if series.recorded else first_s)

    def _namespace(self, series: Series) -> str:
        return (series.occurrence.related or self._target).namespace

    def _add(self, series: Series, *, after_s: float = 0.0) -> None:
        self._queue.add(series, after_s=after_s, priority=0 if series.occurrence.related else 1)

    async def run(self) -> None:
        """Send until cancelled; no error ends it."""
        while True:
            series = await self._queue.get()
            with self._queue.working(series):
                await self._deliver(series)

    async def flush(self, timeout_s: float) -> None:
        """Send pending Events now, within ``timeout_s`` seconds, and drop the rest; :meth:`run` must be running."""
        for series in self._waiting:
            self._add(series)
        with anyio.move_on_after(timeout_s):
            await self._queue.wait_idle()
        while self._waiting:
            self._waiting.pop()
            self._drop("stopped")

    async def _deliver(self, series: Series) -> None:
        try:
            await self._send_patiently(series)
        except ToolsetError as error:
            self._refused = isinstance(error, ForbiddenError)
            self._drop(_cause(error), str(error))
        except Exception as error:  # noqa: BLE001 - a bug costs one Event, not the process
            self._drop("bug", "send failed", error)
        else:
            self._refused = False
            if series.recorded < series.count:  # it happened again meanwhile
                self._add(series, after_s=self._options.repeats_s)
                return
        self._waiting.discard(series)

    async def _send_patiently(self, series: Series) -> None:
        failures = 0
        while series.recorded < series.count:  # a flush may have queued again what was being sent
            await anyio.sleep(self._pace.reserve_s())
            try:
                series.recorded = await self._send(series)
            except ToolsetError as error:
                failures += 1
                if failures >= self._tries(error):
                    raise
                await anyio.sleep(self._delay_s(error, failures))
            else:
                return

    async def _send(self, series: Series) -> int:
        """Return how many of ``series`` the API server now has.

        A ConfigMap that was created again gets an Event of its own: kubectl finds those of an object by its uid.
        """
        count, uid = series.count, self._target_uid()
        if series.recorded and uid not in {series.regarded, ""}:
            series.name = ""
        elif series.recorded:
            try:
                await self._request("PATCH", f"/{series.name}", {"series": _series(series)})
            except InvalidError:  # it no longer exists: it was deleted, or its TTL of one hour expired
                series.name = ""
            else:
                return count
        series.name, series.regarded = series.name or self._new_name(), uid
        try:
            await self._request("POST", "", self._event(series))
        except ConflictError:  # an earlier try was stored, but its response was lost; the name is unique
            return 1
        return count

    async def _request(self, method: str, name: str, content: dict[str, object]) -> None:
        path = f"/apis/events.k8s.io/v1/namespaces/{self._target.namespace}/events{name}"
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        request = Request(method, path, body=orjson.dumps(content), content_type=content_type)
        await self._transport.send(request, timeout_s=self._options.request_timeout_s)
        self._observer.sent()

    def _event(self, series: Series) -> dict[str, object]:
        occurrence = series.occurrence
        event: dict[str, object] = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"namespace": self._target.namespace, "name": series.name},
            "eventTime": _micro_time(series.first_at),
            "reportingController": self._reporter,
            "reportingInstance": self._instance,
            "type": occurrence.kind,
            "reason": occurrence.reason,
            "action": occurrence.action,
            "note": printable(f"with others like it: {occurrence.note}") if series.combined else occurrence.note,
            "regarding": _reference("ConfigMap", self._target) | {"uid": series.regarded},
        }
        if occurrence.related is not None:
            event["related"] = _reference("Service", occurrence.related)
        if series.count > 1:
            event["series"] = _series(series)
        return event

    def _new_name(self) -> str:
        unique = self._options.unique()
        return f"{self._target.name[: NAME_LIMIT - len(unique) - 1].rstrip('.-')}.{unique}"

    def _tries(self, error: ToolsetError) -> int:
        if isinstance(error, ForbiddenError):
            return 1 if self._refused else REFUSED_TRIES
        return 1 if isinstance(error, TerminalError) else self._options.tries

    def _delay_s(self, error: ToolsetError, failures: int) -> float:
        asked_s = error.retry_after_s if isinstance(error, TransientError) else 0.0
        return max(min(asked_s, self._options.longest_pause_s), self._options.backoff.delay_s(failures, lambda: 0.0))

    def _drop(self, lost: Lost, detail: str = "", bug: Exception | None = None) -> None:
        level = logging.DEBUG if lost in self._lost else logging.WARNING
        self._lost.add(lost)
        _log.log(level, "event dropped", exc_info=bug, extra={"reason": lost, "detail": detail[:512]})
        self._observer.dropped(lost)


def printable(note: str) -> str:
    """Return ``note`` in at most NOTE_LIMIT_BYTES, with non-printable characters escaped."""
    pieces = [
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in note[:NOTE_LIMIT_BYTES]
    ]
    whole = "".join(pieces).encode()
    if len(whole) <= NOTE_LIMIT_BYTES and len(note) <= NOTE_LIMIT_BYTES:
        return whole.decode()
    return whole[: NOTE_LIMIT_BYTES - len(_CUT.encode())].decode(errors="ignore") + _CUT


def _cause(error: ToolsetError) -> Lost:
    if isinstance(error, ForbiddenError):
        return "forbidden"
    return "invalid" if isinstance(error, TerminalError) else "unavailable"


def _series(series: Series) -> dict[str, object]:
    return {"count": series.count, "lastObservedTime": _micro_time(series.last_at)}


def _reference(kind: str, key: Key) -> dict[str, str]:
    return {"apiVersion": "v1", "kind": kind, "namespace": key.namespace, "name": key.name}


def _micro_time(at: datetime) -> str:
    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
