from typing import Final

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from support.build import candidate
from support.prober import HEALTHY, UNHEALTHY
from support.rendering import kubernaut
from toolset.core.candidate import Backend, Candidate, Reason, Rejected, Variant, Verdict
from toolset.core.duplicates import by_backend
from toolset.core.health.options import HealthOptions
from toolset.core.health.removal_brake import Hold
from toolset.core.health.thresholds import Health, Outcome, assumed_up
from toolset.core.inventory import ALIVE, SUBSTITUTES_LIMIT, Inventory, instances
from toolset.core.overrides.baseline import Published
from toolset.core.shares import Shares
from toolset.model import Key

PROMETHEUS: Final = candidate("prometheus")
NO_MATCH: Final = Rejected(Reason.NO_MATCH)
TLS: Final = Variant("https", 9090, "")
BELOW: Final = Variant("http", 9090, "/prometheus")
OPEN: Final = msgspec.structs.replace(PROMETHEUS, alternatives=(TLS,), fallbacks=(BELOW,))
AT_TLS: Final = Outcome(alive=True, variant=TLS, requests=2, how="https after http did not speak HTTP")


def known(*candidates: Candidate, healthy: bool = True) -> Inventory:
    """Return an inventory that holds ``candidates``, probed once with success where they are healthy."""
    inventory = Inventory()
    for each in candidates:
        inventory.detected(each.key, each)
        if healthy:
            inventory.probed(each, HEALTHY)
    return inventory


def hold(inventory: Inventory, now_s: float, *hidden: Candidate) -> Hold:
    """Return what is held when all tools but the ``hidden`` ones are published."""
    keys = [*inventory.healths(trusted=True), *inventory.healths(trusted=False)]
    return inventory.hold(now_s, Published(tools=dict.fromkeys(set(keys) - {each.key for each in hidden}, "")))


def names(inventory: Inventory) -> list[str]:
    return [tool.key.name for tool in inventory.tools()]


def test_a_candidate_becomes_a_tool_after_its_first_success() -> None:
    inventory = Inventory()
    assert inventory.detected(PROMETHEUS.key, PROMETHEUS)
    assert inventory.tools() == ()
    assert inventory.probed(PROMETHEUS, HEALTHY) == Health(up=True, successes=1, variant=PROMETHEUS.variant)
    assert inventory.tools() == (PROMETHEUS,)


def test_a_candidate_that_fails_is_no_tool() -> None:
    inventory = known(PROMETHEUS, healthy=False)
    inventory.probed(PROMETHEUS, UNHEALTHY)
    assert inventory.tools() == ()
    assert inventory.verdicts() == {PROMETHEUS.key: Rejected(Reason.UNHEALTHY, "answered 503", "prometheus")}


def test_what_answers_as_something_else_is_an_identity_mismatch_and_not_unhealthy() -> None:
    inventory = known(PROMETHEUS, healthy=False)
    inventory.probed(PROMETHEUS, Outcome(alive=False, detail="no sign", identity_mismatch=True))
    mismatch = Rejected(Reason.IDENTITY_MISMATCH, "no sign", "prometheus")
    assert inventory.candidate_verdicts() == {PROMETHEUS.key: mismatch}


def test_a_tool_is_not_dropped_on_one_failed_probe() -> None:
    """Defect of the original: it dropped a tool on one failed probe."""
    inventory = known(PROMETHEUS)
    inventory.probed(PROMETHEUS, UNHEALTHY)
    inventory.probed(PROMETHEUS, UNHEALTHY)
    assert inventory.tools() == (PROMETHEUS,)
    inventory.probed(PROMETHEUS, UNHEALTHY)
    assert inventory.tools() == ()


def test_what_is_published_starts_as_up_and_survives_its_first_failed_probe() -> None:
    """Defect of the original: it published an empty list when its own network failed."""
    inventory = Inventory()
    inventory.detected(PROMETHEUS.key, PROMETHEUS, published=Published(frozenset({PROMETHEUS.url})))
    assert inventory.health(PROMETHEUS.key) == assumed_up(PROMETHEUS.variant)
    assert inventory.tools() == (PROMETHEUS,)
    inventory.probed(PROMETHEUS, UNHEALTHY)
    assert inventory.tools() == (PROMETHEUS,)


def test_a_failure_threshold_of_one_is_followed() -> None:
    inventory = Inventory(HealthOptions(fall=1))
    inventory.detected(PROMETHEUS.key, PROMETHEUS, published=Published(frozenset({PROMETHEUS.url})))
    inventory.probed(PROMETHEUS, UNHEALTHY)
    assert inventory.tools() == ()


def test_without_probes_one_probe_is_enough_whatever_the_rise() -> None:
    inventory = Inventory(HealthOptions(rise=3))
    inventory.detected(PROMETHEUS.key, PROMETHEUS)
    inventory.probed(PROMETHEUS, ALIVE)
    assert inventory.tools() == (PROMETHEUS,)


def test_the_same_verdict_twice_is_not_reported() -> None:
    inventory = known(PROMETHEUS)
    assert not inventory.detected(PROMETHEUS.key, candidate("prometheus"))
    assert inventory.tools() == (PROMETHEUS,)


def test_health_is_kept_when_only_the_priority_changes() -> None:
    preferred = candidate("prometheus", priority=5)
    inventory = known(PROMETHEUS)
    assert inventory.detected(preferred.key, preferred)
    assert inventory.tools() == (preferred,)


def test_health_is_forgotten_when_the_endpoint_or_its_check_changes() -> None:
    for moved in (
        candidate("prometheus", port=9091),
        candidate("prometheus", check="/healthy"),
        candidate("prometheus", address="10.0.0.2"),
        candidate("prometheus", tool_type="custom", port=9090, check="/-/healthy"),
    ):
        inventory = known(PROMETHEUS)
        inventory.detected(moved.key, moved)
        assert inventory.health(moved.key) == Health()
        assert inventory.tools() == ()


def test_a_candidate_that_is_refused_is_a_tool_no_longer() -> None:
    inventory = known(PROMETHEUS)
    assert inventory.detected(PROMETHEUS.key, NO_MATCH)
    assert inventory.candidate(PROMETHEUS.key) is None
    assert inventory.tools() == ()
    assert inventory.verdicts() == {PROMETHEUS.key: NO_MATCH}


def test_a_candidate_that_comes_back_has_to_prove_its_health_again() -> None:
    inventory = known(PROMETHEUS)
    inventory.detected(PROMETHEUS.key, NO_MATCH)
    inventory.detected(PROMETHEUS.key, PROMETHEUS)
    assert inventory.tools() == ()


def test_the_outcome_of_a_service_that_changed_meanwhile_counts_for_nothing() -> None:
    inventory = known(PROMETHEUS)
    moved = candidate("prometheus", port=9091)
    inventory.detected(moved.key, moved)
    assert inventory.probed(PROMETHEUS, HEALTHY) is None
    assert inventory.health(moved.key) == Health()
    inventory.forget(moved.key)
    assert inventory.probed(moved, HEALTHY) is None


def test_forgetting_says_whether_there_was_anything() -> None:
    inventory = known(PROMETHEUS)
    assert inventory.candidate(PROMETHEUS.key) == PROMETHEUS
    assert inventory.forget(PROMETHEUS.key)
    assert not inventory.forget(PROMETHEUS.key)
    assert inventory.candidate(PROMETHEUS.key) is None
    assert inventory.health(PROMETHEUS.key) == Health()
    assert inventory.tools() == ()


def test_of_two_services_of_one_backend_the_one_that_is_not_headless_is_kept() -> None:
    headless = candidate("a-operated", backend="same", headless=True, created="2020-01-01T00:00:00Z")
    main = candidate("main", backend="same")
    for order in ((headless, main), (main, headless)):
        inventory = known(*order)
        assert inventory.tools() == (main,)
        assert inventory.verdicts()[headless.key] == Rejected(Reason.DUPLICATE, "of monitoring/main", "prometheus")


def test_of_two_services_of_one_backend_the_oldest_is_kept_and_then_the_first_by_name() -> None:
    young = candidate("a", backend="same", created="2025-06-01T00:00:00Z")
    old = candidate("c", backend="same", created="2024-06-01T00:00:00Z")
    as_old = candidate("b", backend="same", created="2024-06-01T00:00:00Z")
    assert names(known(young, old)) == ["c"]
    assert names(known(young, old, as_old)) == ["b"]


def test_what_is_up_is_kept_until_a_better_service_of_its_backend_has_been_up_once() -> None:
    headless = candidate("operated", backend="same", headless=True)
    main = candidate("main", backend="same")
    inventory = known(headless)
    inventory.detected(main.key, main)
    assert inventory.tools() == (headless,)
    inventory.probed(main, UNHEALTHY)
    assert inventory.tools() == (headless,)
    assert inventory.verdicts()[main.key] == Rejected(Reason.DUPLICATE, "of monitoring/operated", "prometheus")
    inventory.probed(main, HEALTHY)
    assert inventory.tools() == (main,)


def probe(inventory: Inventory, tool: Candidate, *, well: bool, at_s: float, times: int = 1) -> None:
    """Probe ``tool`` several times, once a second."""
    for number in range(times):
        now_s = at_s + number
        inventory.probed(tool, HEALTHY if well else UNHEALTHY, began_s=now_s, now_s=now_s)


def test_a_preferred_service_that_is_lost_yields_to_one_that_is_healthy_until_it_is_back() -> None:
    gateway, frontend = candidate("gateway", backend="same"), candidate("z-frontend", backend="same", headless=True)
    inventory = known(gateway, frontend)
    probe(inventory, gateway, well=False, at_s=1, times=2)
    assert inventory.tools() == (gateway,), "two failed probes are no loss"
    probe(inventory, gateway, well=False, at_s=3)
    assert inventory.tools() == (frontend,)
    assert inventory.verdicts()[gateway.key] == Rejected(Reason.DUPLICATE, "of monitoring/z-frontend", "prometheus")
    assert set(inventory.healths(trusted=True)) == {frontend.key}, "no loss for the brake"
    probe(inventory, frontend, well=False, at_s=20)
    assert inventory.tools() == (frontend,), "one failed probe is no loss"
    probe(inventory, gateway, well=True, at_s=21)
    assert inventory.tools() == (gateway,)


def test_a_backend_that_is_lost_with_all_its_services_is_a_loss_and_no_reason_to_move() -> None:
    main, headless = candidate("main", backend="same"), candidate("operated", backend="same", headless=True)
    inventory = known(main, headless)
    probe(inventory, main, well=False, at_s=1, times=2)
    probe(inventory, headless, well=False, at_s=2.5)
    probe(inventory, main, well=False, at_s=3)
    assert inventory.tools() == ()
    assert inventory.healths(trusted=True)[main.key].fell_s == 3
    probe(inventory, headless, well=False, at_s=4, times=2)
    assert inventory.verdicts()[main.key] == Rejected(Reason.UNHEALTHY, "answered 503", "prometheus")


def test_a_service_that_answers_comes_before_one_that_only_asks_for_credentials() -> None:
    gateway, frontend = candidate("gateway", backend="same"), candidate("z-frontend", backend="same")
    inventory = known(gateway, frontend, healthy=False)
    inventory.probed(gateway, Outcome(alive=True, status=401, unauthorized=True))
    assert names(inventory) == ["gateway"]
    inventory.probed(frontend, HEALTHY)
    assert names(inventory) == ["z-frontend"]
    assert inventory.verdict(gateway.key) == Rejected(Reason.DUPLICATE, "of monitoring/z-frontend", "prometheus")
    probe(inventory, frontend, well=False, at_s=1, times=3)
    assert inventory.tools() == (), "what cannot be asked takes over from none"


def test_a_service_that_was_never_up_takes_over_from_none() -> None:
    main, headless = candidate("main", backend="same"), candidate("operated", backend="same", headless=True)
    inventory = known(main)
    inventory.detected(headless.key, headless)
    probe(inventory, main, well=False, at_s=1, times=3)
    assert inventory.tools() == ()


def test_what_may_take_over_is_named_for_the_preferred_service_only() -> None:
    many = [candidate(f"p{number:02}", backend="same") for number in range(20)]
    inventory = known(*many)
    assert list(inventory.substitutes(many[0].key)) == [each.key for each in many[1:SUBSTITUTES_LIMIT]]
    assert list(inventory.substitutes(many[1].key)) == []
    assert list(inventory.substitutes(Key("monitoring", "gone"))) == []


def test_a_governing_service_of_two_instances_stands_for_neither() -> None:
    """The Prometheus operator has one governing Service in a namespace, whatever the number of its Prometheus."""
    a, b = (candidate(name, backend=Backend(frozenset({("x", "x"), ("of", name)}), 9090)) for name in "ab")
    operated = candidate("operated", backend=Backend(frozenset({("x", "x")}), "web", governing=True), headless=True)
    inventory = known(a, b, operated)
    assert inventory.tools() == (a, b)
    probe(inventory, a, well=False, at_s=1, times=3)
    assert inventory.tools() == (b,)
    assert inventory.verdicts()[operated.key] == Rejected(Reason.DUPLICATE, "of monitoring/a", "prometheus")
    inventory.forget(a.key)
    assert inventory.verdicts()[operated.key] == Rejected(Reason.DUPLICATE, "of monitoring/b", "prometheus")
    inventory.forget(b.key)
    assert inventory.tools() == (operated,)


def test_the_same_backend_in_another_namespace_or_of_another_type_is_no_duplicate() -> None:
    inventory = known(
        candidate("a", backend="same"),
        candidate("a", backend="same", namespace="elsewhere"),
        candidate("b", backend="same", tool_type="grafana"),
    )
    assert len(inventory.tools()) == 3


def test_verdicts_are_sorted_and_say_what_each_service_is() -> None:
    unprobed, refused = candidate("unprobed"), Key("a", "refused")
    inventory = known(PROMETHEUS)
    inventory.detected(unprobed.key, unprobed)
    inventory.detected(refused, NO_MATCH)
    assert list(inventory.verdicts().items()) == [
        (refused, NO_MATCH),
        (PROMETHEUS.key, PROMETHEUS),
        (unprobed.key, Rejected(Reason.UNPROBED, type="prometheus")),
    ]


def test_instances_are_ordered_by_type_then_trust_then_the_admins_priority_then_age_then_name() -> None:
    grafana = candidate("zz", tool_type="grafana", trusted=False)
    preferred = candidate("z", admin_priority=5)
    oldest = candidate("y", created="2024-01-01T00:00:00Z")
    by_namespace = candidate("b", namespace="a"), candidate("a", namespace="b")
    untrusted = candidate("x", namespace="c", created="2023-01-01T00:00:00Z", admin_priority=9, trusted=False)
    ordered = [grafana, preferred, oldest, *by_namespace, untrusted]
    assert instances(reversed(ordered)) == ordered


def test_a_priority_of_an_annotation_reorders_only_the_places_of_its_own_namespace() -> None:
    old, new = candidate("old", created="2023"), candidate("new", created="2025", priority=999999)
    between = candidate("between", namespace="team", created="2024")
    assert instances([old, between, new]) == [new, between, old]


def test_a_newcomer_with_a_priority_does_not_come_before_an_older_service_of_another_namespace() -> None:
    old, loud = candidate("old", created="2023"), candidate("loud", namespace="team", created="2025", priority=999999)
    assert instances([loud, old]) == [old, loud]


def test_approvals_say_what_has_changed() -> None:
    a, b, c = (candidate(name).key for name in "abc")
    inventory = Inventory(approved=frozenset({a, b}))
    assert [inventory.is_approved(key) for key in (a, b, c)] == [True, True, False]
    assert inventory.approve(frozenset({b, c})) == {a, c}
    assert [inventory.is_approved(key) for key in (a, b, c)] == [False, True, True]
    assert inventory.approve(frozenset({b, c})) == frozenset()


Step = Verdict | bool | None
"""What happens to a Service: detection, a probe of what it is by then, or its end."""

candidates = st.builds(
    candidate,
    tool_type=st.sampled_from(["prometheus", "grafana", "custom"]),
    port=st.sampled_from([80, 9090]),
    created=st.sampled_from(["2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]),
    priority=st.integers(-1, 1),
    backend=st.sampled_from(
        [
            "",
            "same",
            Backend(frozenset({("app", "same"), ("set", "a")})),
            Backend(frozenset({("app", "same"), ("set", "b")}), governing=True),
            Backend(frozenset({("app", "other")}), "web", installation="i"),
            Backend(frozenset({("app", "third")}), 9090, installation="i", part=1),
        ]
    ),
    headless=st.booleans(),
)
steps: st.SearchStrategy[Step] = st.one_of(candidates, st.just(NO_MATCH), st.booleans(), st.just(None))
lives = st.dictionaries(
    st.builds(Key, st.sampled_from(["n1", "n2"]), st.sampled_from(["a", "b", "c"])),
    st.lists(steps, max_size=6),
    max_size=6,
)


def happen(inventory: Inventory, key: Key, step: Step) -> None:
    if step is None:
        inventory.forget(key)
    elif isinstance(step, bool):
        current = inventory.candidate(key)
        if current is not None:
            inventory.probed(current, HEALTHY if step else UNHEALTHY)
    else:
        named = msgspec.structs.replace(step, key=key) if isinstance(step, Candidate) else step
        inventory.detected(key, named)


def lived(lives: dict[Key, list[Step]], turns: list[Key]) -> Inventory:
    """Return the inventory after all steps of each Service, interleaved in the order of ``turns``."""
    inventory, left = Inventory(), {key: list(steps) for key, steps in lives.items()}
    for key in turns:
        happen(inventory, key, left[key].pop(0))
    return inventory


@given(lives, st.data())
def test_the_order_in_which_services_change_never_changes_what_is_published(
    lives: dict[Key, list[Step]], data: st.DataObject
) -> None:
    turns = [key for key, steps in lives.items() for _ in steps]
    one, other = lived(lives, turns), lived(lives, data.draw(st.permutations(turns)))
    assert one.tools() == other.tools()
    assert list(one.verdicts().items()) == list(other.verdicts().items())
    assert list(kubernaut(one.tools()).items()) == list(kubernaut(other.tools()).items())


@given(lives)
def test_a_service_is_a_tool_exactly_when_its_verdict_says_so(lives: dict[Key, list[Step]]) -> None:
    inventory = lived(lives, [key for key, steps in lives.items() for _ in steps])
    said = [verdict for verdict in inventory.verdicts().values() if isinstance(verdict, Candidate)]
    assert instances(said) == list(inventory.tools())


@given(lives)
def test_no_backend_is_published_twice(lives: dict[Key, list[Step]]) -> None:
    inventory = lived(lives, [key for key, steps in lives.items() for _ in steps])
    tools = {tool.key for tool in inventory.tools()}
    places: dict[tuple[str, str], list[Candidate]] = {}
    for each in filter(None, map(inventory.candidate, lives)):
        places.setdefault((each.key.namespace, each.type), []).append(each)
    for same in (same for place in places.values() for same in by_backend(place)):
        assert len(tools & {each.key for each in same.members}) <= 1
        assert tools.isdisjoint(each.key for each in same.followers)


def test_a_tool_that_is_held_is_published_although_it_is_down() -> None:
    inventory = known(PROMETHEUS)
    for _ in range(3):
        inventory.probed(PROMETHEUS, UNHEALTHY)
    assert inventory.candidate_verdicts()[PROMETHEUS.key] != PROMETHEUS
    assert inventory.candidate_verdicts({PROMETHEUS.key})[PROMETHEUS.key] == PROMETHEUS


def test_the_brake_sees_each_backend_once() -> None:
    tools = [candidate(f"p{number}") for number in range(4)]
    duplicate = candidate("duplicate", backend=tools[0].backend, headless=True)
    inventory = known(*tools, duplicate)
    assert set(inventory.healths(trusted=True)) == {tool.key for tool in tools}
    inventory.probed(duplicate, UNHEALTHY, began_s=3.0, now_s=3.0)
    for tool in tools:
        for now_s in (1.0, 2.0, 4.0):
            inventory.probed(tool, UNHEALTHY, began_s=now_s, now_s=now_s)
    found = hold(inventory, 4.0)
    assert (found.keys, found.known) == (frozenset(tool.key for tool in tools), 4)
    assert not inventory.loss_waits
    inventory.forget(tools[0].key)
    inventory.forget(duplicate.key)
    assert hold(inventory, 5.0).keys == frozenset(tool.key for tool in tools[1:])


def test_candidates_that_are_not_published_do_not_move_the_brake() -> None:
    locked, tools = [candidate(f"locked{number}") for number in range(4)], [candidate(f"p{n}") for n in range(3)]
    inventory = known(*locked, *tools)
    for each in locked:
        inventory.probed(each, Outcome(alive=True, status=401, unauthorized=True), began_s=0.5, now_s=0.5)
    fail(inventory, *tools)
    assert hold(inventory, 4.0, *locked).keys == {tool.key for tool in tools}

    inventory = known(*locked, *tools)
    fail(inventory, *locked, tools[0])
    for each in tools[1:]:
        inventory.probed(each, HEALTHY, began_s=4.0, now_s=4.0)
    assert hold(inventory, 4.0, *locked) == Hold()


def test_a_backend_counts_as_published_when_another_of_its_services_is() -> None:
    first, second = candidate("p0"), candidate("p0-headless", backend=candidate("p0").backend, headless=True)
    others = [candidate(f"p{number}") for number in range(1, 4)]
    inventory = known(first, second, *others)
    fail(inventory, first, *others)
    inventory.probed(second, HEALTHY, began_s=3.0, now_s=3.0)
    published = Published(tools={each.key: "" for each in (first, *others)})
    assert inventory.hold(4.0, published).known == 4


def test_the_documents_say_what_is_published_where_nobody_remembers() -> None:
    tools = [candidate(f"p{number}") for number in range(3)]
    inventory = known(*tools)
    fail(inventory, *tools)
    assert inventory.hold(4.0, Published(frozenset(tool.url for tool in tools))).keys == {tool.key for tool in tools}
    assert inventory.hold(4.0, Published()).keys == frozenset()


def test_a_tool_that_is_held_stays_held_while_it_rises() -> None:
    tools = [candidate(f"p{number}") for number in range(3)]
    inventory = Inventory(HealthOptions(rise=2))
    for tool in tools:
        inventory.detected(tool.key, tool)
        inventory.probed(tool, HEALTHY)
        inventory.probed(tool, HEALTHY)
        for now_s in (1.0, 2.0, 4.0):
            inventory.probed(tool, UNHEALTHY, began_s=now_s, now_s=now_s)
    assert len(hold(inventory, 4.0).keys) == 3
    inventory.probed(tools[0], HEALTHY, began_s=5.0, now_s=5.0)
    assert len(hold(inventory, 5.0).keys) == 3
    inventory.probed(tools[0], HEALTHY, began_s=6.0, now_s=6.0)
    assert hold(inventory, 6.0).keys == {tool.key for tool in tools[1:]}
    assert inventory.tools() == (tools[0],)


def test_a_change_of_the_service_acts_at_once_whatever_is_held() -> None:
    tools = [candidate(f"p{number}") for number in range(3)]
    inventory = known(*tools)
    for tool in tools:
        for now_s in (1.0, 2.0, 4.0):
            inventory.probed(tool, UNHEALTHY, began_s=now_s, now_s=now_s)
    assert len(hold(inventory, 4.0).keys) == 3
    inventory.detected(tools[0].key, candidate("p0", port=9999))
    inventory.detected(tools[1].key, Rejected(Reason.OPTED_OUT))
    assert hold(inventory, 5.0).keys == {tools[2].key}


def among(*candidates: Candidate) -> Inventory:
    """Return an inventory in which the namespace ``ops`` alone is trusted, and all are up."""
    inventory = Inventory(shares=Shares({"ops"}.__contains__))
    for each in candidates:
        inventory.detected(each.key, each)
        inventory.probed(each, HEALTHY, began_s=0.5, now_s=0.5)
    return inventory


def fail(inventory: Inventory, *tools: Candidate) -> None:
    for tool in tools:
        for now_s in (1.0, 2.0, 4.0):
            inventory.probed(tool, UNHEALTHY, began_s=now_s, now_s=now_s)


OPS: Final = [candidate(f"p{number}", namespace="ops") for number in range(4)]
TEAMS: Final = [candidate(f"t{n}", namespace=f"team-{n}", trusted=False) for n in range(40)]


def test_tools_of_untrusted_namespaces_that_are_healthy_release_no_trusted_ones() -> None:
    inventory = among(*OPS, *TEAMS)
    fail(inventory, *OPS)
    assert hold(inventory, 4.0).keys == {tool.key for tool in OPS}


def test_tools_of_untrusted_namespaces_that_fail_hold_no_trusted_one() -> None:
    inventory = among(*OPS, *TEAMS)
    fail(inventory, OPS[0], *TEAMS)
    for tool in OPS[1:]:
        inventory.probed(tool, HEALTHY, began_s=4.0, now_s=4.0)
    found = hold(inventory, 4.0)
    assert found.keys == {tool.key for tool in TEAMS}
    assert (found.begins, found.known, found.again_s) == (True, 40, 120.0)


def test_what_several_brakes_hold_is_held_until_the_first_of_them_is_due() -> None:
    inventory = among(*OPS, *TEAMS)
    fail(inventory, *OPS)
    assert hold(inventory, 4.0).again_s == 120.0
    fail(inventory, *TEAMS)
    found = hold(inventory, 64.0)
    assert found.keys == {tool.key for tool in (*OPS, *TEAMS)}
    assert found.again_s == 60.0
    assert hold(inventory, 124.0).keys == {tool.key for tool in TEAMS}


def test_a_tool_is_published_at_the_variant_that_answered() -> None:
    inventory = known(OPEN, healthy=False)
    inventory.probed(OPEN, AT_TLS)
    assert [tool.url for tool in inventory.tools()] == [OPEN.at(TLS).url]
    assert inventory.tool(OPEN.key) == OPEN.at(TLS)
    assert inventory.candidate(OPEN.key) == OPEN
    for outcome in (HEALTHY, UNHEALTHY, UNHEALTHY):  # what is remembered counts, whatever detection names first
        inventory.probed(OPEN, outcome)
        assert [tool.url for tool in inventory.tools()] == [OPEN.at(TLS).url]


def test_what_is_no_candidate_is_no_tool() -> None:
    inventory = known()
    inventory.detected(PROMETHEUS.key, NO_MATCH)
    assert inventory.tool(PROMETHEUS.key) is None
    assert inventory.tool(Key("no", "where")) is None


def test_the_published_variant_is_the_one_to_start_with() -> None:
    for variant in (OPEN.variant, TLS, BELOW):
        inventory = Inventory()
        inventory.detected(OPEN.key, OPEN, published=Published(tools={OPEN.key: OPEN.at(variant).url}))
        assert inventory.health(OPEN.key) == assumed_up(variant)
        assert [tool.url for tool in inventory.tools()] == [OPEN.at(variant).url]


def test_an_annotation_that_states_what_the_probe_found_keeps_the_tool() -> None:
    inventory = known(OPEN, healthy=False)
    inventory.probed(OPEN, AT_TLS)
    stated = msgspec.structs.replace(PROMETHEUS, scheme="https")
    assert inventory.detected(stated.key, stated)
    assert inventory.tools() == (stated,)
    inventory.detected(PROMETHEUS.key, PROMETHEUS)  # and one that states something else has to be proven
    assert inventory.tools() == ()


def test_a_tool_that_asks_for_a_tenant_says_so() -> None:
    inventory = known(PROMETHEUS, healthy=False)
    for outcome, asks in (
        (Outcome(alive=True, status=401, unauthorized=True), (True, False)),
        (Outcome(alive=True, status=401, unauthorized=True, wants_tenant=True), (True, True)),
        (HEALTHY, (False, False)),
    ):
        inventory.probed(PROMETHEUS, outcome)
        assert [(tool.unauthorized, tool.wants_tenant) for tool in inventory.tools()] == [asks]


def test_a_tool_that_asks_for_credentials_says_so() -> None:
    inventory = known(PROMETHEUS, healthy=False)
    inventory.probed(PROMETHEUS, Outcome(alive=True, status=401, unauthorized=True))
    assert [tool.unauthorized for tool in inventory.tools()] == [True]
    inventory.probed(PROMETHEUS, HEALTHY)
    assert [tool.unauthorized for tool in inventory.tools()] == [False]


def test_the_verdict_on_one_service_is_that_among_all() -> None:
    duplicate = candidate("duplicate", backend="same", created="2025-01-02T00:00:00Z")
    inventory = known(candidate("first", backend="same"), duplicate, candidate("other"))
    inventory.detected(Key("a", "b"), NO_MATCH)
    inventory.detected(Key("monitoring", "new"), candidate("new"))
    assert {key: inventory.verdict(key) for key in inventory.verdicts()} == inventory.verdicts()
    assert {verdict.reason for verdict in inventory.verdicts().values() if isinstance(verdict, Rejected)} == {
        Reason.DUPLICATE,
        Reason.NO_MATCH,
        Reason.UNPROBED,
    }
    assert inventory.verdict(Key("a", "none")) is None


def test_services_that_name_the_same_cluster_are_one_backend() -> None:
    """Nothing on these Services shows it: their selectors have nothing in common."""
    logs, search = (candidate(name, tool_type="elasticsearch") for name in ("logs", "search"))
    inventory = known(logs, search, healthy=False)
    inventory.probed(logs, Outcome(alive=True, backend_id="4ebJRnOKQvW7WbwXyAu_Rw"))
    inventory.probed(search, Outcome(alive=True, backend_id="another-cluster-of-them"))
    assert names(inventory) == ["logs", "search"]
    inventory.probed(search, Outcome(alive=True, backend_id="4ebJRnOKQvW7WbwXyAu_Rw"))
    assert names(inventory) == ["logs"]
    assert list(inventory.substitutes(logs.key)) == [search.key]
    assert list(inventory.substitutes(search.key)) == []
    assert inventory.verdict(search.key) == inventory.verdicts()[search.key]
    assert inventory.verdicts()[search.key] == Rejected(Reason.DUPLICATE, "of monitoring/logs", "elasticsearch")
    for _ in range(3):  # what was said counts while it fails; the other one answers
        inventory.probed(logs, UNHEALTHY, began_s=1.0, now_s=1.0)
        inventory.probed(search, Outcome(alive=True, backend_id="4ebJRnOKQvW7WbwXyAu_Rw"), began_s=2.0, now_s=2.0)
    assert names(inventory) == ["search"]
