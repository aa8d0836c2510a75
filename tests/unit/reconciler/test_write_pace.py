from itertools import pairwise

import pytest

from support.build import candidate
from toolset.core.candidate import Candidate
from toolset.core.shares import Shares
from toolset.reconciler.write_pace import OF_A_NAMESPACE, OF_THE_REST, WritePace


def writes(states: list[list[Candidate]], gap_s: float, longest_s: float = 30.0) -> list[float]:
    """Return when states are written that follow each other, each as soon as it may be."""
    pace, now_s, found = WritePace(longest_s), 0.0, list[float]()
    for tools in states:
        now_s += gap_s + pace.wait_s(tools, now_s + gap_s)
        pace.wrote(tools, now_s)
        found.append(now_s)
    return found


def test_a_service_that_flaps_waits_and_another_takes_it_along() -> None:
    pace, flapping = WritePace(30.0), [[candidate("a")], list[Candidate]()]
    for number in range(20):
        pace.wrote(flapping[number % 2], float(number))
    assert pace.wait_s(flapping[0], 20.0) > 20.0
    assert pace.wait_s([*flapping[0], candidate("b")], 20.0) == 0.0


def test_many_services_that_change_once_do_not_wait() -> None:
    states = [[candidate(f"tool-{number}") for number in range(count)] for count in range(150)]
    assert writes(states, 0.1)[-1] < 20.0


def test_services_of_one_namespace_that_take_turns_wait_after_a_large_burst() -> None:
    tools = [candidate(f"tool-{number}") for number in range(1000)]
    found = writes([[tool] for tool in tools], 0.1)
    assert found[OF_A_NAMESPACE.free - 20] < 30.0
    last_minute = [at_s for at_s in found if at_s > found[-1] - 60.0]
    assert len(last_minute) <= 13


def test_untrusted_namespaces_that_take_turns_wait_as_one_does_and_trusted_ones_do_not() -> None:
    pace, now_s, found = WritePace(30.0, Shares({"ops"}.__contains__)), 0.0, list[float]()
    for number in range(1000):
        tools = [candidate(f"tool-{number}", namespace=f"team-{number % 50}")]
        now_s += 0.1 + pace.wait_s(tools, now_s + 0.1)
        pace.wrote(tools, now_s)
        found.append(now_s)
    assert found[OF_A_NAMESPACE.free - 20] < 30.0
    assert len([at_s for at_s in found if at_s > found[-1] - 60.0]) <= 13
    assert pace.wait_s([candidate(namespace="ops")], now_s) == 0.0


def test_writes_that_change_no_tool_wait_neither_in_a_burst_nor_when_they_are_rare() -> None:
    tools = [candidate("a")]
    found = writes([tools] * (OF_THE_REST.free + 1), 0.1)
    assert found[-1] - found[0] < 2.5
    pace = WritePace(30.0)
    for number in range(100):
        assert pace.wait_s(tools, number * OF_THE_REST.calm_s) == 0.0
        pace.wrote(tools, number * OF_THE_REST.calm_s)


def test_writes_that_change_no_tool_are_few_after_a_burst() -> None:
    found = writes([[candidate("a")]] * 200, 0.1)
    assert len([at_s for at_s in found if at_s < found[0] + 3600.0]) <= 60
    assert max(later - earlier for earlier, later in pairwise(found)) <= 4 * 30.0 + 0.2


@pytest.mark.parametrize(("longest_s", "within_s"), [(0.3, 2.1), (1.0, 21.0), (5.0, 101.0)])
def test_no_pause_is_longer_than_the_cap(longest_s: float, within_s: float) -> None:
    flapping = [[candidate("a")], list[Candidate]()] * 10
    found = writes(flapping, 0.1, longest_s)
    assert found[-1] <= within_s
    assert max(later - earlier for earlier, later in pairwise(found)) <= longest_s + 0.2
