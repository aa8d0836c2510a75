"""Logs: JSON lines with trace ids, or text for people. A thread writes them, so that no reader blocks the loop."""

import json
import logging
import os
import sys
from datetime import datetime, timezone
from functools import partial
from typing import Final

import orjson
from opentelemetry import trace
from typing_extensions import override

from toolset.runtime.line_writer import LineWriter
from toolset.runtime.repeat_filter import RepeatFilter

FLUSH_S: Final = 1.0
"""How long the end of the process waits for the reader of the last lines, seconds."""
LIMITED: Final = ("asyncio", "aiohttp", "aiohttp.server", "aiohttp.web", "toolset.http")
"""Loggers whose repeated lines are limited."""
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the record's own fields, trace ids."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        context = trace.get_current_span().get_span_context()
        if context.trace_flags.sampled:  # else the trace is not exported
            line["trace_id"] = trace.format_trace_id(context.trace_id)
            line["span_id"] = trace.format_span_id(context.span_id)
        if record.exc_info:
            line["exception.stacktrace"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # a lone surrogate, a number beyond 64 bits: keep the line
            return json.dumps(line, default=str, skipkeys=True)


class TextFormatter(logging.Formatter):
    """For people: time, level, message, fields."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        fields = " ".join(f"{name}={_printable(str(value)[:256])}" for name, value in _fields(record).items())
        line = f"{clock} {record.levelname.lower():7} {_printable(record.getMessage())} {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class LineHandler(logging.Handler):
    """Writes records to a file descriptor and never blocks: unread lines are dropped and counted."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor
        self._writer = LineWriter(partial(os.write, descriptor), self._gap)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line."""
        try:
            self._writer.put(self._line(record))
        except Exception:  # noqa: BLE001 - as in the standard library: a record that cannot be formatted is not fatal
            self.handleError(record)

    @override
    def flush(self) -> None:
        """Wait for the reader, for a bounded time."""
        self._writer.flush(FLUSH_S)

    def _line(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode("utf-8", "backslashreplace")

    def _gap(self, lines: int) -> bytes:
        message = "log lines dropped: nobody read them"
        record = logging.LogRecord("toolset", logging.WARNING, __file__, 0, message, None, None)
        record.lines = lines
        return self._line(record)


def set_up_logs(level: str, form: str) -> None:
    """Write logs of ``level`` and above to standard error. It may be called again, with another level and form.

    Args:
        level: ``debug`` to ``error``.
        form: ``json``, ``text``, or ``auto``, which is text on a terminal.
    """
    handler = _handler()
    text = form == "text" or (form == "auto" and sys.stderr is not None and sys.stderr.isatty())
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    if handler not in logging.root.handlers:
        logging.basicConfig(handlers=[handler], force=True)
    logging.root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    for noisy in ("httpx", "httpcore", "asyncio", "aiohttp.access", "mcp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    repeats = RepeatFilter()
    for limited in LIMITED:
        logger = logging.getLogger(limited)
        logger.filters = [repeats]  # the settings may set up logs more than once


def _handler() -> logging.Handler:
    """Return the handler of standard error: the existing one, if any, so that its lines stay in order."""
    try:
        descriptor = sys.stderr.fileno()
    except AttributeError:  # it was closed before the start
        return logging.NullHandler()
    except (OSError, ValueError):  # no file, as in a test
        return logging.StreamHandler(sys.stderr)
    for handler in logging.root.handlers:
        if isinstance(handler, LineHandler) and handler.descriptor == descriptor:
            return handler
    return LineHandler(descriptor)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
