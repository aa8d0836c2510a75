"""The snapshot says what the service holds, in the words of the other commands, and never more than its limits."""

import inspect
from datetime import datetime, timedelta, timezone

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from support.build import candidate
from support.prober import HEALTHY, UNHEALTHY
from toolset.core.candidate import Candidate, Reason, Rejected, Variant
from toolset.core.inventory import Inventory, tools_of
from toolset.core.overrides.baseline import NOTHING
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.publication import publish
from toolset.core.status import snapshot as status_snapshot
from toolset.core.status.build import Facts, service, snapshot
from toolset.core.status.history import History
from toolset.core.status.problems import Condition
from toolset.core.status.snapshot import CHANGES_LIMIT, TEXT_LIMIT, Installation, ServiceStatus, StatusSnapshot, plain
from toolset.model import Key

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
TARGET = Key("kubernaut-system", "kubernaut-toolset-config")
INSTALLATION = Installation(version="1", identity="pod_1", role="leader", target=str(TARGET))


def test_what_is_not_known_is_an_empty_text() -> None:
    kinds = [kind for kind in vars(status_snapshot).values() if inspect.isclass(kind)]
    fields = [field for kind in kinds if issubclass(kind, msgspec.Struct) for field in msgspec.structs.fields(kind)]
    assert {field.default for field in fields if isinstance(field.default, str)} == {""}


class World:
    """An inventory and a history as the reconcilers would have left them."""

    def __init__(self) -> None:
        self.inventory = Inventory()
        self.history = History(TARGET)
        self.history.begin(NOTHING)

    def add(self, *found: Candidate, outcome: object = HEALTHY) -> None:
        for each in found:
            self.inventory.detected(each.key, each)
            self.history.detected(each.key, each, NOW)
            self.inventory.probed(each, HEALTHY if outcome is HEALTHY else UNHEALTHY)
            self.history.probed(each, HEALTHY if outcome is HEALTHY else UNHEALTHY, 0.0123, NOW)

    def reject(self, key: Key, verdict: Rejected) -> None:
        self.inventory.detected(key, verdict)
        self.history.detected(key, verdict, NOW)

    def publish(self, options: OutputOptions = OutputOptions(), text: str | None = None) -> None:  # noqa: B008
        verdicts = self.inventory.candidate_verdicts()
        publication = publish(tools_of(verdicts), options, text=text)
        self.history.composed(publication, NOW)
        self.history.settled({**verdicts, **publication.rejected}, NOW)

    def facts(self, **others: object) -> Facts:
        made = Facts(
            now=NOW,
            installation=INSTALLATION,
            condition=Condition(role="leader", target=TARGET),
            history=self.history,
            inventory=self.inventory,
            services=7,
        )
        return msgspec.structs.replace(made, **others)

    def snapshot(self, **others: object) -> StatusSnapshot:
        return snapshot(self.facts(**others))

    def row(self, key: Key) -> ServiceStatus:
        found = service(self.facts(), key)
        assert found is not None
        return found


def test_a_published_tool_has_its_url_its_time_and_its_last_probe() -> None:
    world, tool = World(), candidate()
    world.add(tool)
    world.publish()
    row = world.row(tool.key)
    assert (row.verdict, row.published, row.since, row.url) == ("Published", True, NOW, tool.url)
    assert (row.evidence, row.trusted, row.held, row.remedy) == ("label", True, False, "")
    probe = row.probe
    assert probe is not None
    assert (probe.outcome, probe.status, probe.took_ms, probe.failures, probe.fall) == ("alive", 200, 12.3, 0, 3)
    assert probe.next_at == NOW + timedelta(seconds=30)


def test_a_url_that_the_probe_found_among_several_says_how() -> None:
    world = World()
    other = Variant("https", 443, "")
    tool = msgspec.structs.replace(candidate(), alternatives=(other,))
    world.inventory.detected(tool.key, tool)
    how = "http did not answer, https did"
    world.inventory.probed(tool, msgspec.structs.replace(HEALTHY, variant=other, how=how))
    world.publish()
    row = world.row(tool.key)
    assert (row.url.partition(":")[0], row.how) == ("https", how)


def test_an_unhealthy_candidate_says_what_its_probe_found() -> None:
    world, sick = World(), candidate("failing")
    world.add(sick, outcome=UNHEALTHY)
    world.publish()
    row = world.row(sick.key)
    assert (row.verdict, row.published) == ("Unhealthy", False)
    assert row.sentence == "its health check fails (answered 503)"
    assert row.probe is not None
    assert (row.probe.outcome, row.probe.status, row.probe.failures) == ("status", 503, 1)


def test_a_candidate_that_is_not_written_yet_is_not_published() -> None:
    world, tool = World(), candidate()
    world.add(tool)
    row = world.row(tool.key)
    assert (row.verdict, row.published, row.url) == ("Unprobed", False, tool.url)
    assert "its first write is still to come" in row.sentence
    sick = candidate("failing")
    world.add(sick, outcome=UNHEALTHY)
    assert world.row(sick.key).verdict == "Unhealthy"


def test_a_tool_that_is_down_and_still_published_is_held() -> None:
    world, tool = World(), candidate()
    world.add(tool)
    world.publish()
    for _ in range(3):
        world.inventory.probed(tool, UNHEALTHY)
    assert world.row(tool.key).held


def test_a_tool_that_an_override_changes_says_which_fields() -> None:
    world, tool = World(), candidate()
    world.add(tool)
    world.publish(text="tools: {monitoring/prometheus: {url: 'http://elsewhere:80'}}")
    row = world.row(tool.key)
    assert row.overridden == ("url",)
    assert row.url == "http://elsewhere:80"


def test_an_annotation_that_is_not_read_is_a_note() -> None:
    world = World()
    world.add(msgspec.structs.replace(candidate(), unread="annotation a is not read"))
    world.reject(Key("shop", "web"), Rejected(Reason.NO_MATCH, unread="annotation b is not read"))
    world.publish()
    assert world.row(candidate().key).note == "annotation a is not read"
    assert [row.note for row in world.snapshot().services] == ["annotation a is not read", "annotation b is not read"]


def test_overrides_for_services_that_do_not_exist_are_a_problem_for_information() -> None:
    world = World()
    world.add(candidate("prometheus"))
    world.publish(text="suppress: [monitoring/a, monitoring/b, monitoring/c, monitoring/d]")
    (problem,) = world.snapshot().summary.problems
    assert (problem.word, problem.severity) == ("OverridesUnmatched", "info")
    assert problem.sentence.startswith("overrides.yaml, line 1: there is no Service monitoring/a; overrides.yaml, ")
    assert problem.sentence.endswith("no Service monitoring/c; and 1 more")
    assert problem.remedy.startswith(
        "correct the name in ConfigMap kubernaut-system/kubernaut-toolset-config, or create"
    )


def test_rows_are_those_that_concern_people_and_the_rest_is_counted() -> None:
    world, tool = World(), candidate()
    world.add(tool)
    world.reject(Key("a", "near"), Rejected(Reason.NO_USABLE_PORT, "", "grafana"))
    world.reject(Key("a", "out"), Rejected(Reason.OPTED_OUT))
    world.reject(Key("a", "asked"), Rejected(Reason.TYPE_MISSING, asked=True))
    world.reject(Key("a", "ordinary"), Rejected(Reason.NO_MATCH))
    world.publish()
    made = world.snapshot()
    assert [each.name for each in made.services] == ["asked", "near", "out", "prometheus"]
    assert made.summary.verdicts == {"NoMatch": 1, "NoUsablePort": 1, "OptedOut": 1, "Published": 1, "TypeMissing": 1}
    assert (made.summary.sizes.services, made.summary.sizes.candidates, made.summary.sizes.tools) == (7, 1, 1)
    assert world.row(Key("a", "ordinary")).sentence == "no detector recognises it"
    assert "kubernaut.io/toolset=enabled" in world.row(Key("a", "ordinary")).remedy


def test_a_required_service_has_a_row_whatever_it_is() -> None:
    world, key = World(), Key("a", "ordinary")
    world.reject(key, Rejected(Reason.NO_MATCH))
    made = world.snapshot(required=frozenset({key}))
    assert [(each.name, each.required) for each in made.services] == [("ordinary", True)]


def test_published_tools_come_first_where_not_all_fit() -> None:
    world = World()
    world.reject(Key("a", "out"), Rejected(Reason.OPTED_OUT))
    world.reject(Key("a", "near"), Rejected(Reason.NO_USABLE_PORT, "", "grafana"))
    world.add(candidate("b-failing"), outcome=UNHEALTHY)
    world.add(candidate("c-tool"))
    world.publish()
    kept = [[each.name for each in snapshot(world.facts(), limit=limit).services] for limit in (1, 2, 3)]
    assert kept == [["c-tool"], ["b-failing", "c-tool"], ["near", "b-failing", "c-tool"]]
    assert snapshot(world.facts(), limit=1).services_omitted == 3


def test_a_standby_knows_no_services() -> None:
    world = World()
    made = world.snapshot(inventory=None)
    assert (made.services, made.summary.verdicts) == ((), {})
    assert service(world.facts(inventory=None), Key("a", "b")) is None


def test_an_unknown_service_is_none() -> None:
    assert service(World().facts(), Key("a", "b")) is None


def test_the_worst_problem_comes_first() -> None:
    condition = Condition(
        role="standby", target=TARGET, settings_error="line 1", out_of_contact="no answer for 200 s", probing=False
    )
    found = World().snapshot(condition=condition).summary.problems
    assert [each.severity for each in found] == ["error", "warning", "info", "info"]


def test_the_snapshot_survives_json() -> None:
    world = World()
    world.add(candidate())
    world.publish()
    made = world.snapshot(documents={"custom_toolset.yaml": "a: 1\n"})
    assert msgspec.json.decode(msgspec.json.encode(made), type=StatusSnapshot) == made


@given(
    st.lists(st.tuples(st.integers(0, 200), st.booleans(), st.text(max_size=900)), max_size=60),
    st.integers(0, 20),
)
def test_the_snapshot_never_holds_more_than_its_limits(found: list[tuple[int, bool, str]], limit: int) -> None:
    world = World()
    for number, well, text in found:
        world.add(candidate(f"s{number}"), outcome=HEALTHY if well else UNHEALTHY)
        world.reject(Key("near", f"s{number}"), Rejected(Reason.BAD_ANNOTATION, text, "grafana", asked=True))
    world.publish(OutputOptions(max_per_type=5))
    made = snapshot(world.facts(), limit=limit)
    assert len(made.services) <= limit
    assert len(made.services) + made.services_omitted == 2 * len({number for number, _, _ in found})
    assert len(made.summary.changes) <= CHANGES_LIMIT
    assert all(len(each.sentence) <= TEXT_LIMIT for each in made.services)
    assert [each.key for each in made.services] == sorted(each.key for each in made.services)


@given(st.text(max_size=2000))
def test_plain_text_is_one_bounded_line_without_control_and_direction(text: str) -> None:
    shown = plain(text)
    assert len(shown) <= TEXT_LIMIT
    assert not [each for each in shown if ord(each) < 0x20 or each in "\u202e\u2066\u200f\u061c\x7f\x9b"]


def test_plain_text_keeps_what_people_write() -> None:
    assert plain("größe = 5 µs, 漢字") == "größe = 5 µs, 漢字"
    assert plain("a\nb\u202ec\x1b[31m") == "a b\\u202ec\\u001b[31m"
    assert plain("x" * 600) == "x" * 511 + "…"
