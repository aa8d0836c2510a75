import msgspec
import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from toolset.commands import printers
from toolset.commands.check_config import Match
from toolset.commands.explain import Explanation
from toolset.commands.notes import note
from toolset.commands.plan import Report
from toolset.core.candidate import Candidate, Evidence, HealthCheck, Reason, Rejected, Verdict
from toolset.core.publishing.plan import Apply
from toolset.model import Key

TARGET = Key("spaces", "tools")
CHANGE = Apply(b"{}", ("a.yaml",), ("b.yaml",))


def candidate(name: str) -> Candidate:
    return Candidate(Key("monitoring", name), "grafana", Evidence.NAME, "http", name, 3000, "", HealthCheck("/"))


UP, DOWN = candidate("up"), candidate("down")
VERDICTS: dict[Key, Verdict] = {
    UP.key: UP,
    DOWN.key: Rejected(Reason.UNHEALTHY, "answered 503", "grafana"),
    Key("monitoring", "near"): Rejected(Reason.SELECTORLESS, type="jaeger"),
    Key("default", "none"): Rejected(Reason.NO_MATCH),
}


def report(change: Apply | None = None, diff: tuple[str, ...] = ()) -> Report:
    return Report(TARGET, (DOWN, UP), VERDICTS, change, b'{"kind": "ConfigMap", "data": {"k": "a\\nb\\n"}}', diff)


def overridden(plain: Report) -> Report:
    """Return ``plain`` with an override in force, and one that is not."""
    return msgspec.structs.replace(
        plain,
        overridden={Key("a", "b"): ("url",)},
        overrides_error="line 1, column 1: no",
        overrides_dropped=("line 2, column 3: \x1b[2J",),
        overrides_unmatched=("overrides.yaml, line 1: there is no Service a/b",),
        notes={Key("a", "b"): "another key"},
    )


def test_a_table_says_what_overrides_do() -> None:
    text = printers.as_table(overridden(report()), colour=False)
    assert "what overrides.yaml says is ignored: line 1, column 1: no\n" in text
    assert "overrides.yaml sets of a/b: url\n" in text
    assert "a patch in overrides.yaml is ignored: line 2, column 3: \\x1b[2J\n" in text
    assert "a/b: another key\n" in text
    assert "\noverrides.yaml, line 1: there is no Service a/b\n" in text


def test_a_table_counts_static_backends_apart_from_services() -> None:
    outside = msgspec.structs.replace(UP, key=Key("", "outside"))
    plain = report()
    found = msgspec.structs.replace(
        plain, candidates=(outside, *plain.candidates), verdicts={outside.key: outside, **VERDICTS}
    )
    text = printers.as_table(found, colour=False)
    assert "4 Services: 2 candidates, 2 not recognised; 1 static backend\n" in text
    assert "\noutside          published     grafana\n" in text


def test_a_table_says_which_documents_are_not_written() -> None:
    text = printers.as_table(msgspec.structs.replace(report(), blocked=("a.yaml",)), colour=False)
    assert "a.yaml is not written: binaryData holds the key; remove it there\n" in text


def test_a_table_says_that_nothing_was_probed() -> None:
    text = printers.as_table(msgspec.structs.replace(report(), health_enabled=False), colour=False)
    assert "nothing was probed: health.enabled is false, so every candidate counts as healthy\n" in text


def test_what_is_wrong_with_overrides_cannot_command_the_terminal() -> None:
    text = printers.as_table(msgspec.structs.replace(report(), overrides_error="\x1b[2J"), colour=False)
    assert "ignored: \\x1b[2J\n" in text


def test_a_note_is_one_line_that_cannot_command_the_terminal() -> None:
    assert note("a\n\x1b[2J") == "toolset: a\\x0a\\x1b[2J\n"


def test_a_table_has_candidates_and_near_misses() -> None:
    assert printers.as_table(report(), colour=False) == (
        "SERVICE          VERDICT       TYPE     DETAIL\n"
        "monitoring/up    published     grafana\n"
        "monitoring/down  Unhealthy     grafana  answered 503\n"
        "monitoring/near  Selectorless  jaeger   it has no selector, so its endpoints could be anything\n"
        "\n"
        "4 Services: 2 candidates, 2 not recognised\n"
        "\n"
        "ConfigMap spaces/tools is up to date\n"
    )


def test_a_wide_table_has_evidence_and_urls() -> None:
    lines = printers.as_table(report(), colour=False, wide=True).splitlines()
    assert lines[:3] == [
        "SERVICE          VERDICT       TYPE     EVIDENCE  URL               DETAIL",
        "monitoring/up    published     grafana  name      http://up:3000",
        "monitoring/down  Unhealthy     grafana  name      http://down:3000  answered 503",
    ]


def test_verdicts_may_be_coloured() -> None:
    lines = printers.as_table(report(), colour=True).splitlines()
    assert lines[1] == "monitoring/up    \x1b[32mpublished   \x1b[0m  grafana"
    assert lines[2] == "monitoring/down  \x1b[31mUnhealthy   \x1b[0m  grafana  answered 503"
    assert lines[3].startswith("monitoring/near  Selectorless  jaeger")


def test_a_table_ends_with_the_diff() -> None:
    text = printers.as_table(
        report(CHANGE, ("--- live/a", "+++ planned/a", "@@ -1 +1 @@", "-old", "+new", " same")), colour=False
    )

    assert text.endswith(
        "ConfigMap spaces/tools would change:\n--- live/a\n+++ planned/a\n@@ -1 +1 @@\n-old\n+new\n same\n"
    )


def test_a_diff_may_be_coloured() -> None:
    text = printers.as_table(report(CHANGE, ("@@ -1 +1 @@", "-old", "+new", " same")), colour=True)

    assert text.endswith("\x1b[36m@@ -1 +1 @@\x1b[0m\n\x1b[31m-old\x1b[0m\n\x1b[32m+new\x1b[0m\n same\n")


def test_a_change_without_a_diff_is_explained() -> None:
    assert printers.as_table(report(CHANGE), colour=False).endswith("would change:\n(labels and annotations only)\n")


def test_what_stands_in_the_config_map_cannot_command_the_terminal() -> None:
    text = printers.as_table(report(CHANGE, ("-\x1b]0;title\x07\x9b31m\x7f\tgröße",)), colour=False)

    assert text.endswith("-\\x1b]0;title\\x07\\x9b31m\\x7f\tgröße\n")


def test_a_name_in_a_manifest_cannot_command_the_terminal() -> None:
    odd = candidate("a\x1b[2J\nb")
    text = printers.as_table(Report(TARGET, (odd,), {odd.key: odd}, None, b"{}", ()), colour=False)

    assert "\x1b" not in text
    assert "monitoring/a\\x1b[2J\\x0ab" in text


def test_yaml_is_the_manifest() -> None:
    text = printers.as_yaml(report())

    assert text == "kind: ConfigMap\ndata:\n  k: |\n    a\n    b\n"


@given(
    st.dictionaries(st.text(max_size=5), st.text(alphabet=st.sampled_from(" \n\t:#-'|a\u00e9\u2028\x85"), max_size=12))
)
def test_yaml_holds_every_text_as_it_is(data: dict[str, str]) -> None:
    manifest = {"kind": "ConfigMap", "data": data}
    made = msgspec.structs.replace(report(), manifest=orjson.dumps(manifest))
    assert yaml.safe_load(printers.as_yaml(made)) == manifest


def test_json_is_the_whole_report() -> None:
    content = orjson.loads(printers.as_json(overridden(report(CHANGE, ("-old",)))))

    down, up = content.pop("candidates")
    assert content == {
        "target": "spaces/tools",
        "changes": True,
        "written": ["a.yaml"],
        "removed": ["b.yaml"],
        "reasons": {"NoMatch": 1, "Published": 1, "Selectorless": 1, "Unhealthy": 1},
        "overridden": {"a/b": ["url"]},
        "overrides_error": "line 1, column 1: no",
        "blocked": [],
        "overrides_dropped": ["line 2, column 3: \x1b[2J"],
        "overrides_moved": [],
        "overrides_unmatched": ["overrides.yaml, line 1: there is no Service a/b"],
        "withheld": "",
        "unreachable": "",
        "notes": {"a/b": "another key"},
        "health_enabled": True,
        "diff": ["-old"],
    }
    assert down == {
        "namespace": "monitoring",
        "name": "down",
        "type": "grafana",
        "evidence": "name",
        "url": "http://down:3000",
        "variants": [{"scheme": "http", "port": 3000, "path": ""}],
        "chosen": None,
        "requests": 1,
        "how": "",
        "published": False,
        "reason": "Unhealthy",
        "detail": "answered 503",
    }
    assert (up["published"], up["reason"], up["detail"]) == (True, None, "")


def test_json_without_a_change_says_so() -> None:
    content = orjson.loads(printers.as_json(report()))

    assert (content["changes"], content["written"], content["removed"]) == (False, [], [])


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (UP, ("published", "")),
        (Rejected(Reason.UNHEALTHY, "answered 503"), ("Unhealthy", "answered 503")),
        (Rejected(Reason.OPTED_OUT), ("OptedOut", "its annotation opts it out")),
    ],
    ids=["published", "with a detail", "without a detail"],
)
def test_a_verdict_is_described_in_a_few_words(verdict: Verdict, words: tuple[str, str]) -> None:
    assert printers.describe(verdict) == words


@pytest.mark.parametrize(
    ("explanation", "text"),
    [
        pytest.param(
            Explanation(
                "a", "up", type="grafana", product="grafana", evidence="label", url="http://up:3000", health_path="/h"
            ),
            "a/up is recognised as grafana: its label says grafana\n"
            "  published at http://up:3000 once it answers GET /h\n",
            id="a candidate",
        ),
        pytest.param(
            Explanation(
                "a", "up", type="x", product="y", evidence="port", url="http://up", health_path="/", to_prove=True
            ),
            "a/up is recognised as x: its port says y\n"
            "  published at http://up once it answers GET / and proves to be y\n",
            id="one that has to be proven",
        ),
        pytest.param(
            Explanation(
                "a",
                "up",
                type="grafana",
                product="grafana",
                evidence="label",
                url="http://up:3000",
                health_path="/h",
                now="is published since 2026-01-01 12:00:00 UTC at http://up:3000",
            ),
            "a/up is recognised as grafana: its label says grafana\n"
            "  now: is published since 2026-01-01 12:00:00 UTC at http://up:3000\n",
            id="one of which the service says what is so now",
        ),
        pytest.param(
            Explanation("a", "near", reason="BadAnnotation", detail="it is not valid", near="jaeger"),
            "a/near is not published: it is not valid [BadAnnotation]\n  nearly recognised as jaeger\n",
            id="a near miss",
        ),
        pytest.param(
            Explanation("a", "typeless", reason="TypeMissing", detail="no type"),
            "a/typeless is not published: no type [TypeMissing]\n  annotate it with example.org/toolset-type as well\n",
            id="with advice",
        ),
        pytest.param(
            Explanation("a", "copy", reason="Duplicate", detail="of b", near="jaeger"),
            "a/copy is not published: of b [Duplicate]\n  nothing is lost: both lead to the same backend\n",
            id="a duplicate is no near miss",
        ),
        pytest.param(
            Explanation(
                "a",
                "up",
                type="tempo",
                product="grafana",
                evidence="label",
                url="http://up:3000",
                probed_url="http://up:3000",
                health_path="/h",
                overridden=("type",),
                overridden_at="overrides.yaml, line 3",
            ),
            "a/up is recognised as tempo: an override says so\n"
            "  published at http://up:3000 once it answers GET /h\n"
            "  overrides.yaml, line 3, sets its type\n",
            id="a type that an admin set",
        ),
        pytest.param(
            Explanation("a", "hid", reason="Suppressed", detail="it is hidden", near="jaeger"),
            "a/hid is not published: it is hidden [Suppressed]\n"
            "  to publish it again, change overrides.yaml in ConfigMap spaces/tools\n",
            id="a hidden tool is no near miss",
        ),
        pytest.param(
            Explanation("a", "\x1b[2J", reason="OptedOut", detail="it opts out"),
            "a/\\x1b[2J is not published: it opts out [OptedOut]\n",
            id="a name that would command the terminal",
        ),
        pytest.param(
            Explanation("a", "out", reason="OptedOut", detail="it opts out"),
            "a/out is not published: it opts out [OptedOut]\n",
            id="nothing to add",
        ),
    ],
)
def test_an_explanation_is_sentences_for_people(explanation: Explanation, text: str) -> None:
    assert printers.explained(explanation, "example.org", TARGET) == text


def test_matches_are_a_table_by_detector() -> None:
    matches = [
        Match("tempo", "tempo", own=True, services=()),
        Match("loki", "loki", own=False, services=("a/b", "a/c")),
    ]
    assert printers.as_matches("x.yaml", matches, services=None) == (
        "x.yaml is valid; detectors: 1 of your own, 1 built in\n"
    )
    assert printers.as_matches("x.yaml", matches, services=None, static=2) == (
        "x.yaml is valid; detectors: 1 of your own, 1 built in; static backends: 2\n"
    )
    assert printers.as_matches("x.yaml", matches, services=3).splitlines()[1:] == [
        "",
        "Services checked: 3",
        "",
        "DETECTOR  TYPE   FROM      MATCHES",
        "tempo     tempo  settings  -",
        "loki      loki   built in  a/b, a/c",
    ]


def test_explanations_may_be_json_lines() -> None:
    first, second = printers.as_lines([Explanation("a", "b"), Explanation("a", "c", type="jaeger")]).splitlines()

    assert (orjson.loads(first)["name"], orjson.loads(second)["type"]) == ("b", "jaeger")
