import logging

from toolset.runtime.repeat_filter import EVERY_S, RepeatFilter


def record(message: str, *arguments: object, name: str = "asyncio") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, __file__, 1, message, arguments, None)


def test_a_repeated_line_is_written_once_in_a_while_with_the_number_left_out() -> None:
    now_s = 0.0
    limit = RepeatFilter(lambda: now_s)
    assert [limit.filter(record("failed: %s", number)) for number in range(100)] == [True] + [False] * 99
    assert limit.filter(record("something else"))
    assert limit.filter(record("failed: %s", 1, name="aiohttp.server"))
    now_s = EVERY_S
    again = record("failed: %s", 100)
    assert limit.filter(again)
    assert vars(again)["repeated"] == 99


def test_the_memory_of_a_repeat_filter_is_bounded() -> None:
    limit = RepeatFilter(lambda: 0.0)
    assert all(limit.filter(record(f"message {number}")) for number in range(1000))
    assert limit.filter(record("message 0"))  # forgotten since
