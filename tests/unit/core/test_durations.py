import pytest

from toolset.core.durations import Duration, Interval


@pytest.mark.parametrize("text", ["", "5", "-5s", "5 s", "5s5m", "1.5m", "s", None, 7])
def test_what_is_no_duration_is_refused_with_examples(text: object) -> None:
    with pytest.raises(ValueError, match=r"^expected a duration such as `30s`, `5m` or `250ms`"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["0s", "0ms", "0h0m"])
def test_an_interval_is_longer_than_nothing(text: str) -> None:
    assert Duration.parse(text) == 0.0
    with pytest.raises(ValueError, match=r"^expected a duration of more than `0s`$"):
        Interval.parse(text)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("5 seconds", "5s"),
        ("5 Sec", "5s"),
        ("2 minutes", "2m"),
        ("1 hr", "1h"),
        ("250 milliseconds", "250ms"),
        (30, "30s"),
        (0.5, "0.5s"),
    ],
)
def test_a_duration_in_other_words_is_reported_with_how_to_write_it(text: object, near: str) -> None:
    with pytest.raises(ValueError, match=rf"not `{text}`; write `{near}`$"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["soon", "5 days", "1.5m", "-5s", "5s" * 30])
def test_what_cannot_be_guessed_has_no_proposal(text: str) -> None:
    with pytest.raises(ValueError, match="250ms`") as caught:
        Duration.parse(text)
    assert "write" not in str(caught.value)
