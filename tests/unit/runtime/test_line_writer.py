import threading

import pytest

from toolset.runtime.line_writer import LineWriter


class Reader:
    """What is written to, piece by piece, when it lets somebody write."""

    def __init__(self, *, reads: bool = True, piece: int = 1000) -> None:
        self.reads = threading.Event()
        if reads:
            self.reads.set()
        self.blocked = threading.Event()
        self.received = b""
        self.errors: list[OSError] = []
        self._piece = piece

    def write(self, data: memoryview) -> int:
        self.blocked.set()
        self.reads.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.received += data[: self._piece]
        return min(len(data), self._piece)


def gap(lines: int) -> bytes:
    return b"%d missing\n" % lines


def test_lines_are_written_in_order_and_whole() -> None:
    reader = Reader(piece=3)
    writer = LineWriter(reader.write, gap)
    lines = [b"line %d\n" % number for number in range(200)]
    for line in lines:
        writer.put(line)
    assert writer.flush(10.0)
    assert reader.received == b"".join(lines)


def test_a_reader_that_does_not_read_blocks_nobody_and_what_is_dropped_is_counted() -> None:
    reader = Reader(reads=False)
    writer = LineWriter(reader.write, gap, limit_bytes=10)
    before = LineWriter.dropped
    for name in (b"aaaa\n", b"bbbb\n", b"cccc\n", b"dddd\n"):
        writer.put(name)
    assert LineWriter.dropped - before == 2
    assert not writer.flush(0.01)
    reader.reads.set()
    assert writer.flush(10.0)
    writer.put(b"e\n")
    assert writer.flush(10.0)
    assert reader.received == b"aaaa\nbbbb\n2 missing\ne\n"


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left on device")])
def test_a_line_that_cannot_be_written_is_dropped_and_the_next_one_is_tried(error: OSError) -> None:
    reader = Reader()
    reader.errors.append(error)
    writer = LineWriter(reader.write, gap)
    before = LineWriter.dropped
    writer.put(b"a\n")
    assert writer.flush(10.0)
    writer.put(b"b\n")
    assert writer.flush(10.0)
    assert (reader.received, LineWriter.dropped - before) == (b"1 missing\nb\n", 1)


def test_without_a_thread_lines_are_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    reader = Reader()
    writer = LineWriter(reader.write, gap)
    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", refuse)
        writer.put(b"a\n")
        writer.put(b"b\n")
        assert reader.received == b"a\nb\n"
    writer.put(b"c\n")
    assert writer.flush(10.0)
    assert reader.received == b"a\nb\nc\n"
