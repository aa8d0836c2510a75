from datetime import datetime, timedelta, timezone

import msgspec
import pytest

from toolset.core.status.snapshot import Probe, ServiceStatus
from toolset.core.status.texts import age, counted, now, probe_text

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
PROBE = Probe(
    at=NOW - timedelta(seconds=4),
    outcome="status",
    detail="answered 404",
    status=404,
    took_ms=3.4,
    successes=0,
    failures=2,
    fall=3,
)
TOOL = ServiceStatus(namespace="a", name="b", verdict="Published", published=True, url="http://b.a:1", since=NOW)
UNHEALTHY = ServiceStatus(namespace="a", name="b", verdict="Unhealthy", sentence="its health check fails")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (7199, "119m"),
        (7200, "2h"),
        (172_799, "47h"),
        (172_800, "2d"),
    ],
)
def test_an_age_is_in_its_largest_unit(seconds: int, text: str) -> None:
    assert age(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("probe", "text"),
    [
        (PROBE, "answered 404, 4s ago, 2 of 3 failures"),
        (msgspec.structs.replace(PROBE, failures=7), "answered 404, 4s ago"),
        (msgspec.structs.replace(PROBE, detail="", failures=7), "status, 4s ago"),
        (msgspec.structs.replace(PROBE, outcome="alive", detail=""), "alive, 4s ago, 3 ms"),
    ],
)
def test_a_probe_says_what_it_found_and_when(probe: Probe, text: str) -> None:
    assert probe_text(probe, NOW) == text


@pytest.mark.parametrize(
    ("service", "text"),
    [
        (TOOL, "is published since 2026-01-01 12:00:00 UTC at http://b.a:1"),
        (msgspec.structs.replace(TOOL, since=None), "is published since before this replica led at http://b.a:1"),
        (
            msgspec.structs.replace(TOOL, held=True, probe=PROBE),
            (
                "is published since 2026-01-01 12:00:00 UTC at http://b.a:1, only because removals are held; "
                "last probe answered 404, 4s ago, 2 of 3 failures"
            ),
        ),
        (UNHEALTHY, "is not published: its health check fails [Unhealthy]"),
        (
            msgspec.structs.replace(UNHEALTHY, since=NOW),
            "is not published (since 2026-01-01 12:00:00 UTC): its health check fails [Unhealthy]",
        ),
    ],
)
def test_one_line_says_what_is_so_now(service: ServiceStatus, text: str) -> None:
    assert now(service, NOW) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 Services"), (1, "1 Service"), (2, "2 Services"), (1000, "1000 Services")]
)
def test_only_a_count_of_one_is_singular(count: int, text: str) -> None:
    assert counted(count, "Service") == text
