import pytest

from support.build import candidate
from toolset.core.candidate import Evidence, Reason, Rejected


def test_a_url_is_made_of_its_parts() -> None:
    assert candidate("p", path="/select/0").url == "http://p.monitoring.svc.cluster.local:9090/select/0"


def test_evidence_is_named_by_where_it_is_found() -> None:
    assert [evidence.value for evidence in Evidence] == ["settings", "annotation", "label", "name", "port"]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        pytest.param(Reason.NO_MATCH, "NoMatch", id="two words"),
        pytest.param(Reason.UNHEALTHY, "Unhealthy", id="one word"),
        pytest.param(Reason.NO_USABLE_PORT, "NoUsablePort", id="three words"),
    ],
)
def test_a_reason_has_one_word_for_tables(reason: Reason, word: str) -> None:
    assert reason.word == word


def test_every_reason_has_a_sentence_of_its_own() -> None:
    sentences = [reason.value for reason in Reason]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence.strip() for sentence in sentences)


@pytest.mark.parametrize(
    ("rejected", "sentence"),
    [
        pytest.param(Rejected(Reason.OPTED_OUT), "its annotation opts it out", id="the reason"),
        pytest.param(Rejected(Reason.UNHEALTHY, "answered 503"), "its health check fails (answered 503)", id="detail"),
        pytest.param(
            Rejected(Reason.DUPLICATE, "of a/b"), "another Service leads to the same backend: a/b", id="the other"
        ),
    ],
)
def test_a_rejected_service_says_why_in_one_sentence(rejected: Rejected, sentence: str) -> None:
    assert rejected.sentence == sentence
