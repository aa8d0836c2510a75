from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

import anyio
import pytest

from toolset.model import Key
from toolset.runtime.correlator import Allowance, Correlator, CorrelatorOptions, Occurrence, Refusal, Series

AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone.utc)
LATER = AT + timedelta(seconds=7)
GRAFANA = Key("team-a", "grafana")


def occurrence(note: str = "it is there", related: Key | None = GRAFANA, kind: str = "Normal") -> Occurrence:
    return Occurrence(kind, "Published", "Publish", note, related)


def accepted(correlator: Correlator, *occurrences: Occurrence) -> list[Series]:
    observed = [correlator.observe(each, AT) for each in occurrences]
    return [each for each in observed if isinstance(each, Series)]


def refused(correlator: Correlator, occurrences: Iterable[Occurrence]) -> list[Refusal]:
    observed = [correlator.observe(each, AT) for each in occurrences]
    return [each for each in observed if isinstance(each, Refusal)]


async def test_the_first_of_its_kind_begins_a_series() -> None:
    (series,) = accepted(Correlator(), occurrence())

    assert (series.occurrence, series.combined, series.count) == (occurrence(), False, 1)
    assert (series.first_at, series.last_at) == (AT, AT)
    assert (series.recorded, series.name) == (0, "")


async def test_a_repeat_is_one_more_in_the_count() -> None:
    correlator = Correlator()
    (first,) = accepted(correlator, occurrence())
    second = correlator.observe(occurrence(), LATER)

    assert second is first
    assert (first.count, first.first_at, first.last_at) == (2, AT, LATER)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(occurrence(note="it is back"), id="note"),
        pytest.param(occurrence(related=Key("team-a", "other")), id="service"),
        pytest.param(occurrence(related=None), id="no-service"),
        pytest.param(occurrence(kind="Warning"), id="kind"),
        pytest.param(Occurrence("Normal", "Held", "Publish", "it is there", GRAFANA), id="reason"),
        pytest.param(Occurrence("Normal", "Published", "Detect", "it is there", GRAFANA), id="action"),
    ],
)
async def test_what_differs_is_a_series_of_its_own(other: Occurrence) -> None:
    first, second = accepted(Correlator(), occurrence(), other)
    assert first is not second


async def test_a_repeat_within_six_minutes_of_the_last_one_continues_the_series() -> None:
    correlator = Correlator()
    for count in range(1, 6):
        (series,) = accepted(correlator, occurrence())
        assert series.count == count
        await anyio.sleep(360)


async def test_after_more_than_six_minutes_a_new_series_begins() -> None:
    correlator = Correlator()
    (first,) = accepted(correlator, occurrence())
    await anyio.sleep(361)
    (second,) = accepted(correlator, occurrence())

    assert second is not first
    assert (first.count, second.count) == (1, 1)


async def test_ten_look_alikes_are_reported_one_by_one_and_the_next_ones_together() -> None:
    correlator = Correlator()
    series = accepted(correlator, *(occurrence(f"answered {number}") for number in range(13)))

    assert [each.combined for each in series] == [False] * 10 + [True] * 3
    assert len({id(each) for each in series[:10]}) == 10
    assert series[10] is series[11] is series[12]
    assert (series[10].count, series[10].occurrence.note) == (3, "answered 10")


async def test_a_look_alike_that_has_a_series_of_its_own_continues_that() -> None:
    correlator = Correlator()
    first, *_ = accepted(correlator, *(occurrence(f"answered {number}") for number in range(13)))
    (repeat,) = accepted(correlator, occurrence("answered 0"))

    assert repeat is first
    assert first.count == 2


async def test_a_look_alike_that_was_reported_alone_is_reported_alone_again_after_its_series_ended() -> None:
    correlator = Correlator()
    first, *_ = accepted(correlator, *(occurrence(f"answered {number}") for number in range(13)))
    await anyio.sleep(400)
    (repeat,) = accepted(correlator, occurrence("answered 0"))

    assert repeat is not first
    assert not repeat.combined


async def test_what_is_reported_together_ends_like_any_series() -> None:
    correlator = Correlator()
    *_, first = accepted(correlator, *(occurrence(f"answered {number}") for number in range(11)))
    await anyio.sleep(361)
    (second,) = accepted(correlator, occurrence("answered 11"))

    assert second.combined
    assert second is not first


async def test_ten_minutes_without_a_look_alike_are_forgiven() -> None:
    correlator = Correlator()
    accepted(correlator, *(occurrence(f"answered {number}") for number in range(11)))
    await anyio.sleep(601)
    (series,) = accepted(correlator, occurrence("answered 11"))
    assert not series.combined


async def test_an_empty_note_is_a_note() -> None:
    correlator = Correlator()
    series = accepted(correlator, *(occurrence(f"answered {number}") for number in range(11)), occurrence(""))
    assert series[11] is series[10]


def reasons(count: int, related: Key | None = GRAFANA, kind: str = "Normal") -> list[Occurrence]:
    return [Occurrence(kind, f"Reason{number}", "Publish", "", related) for number in range(count)]


def services(count: int, namespace: str = "team-a") -> list[Occurrence]:
    return [occurrence(related=Key(namespace, f"grafana-{number}")) for number in range(count)]


async def test_an_object_may_begin_twenty_five_series() -> None:
    correlator = Correlator()
    assert refused(correlator, reasons(25)) == []
    assert refused(correlator, reasons(26)) == [Refusal.OBJECT]  # 25 repeats, which cost nothing, and a new one


async def test_an_object_may_begin_one_more_after_five_minutes() -> None:
    correlator = Correlator()
    refused(correlator, reasons(25))
    await anyio.sleep(299)
    assert refused(correlator, reasons(26)) == [Refusal.OBJECT]
    await anyio.sleep(1)
    assert refused(correlator, reasons(27)) == [Refusal.OBJECT]


async def test_an_allowance_never_grows_beyond_its_burst() -> None:
    correlator = Correlator()
    await anyio.sleep(86_400)
    assert refused(correlator, reasons(27)) == [Refusal.OBJECT] * 2


async def test_chatter_never_hides_a_warning() -> None:
    correlator = Correlator()
    assert len(refused(correlator, reasons(30))) == 5
    assert refused(correlator, reasons(1, kind="Warning")) == []


async def test_one_namespace_never_silences_another() -> None:
    correlator = Correlator()
    assert refused(correlator, services(110)) == [Refusal.NAMESPACE] * 10
    assert refused(correlator, services(50, "team-b")) == []


async def test_all_services_together_may_begin_two_hundred_and_fifty_and_a_few_of_each_namespace() -> None:
    correlator = Correlator()
    flood = [each for namespace in ("a", "b", "c") for each in services(90, namespace)]
    assert refused(correlator, flood) == [Refusal.OVERALL] * 10


async def test_three_namespaces_together_do_not_silence_a_fourth() -> None:
    correlator = Correlator()
    refused(correlator, [each for namespace in ("a", "b", "c") for each in services(90, namespace)])
    assert refused(correlator, services(12, "team-d")) == [Refusal.OVERALL] * 2
    await anyio.sleep(300)
    refused(correlator, [each for namespace in ("e", "f", "g") for each in services(90, namespace)])
    assert refused(correlator, services(1, "team-d")) == []


async def test_namespaces_with_an_account_together_leave_half_of_the_allowance_to_others() -> None:
    correlator = Correlator(account=lambda name: "" if name.startswith("team-") else name)
    many = [each for number in range(50) for each in services(20, f"team-{number}")]
    refused_of_many = refused(correlator, many)
    assert len(many) - len(refused_of_many) == 125 + 440  # and ten that are reserved for each of the others
    assert set(refused_of_many) == {Refusal.OVERALL}
    assert refused(correlator, services(100, "ops")) == []
    await anyio.sleep(3600)
    refused(correlator, many)
    assert refused(correlator, services(100, "monitoring")) == []


async def test_no_service_silences_what_concerns_the_target_itself() -> None:
    correlator = Correlator()
    refused(correlator, [each for namespace in ("a", "b", "c") for each in services(90, namespace)])
    assert refused(correlator, reasons(25, related=None)) == []
    assert refused(correlator, reasons(26, related=None)) == [Refusal.OBJECT]


async def test_a_refusal_uses_no_allowance_up() -> None:
    options = CorrelatorOptions(by_object=Allowance(1, 1e9), by_namespace=Allowance(2, 1e9))
    correlator = Correlator(options)
    assert refused(correlator, reasons(5)) == [Refusal.OBJECT] * 4
    assert refused(correlator, reasons(1, Key("team-a", "other"))) == []


async def test_only_so_much_is_remembered_and_the_least_recent_is_forgotten() -> None:
    correlator = Correlator(CorrelatorOptions(remembered=2))
    first, second, third = services(3)
    accepted(correlator, first, second, first, third)  # the third makes the second one be forgotten

    (first_again,) = accepted(correlator, first)
    (second_again,) = accepted(correlator, second)
    assert (first_again.count, second_again.count) == (3, 1)


async def test_a_flood_of_services_is_remembered_in_little_memory() -> None:
    correlator = Correlator()
    for number in range(20_000):
        correlator.observe(occurrence(related=Key(f"team-{number % 1000}", f"grafana-{number}")), AT)

    assert len(correlator._series._values) <= 4096
    assert len(correlator._groups._values) == 4096
    assert len(correlator._buckets._values) == 4096
