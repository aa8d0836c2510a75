import pytest

from toolset.core.durations import Duration, Interval


@pytest.mark.parametrize("text", ["", "5", "-5s", "5 s", "5s5m", "1.5m", "s", None, 7])
def test_what_is_no_duration_is_refused_with_examples(text: object) -> None:
    with pytest.raises(ValueError, match=r"^Expected a duration such as `30s`, `5m` or `250ms`$"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["0s", "0ms", "0h0m"])
def test_an_interval_is_longer_than_nothing(text: str) -> None:
    assert Duration.parse(text) == 0.0
    with pytest.raises(ValueError, match=r"^Expected a duration of more than `0s`$"):
        Interval.parse(text)
