import logging
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import anyio
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.api_server import Answer, Asked, FixedCredentials, ScriptedApiServer, Stream, status_error
from support.background import running
from support.events import FakeEvents
from support.waiting import until
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.write.events import NOTE_LIMIT_BYTES, EventOptions, KubeEvents, Lost, printable
from toolset.model import Key
from toolset.reconciler.ports import EventRecorder
from toolset.runtime.backoff import Backoff

TARGET = Key("spaces", "tools")
GRAFANA = Key("team-a", "grafana")
EVENTS = "/apis/events.k8s.io/v1/namespaces/spaces/events"
AT = datetime(2026, 1, 2, 4, 4, 5, 678, tzinfo=timezone(timedelta(hours=1)))
OK = Answer()
QUICK = EventOptions(
    absent_s=0.02,
    repeats_s=0.01,
    request_timeout_s=0.5,
    rate_per_s=1000.0,
    burst=1000,
    backoff=Backoff(base_s=0.001, cap_s=0.002, spread=0.0),
)
FLUSH_S = 10.0


class Heard:
    """Notes what became of what was recorded."""

    def __init__(self) -> None:
        self.sent_count = 0
        self.lost: list[Lost] = []

    def sent(self) -> None:
        self.sent_count += 1

    def dropped(self, reason: Lost) -> None:
        self.lost.append(reason)


@asynccontextmanager
async def recorder(
    server: ScriptedApiServer,
    heard: Heard | None = None,
    options: EventOptions = QUICK,
    *,
    target: Key = TARGET,
    instance: str = "pod-1",
    uid: Callable[[], str] = lambda: "uid-1",
) -> AsyncGenerator[KubeEvents]:
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test/1") as transport:
        events = KubeEvents(
            transport,
            target,
            "kubernaut-dynamic-toolset",
            instance,
            lambda: AT,
            target_uid=uid,
            observer=heard,
            options=options,
        )
        async with running(events.run):
            yield events


def bodies(asked: Sequence[Asked]) -> list[dict[str, Any]]:
    return [orjson.loads(each.body) for each in asked]


def methods(server: ScriptedApiServer) -> list[str]:
    return [each.method for each in server.asked]


async def test_an_event_regards_the_config_map_and_names_the_service() -> None:
    server, heard = ScriptedApiServer(OK), Heard()
    async with recorder(server, heard) as events:
        events.record("Normal", "Published", "team-a/grafana is published", related=GRAFANA)
        await events.flush(FLUSH_S)

    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", EVENTS)
    assert asked.headers["content-type"] == "application/json"
    (event,) = bodies(server.asked)
    assert re.fullmatch(r"tools\.[0-9a-f]{32}", event["metadata"].pop("name"))
    assert event == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "spaces"},
        "eventTime": "2026-01-02T03:04:05.000678Z",
        "reportingController": "kubernaut-dynamic-toolset",
        "reportingInstance": "pod-1",
        "type": "Normal",
        "reason": "Published",
        "action": "Publish",
        "note": "team-a/grafana is published",
        "regarding": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "spaces", "name": "tools", "uid": "uid-1"},
        "related": {"apiVersion": "v1", "kind": "Service", "namespace": "team-a", "name": "grafana"},
    }
    assert (heard.sent_count, heard.lost) == (1, [])


async def test_what_concerns_the_config_map_alone_has_no_related_object() -> None:
    server = ScriptedApiServer(OK)
    async with recorder(server) as events:
        events.record("Warning", "Drifted", "somebody edited our keys", action="Repair")
        await events.flush(FLUSH_S)

    (event,) = bodies(server.asked)
    assert "related" not in event
    assert (event["type"], event["action"]) == ("Warning", "Repair")


async def test_nothing_is_sent_before_it_runs() -> None:
    server = ScriptedApiServer(OK)
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test/1") as transport:
        events = KubeEvents(transport, TARGET, "me", "pod-1", lambda: AT)
        events.record("Normal", "Published", "early")
        assert server.asked == []
        async with running(events.run):
            await events.flush(FLUSH_S)
    assert bodies(server.asked)[0]["regarding"]["uid"] == ""


async def test_a_repeat_is_counted_and_its_count_is_patched_later() -> None:
    server, heard = ScriptedApiServer(OK, OK), Heard()
    async with recorder(server, heard, EventOptions(repeats_s=0.1)) as events:
        events.record("Normal", "Published", "again", related=GRAFANA)
        await until(lambda: heard.sent_count == 1)
        began = anyio.current_time()
        events.record("Normal", "Published", "again", related=GRAFANA)
        events.record("Normal", "Published", "again", related=GRAFANA)
        await until(lambda: heard.sent_count == 2)
        assert anyio.current_time() - began >= 0.1

    created, patched = server.asked
    name = bodies(server.asked)[0]["metadata"]["name"]
    assert (created.method, patched.method, patched.path) == ("POST", "PATCH", f"{EVENTS}/{name}")
    assert patched.headers["content-type"] == "application/merge-patch+json"
    assert orjson.loads(patched.body) == {"series": {"count": 3, "lastObservedTime": "2026-01-02T03:04:05.000678Z"}}


async def test_repeats_before_the_first_request_cost_no_request_of_their_own() -> None:
    server = ScriptedApiServer(OK)
    async with recorder(server) as events:
        for _ in range(7):
            events.record("Normal", "Published", "again", related=GRAFANA)
        await events.flush(FLUSH_S)

    (event,) = bodies(server.asked)
    assert event["series"] == {"count": 7, "lastObservedTime": "2026-01-02T03:04:05.000678Z"}


async def test_a_repeat_while_its_event_is_tried_again_goes_with_it() -> None:
    server, heard = ScriptedApiServer(Stream([], "silent"), OK), Heard()
    async with recorder(server, heard, EventOptions(request_timeout_s=0.2, backoff=QUICK.backoff)) as events:
        events.record("Normal", "Published", "again", related=GRAFANA)
        await anyio.wait_all_tasks_blocked()
        events.record("Normal", "Published", "again", related=GRAFANA)
        await until(lambda: heard.sent_count == 1)

    assert methods(server) == ["POST", "POST"]
    assert bodies(server.asked)[1]["series"]["count"] == 2


async def test_a_flush_does_not_send_again_what_is_under_way() -> None:
    server, heard = ScriptedApiServer(Stream([], "silent"), OK), Heard()
    async with recorder(server, heard, EventOptions(request_timeout_s=0.2, backoff=QUICK.backoff)) as events:
        events.record("Normal", "Published", "once")
        await anyio.wait_all_tasks_blocked()
        await events.flush(FLUSH_S)

    assert methods(server) == ["POST", "POST"]
    assert (heard.sent_count, heard.lost) == (1, [])


async def test_an_event_that_is_gone_is_created_again_with_its_count() -> None:
    server, heard = ScriptedApiServer(OK, status_error(404, "NotFound"), OK), Heard()
    async with recorder(server, heard) as events:
        events.record("Normal", "Published", "again")
        await until(lambda: heard.sent_count == 1)
        events.record("Normal", "Published", "again")
        await events.flush(FLUSH_S)

    assert methods(server) == ["POST", "PATCH", "POST"]
    first, _, second = bodies(server.asked)
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert second["series"]["count"] == 2
    assert heard.lost == []


async def test_a_repeat_regards_the_config_map_that_was_created_again() -> None:
    server, heard, uids = ScriptedApiServer(OK, OK, OK, OK), Heard(), ["uid-1"]
    async with recorder(server, heard, uid=lambda: uids[-1]) as events:
        for sent, uid in enumerate(("uid-1", "uid-2", "", "uid-2"), start=1):
            uids.append(uid)
            events.record("Normal", "Published", "again")
            await until(lambda: heard.sent_count == sent)  # noqa: B023

    assert methods(server) == ["POST", "POST", "PATCH", "PATCH"]
    first, second, *_ = bodies(server.asked)
    assert (first["regarding"]["uid"], second["regarding"]["uid"]) == ("uid-1", "uid-2")
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert second["series"]["count"] == 2


async def test_an_event_about_a_config_map_that_was_deleted_waits_for_the_next_one() -> None:
    server, uids = ScriptedApiServer(OK), [""]
    async with recorder(server, uid=lambda: uids[-1]) as events:
        events.record("Warning", "OverridesDeleted", "gone")
        uids.append("uid-2")
        await until(lambda: len(server.asked) == 1)

    (event,) = bodies(server.asked)
    assert event["regarding"]["uid"] == "uid-2"


async def test_an_event_whose_answer_was_lost_is_not_made_twice() -> None:
    server, heard = ScriptedApiServer(status_error(503), status_error(409, "AlreadyExists")), Heard()
    async with recorder(server, heard) as events:
        events.record("Normal", "Published", "once")
        await events.flush(FLUSH_S)

    first, second = bodies(server.asked)
    assert first["metadata"]["name"] == second["metadata"]["name"]
    assert heard.lost == []


async def test_a_repeat_of_an_event_whose_answer_was_lost_is_patched() -> None:
    server, heard = ScriptedApiServer(status_error(409, "AlreadyExists"), OK), Heard()
    async with recorder(server, heard) as events:
        for _ in range(3):
            events.record("Normal", "Published", "again")
        await until(lambda: heard.sent_count == 1)

    assert methods(server) == ["POST", "PATCH"]
    assert bodies(server.asked)[1]["series"]["count"] == 3


async def test_look_alikes_are_reported_together_and_say_so() -> None:
    server = ScriptedApiServer(*[OK] * 11)
    async with recorder(server) as events:
        for number in range(15):
            events.record("Warning", "Unhealthy", f"answered {number}", related=GRAFANA)
        await events.flush(FLUSH_S)

    *_, tenth, together = bodies(server.asked)
    assert (len(server.asked), tenth["note"]) == (11, "answered 9")
    assert together["note"] == "with others like it: answered 10"
    assert together["series"]["count"] == 5


async def test_what_comes_too_often_is_dropped() -> None:
    server, heard = ScriptedApiServer(*[OK] * 25), Heard()
    async with recorder(server, heard) as events:
        for number in range(30):
            events.record("Warning", f"Reason{number}", "", related=GRAFANA)
        await events.flush(FLUSH_S)

    assert (heard.sent_count, heard.lost) == (25, ["limited"] * 5)


async def test_only_so_many_may_wait() -> None:
    server, heard = ScriptedApiServer(*[OK] * 3), Heard()
    options = EventOptions(waiting=2)
    async with recorder(server, heard, options) as events:
        for reason in ("First", "Second", "Third", "First"):
            events.record("Normal", reason, "")
        assert heard.lost == ["full"]
        await events.flush(FLUSH_S)
        events.record("Normal", "Third", "")
        await events.flush(FLUSH_S)

    assert [each["reason"] for each in bodies(server.asked)] == ["First", "Second", "Third"]
    assert bodies(server.asked)[2]["series"]["count"] == 2


@pytest.mark.parametrize(
    ("answer", "tries", "lost"),
    [
        pytest.param(status_error(401, "Unauthorized"), 5, "forbidden", id="no-credentials"),
        pytest.param(status_error(403, "Forbidden"), 5, "forbidden", id="no-right-or-namespace-terminating"),
        pytest.param(status_error(404, "NotFound"), 1, "invalid", id="no-such-api"),
        pytest.param(status_error(422, "Invalid"), 1, "invalid", id="not-valid"),
        pytest.param(status_error(429, "TooManyRequests"), 12, "unavailable", id="throttled"),
        pytest.param(status_error(500, "InternalError"), 12, "unavailable", id="broken"),
        pytest.param(status_error(503, "ServiceUnavailable"), 12, "unavailable", id="unavailable"),
    ],
)
async def test_a_refused_event_is_dropped_after_few_tries_and_the_next_one_goes(
    answer: Answer, tries: int, lost: Lost
) -> None:
    server, heard = ScriptedApiServer(*[answer] * tries, OK), Heard()
    async with recorder(server, heard) as events:
        events.record("Normal", "First", "")
        events.record("Normal", "Second", "")
        await events.flush(FLUSH_S)

    assert [each["reason"] for each in bodies(server.asked)] == ["First"] * tries + ["Second"]
    assert (heard.lost, heard.sent_count) == ([lost], 1)


async def test_a_server_that_goes_on_refusing_is_asked_once_for_each_until_it_takes_one() -> None:
    refused = status_error(403, "Forbidden")
    server, heard = ScriptedApiServer(*[refused] * 7, OK, refused, OK), Heard()
    async with recorder(server, heard) as events:
        for reason in ("First", "Second", "Third", "Fourth", "Fifth"):
            events.record("Normal", reason, "")
        await events.flush(FLUSH_S)

    tried = [each["reason"] for each in bodies(server.asked)]
    assert tried == ["First"] * 5 + ["Second", "Third", "Fourth", "Fifth", "Fifth"]
    assert (heard.lost, heard.sent_count) == (["forbidden"] * 3, 2)


async def test_what_was_dropped_is_reported_when_it_happens_again() -> None:
    server, heard = ScriptedApiServer(*[status_error(403)] * 5, OK), Heard()
    async with recorder(server, heard) as events:
        events.record("Normal", "Published", "")
        await events.flush(FLUSH_S)
        events.record("Normal", "Published", "")
        await events.flush(FLUSH_S)

    assert (heard.lost, heard.sent_count) == (["forbidden"], 1)
    assert bodies(server.asked)[-1]["series"]["count"] == 2


async def test_a_server_that_asks_for_patience_gets_it() -> None:
    server, heard = ScriptedApiServer(status_error(429, headers={"Retry-After": "1"}), OK), Heard()
    async with recorder(server, heard) as events:
        events.record("Normal", "Published", "")
        began = anyio.current_time()
        await until(lambda: heard.sent_count == 1)

    assert anyio.current_time() - began >= 1.0


async def test_patience_has_an_end() -> None:
    server, heard = ScriptedApiServer(status_error(429, headers={"Retry-After": "86400"}), OK), Heard()
    options = EventOptions(backoff=QUICK.backoff, longest_pause_s=0.1)
    async with recorder(server, heard, options) as events:
        events.record("Normal", "Published", "")
        await until(lambda: heard.sent_count == 1)
    assert len(server.asked) == 2


async def test_a_server_that_hangs_holds_up_nobody_but_the_sender() -> None:
    server, heard = ScriptedApiServer(*[Stream([], "silent")] * 3), Heard()
    options = EventOptions(tries=3, request_timeout_s=0.05, backoff=Backoff(base_s=0.001, spread=0.0))
    async with recorder(server, heard, options) as events:
        events.record("Normal", "Published", "")
        assert heard.lost == []
        await until(lambda: heard.lost == ["unavailable"])
    assert len(server.asked) == 3


async def test_a_flush_ends_in_time_and_drops_the_rest() -> None:
    server, heard = ScriptedApiServer(Stream([], "silent")), Heard()
    options = EventOptions(request_timeout_s=60.0)
    async with recorder(server, heard, options) as events:
        for reason in ("First", "Second", "Third"):
            events.record("Normal", reason, "")
        with anyio.fail_after(5):
            await events.flush(0.1)

    assert heard.lost == ["stopped"] * 3


async def test_a_flush_sends_counts_that_wait_for_more_repeats() -> None:
    server, heard = ScriptedApiServer(OK, OK), Heard()
    async with recorder(server, heard, EventOptions(repeats_s=3600.0)) as events:
        events.record("Normal", "Published", "")
        await until(lambda: heard.sent_count == 1)
        events.record("Normal", "Published", "")
        await events.flush(FLUSH_S)

    assert methods(server) == ["POST", "PATCH"]
    assert heard.lost == []


async def test_requests_are_paced() -> None:
    server, heard = ScriptedApiServer(*[OK] * 7), Heard()
    async with recorder(server, heard, EventOptions(rate_per_s=20.0, burst=2)) as events:
        began = anyio.current_time()
        for number in range(7):
            events.record("Normal", f"Reason{number}", "")
        await events.flush(FLUSH_S)

    assert heard.sent_count == 7
    assert anyio.current_time() - began >= 0.25


async def test_namespaces_take_turns_and_what_concerns_the_config_map_comes_first() -> None:
    server, heard = ScriptedApiServer(*[OK] * 32), Heard()
    async with recorder(server, heard) as events:
        for number in range(30):
            events.record("Normal", "Published", "", related=Key("team-a", f"grafana-{number}"))
        events.record("Normal", "Published", "", related=Key("team-b", "grafana"))
        events.record("Warning", "Overwritten", "")
        await events.flush(FLUSH_S)

    order = [event.get("related", {}).get("namespace") for event in bodies(server.asked)]
    assert order.index(None) <= 1
    assert order.index("team-b") <= 3
    assert order.count("team-a") == 30


async def test_each_cause_is_a_warning_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "toolset")
    server = ScriptedApiServer(*[status_error(422, "Invalid", "too long")] * 2, *[status_error(403)] * 5)
    async with recorder(server) as events:
        for reason in ("First", "Second", "Third"):
            events.record("Normal", reason, "")
        await events.flush(FLUSH_S)

    lines = [record for record in caplog.records if record.message == "event dropped"]
    assert [(each.levelname, vars(each)["reason"]) for each in lines] == [
        ("WARNING", "invalid"),
        ("DEBUG", "invalid"),
        ("WARNING", "forbidden"),
    ]
    assert "too long" in vars(lines[0])["detail"]


@pytest.mark.parametrize(
    ("reason", "action"),
    [
        pytest.param("", "Publish", id="empty-reason"),
        pytest.param("two words", "Publish", id="two-words"),
        pytest.param("lowerCase", "Publish", id="lower-case"),
        pytest.param("R" * 129, "Publish", id="long-reason"),
        pytest.param("Published", "", id="empty-action"),
        pytest.param("Published", "Publish\n", id="line-end"),
    ],
)
async def test_a_word_that_the_api_server_or_people_would_refuse_is_never_sent(reason: str, action: str) -> None:
    server, heard = ScriptedApiServer(), Heard()
    async with recorder(server, heard) as events:
        events.record("Normal", reason, "", action=action)
        await events.flush(FLUSH_S)

    assert (heard.lost, server.asked) == (["malformed"], [])


async def test_a_bug_of_ours_is_dropped_and_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard()

    def no_time() -> datetime:
        raise LookupError("no clock")

    transport = KubeTransport(FixedCredentials("http://127.0.0.1:1"), "test/1")  # never opened: a bug when it is used
    events = KubeEvents(transport, TARGET, "me", "pod-1", no_time, observer=heard)
    events.record("Normal", "Published", "")
    closed = KubeEvents(transport, TARGET, "me", "pod-1", lambda: AT, observer=heard)
    async with running(closed.run):
        closed.record("Normal", "Published", "")
        await closed.flush(FLUSH_S)

    assert heard.lost == ["bug", "bug"]
    assert all(record.exc_info for record in caplog.records)


async def test_a_long_name_of_the_config_map_leaves_room_for_a_unique_end() -> None:
    server = ScriptedApiServer(OK, OK)
    long = Key("spaces", "a" * 219 + "." + "b" * 33)
    async with recorder(server, target=long) as events:
        events.record("Normal", "First", "")
        events.record("Normal", "Second", "")
        await events.flush(FLUSH_S)

    names = [each["metadata"]["name"] for each in bodies(server.asked)]
    assert len(set(names)) == 2
    assert all(len(name) <= 253 and re.fullmatch(r"a{219}\.[0-9a-f]{32}", name) for name in names)


@pytest.mark.parametrize(
    ("instance", "sent"),
    [
        pytest.param("x" * 40 + "y" * 128, "y" * 128, id="long"),
        pytest.param("", "kubernaut-dynamic-toolset", id="unknown"),
    ],
)
async def test_the_reporting_instance_is_one_that_the_api_server_takes(instance: str, sent: str) -> None:
    server = ScriptedApiServer(OK)
    async with recorder(server, instance=instance) as events:
        events.record("Normal", "Published", "")
        await events.flush(FLUSH_S)
    assert bodies(server.asked)[0]["reportingInstance"] == sent


@pytest.mark.parametrize(
    ("note", "sent"),
    [
        pytest.param("caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{CJK UNIFIED IDEOGRAPH-4E2D}", None, id="letters"),
        pytest.param("a\x1b[31mb\r\n\x00", "a\\x1b[31mb\\r\\n\\x00", id="terminal"),
        pytest.param("a\u202eb\u200bc", "a\\u202eb\\u200bc", id="direction-and-invisible"),
        pytest.param("\ud800", "\\ud800", id="half-a-character"),
        pytest.param("x" * 1024, None, id="just-fits"),
        pytest.param("x" * 1025, "x" * 1021 + "…", id="too-long"),
        pytest.param("\N{LATIN SMALL LETTER E WITH ACUTE}" * 513, "é" * 510 + "…", id="too-long-in-bytes"),
        pytest.param("\n" * 600, "\\n" * 510 + "\\…", id="too-long-once-escaped"),
    ],
)
def test_a_note_is_printable_and_short(note: str, sent: str | None) -> None:
    assert printable(note) == (note if sent is None else sent)


@given(st.text(st.characters(), max_size=2000))
def test_any_text_becomes_a_note_that_is_printable_and_fits(text: str) -> None:
    note = printable(text)
    assert note.isprintable()
    assert len(note.encode()) <= NOTE_LIMIT_BYTES


@pytest.mark.parametrize("who", ["fake", "real"])
async def test_a_recorder_takes_everything_at_once_and_never_raises(who: str) -> None:
    fake, heard = FakeEvents(), Heard()
    transport = KubeTransport(FixedCredentials(""), "test/1")
    real = KubeEvents(transport, TARGET, "me", "pod-1", lambda: AT, observer=heard)
    recorder: EventRecorder = fake if who == "fake" else real
    for number in range(300):
        recorder.record("Normal", f"Reason{number}", "\ud800" * number, related=Key("", ""))
    recorder.record("Warning", "", "")
    if who == "fake":
        assert len(fake.recorded) == 301
    else:  # what is neither malformed nor over the limit of one object waits; nothing was a bug
        assert heard.lost == ["limited"] * 275 + ["malformed"]
