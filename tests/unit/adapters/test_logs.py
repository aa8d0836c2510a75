import json
import logging
import re
import subprocess
import sys
from typing import Any

import orjson
import pytest
from opentelemetry import trace

from toolset.adapters.logs import LIMITED, JsonFormatter, TextFormatter, set_up_logs

NAMED: dict[str, Any] = {"k8s.namespace.name": "default"}
TRACE_ID, SPAN_ID = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331


def record(message: str = "config map written", level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("toolset", level, __file__, 1, message, None, None)
    vars(made).update(fields)
    return made


def failed_record(message: str) -> logging.LogRecord:
    made = record("reconcile failed", logging.ERROR)
    try:
        raise RuntimeError(message)  # noqa: TRY301 - for its traceback
    except RuntimeError:
        made.exc_info = sys.exc_info()
    return made


def test_a_json_line_has_time_level_logger_message_and_fields() -> None:
    line = JsonFormatter().format(record(tools=3, written=["a"], **NAMED))

    content = orjson.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", content.pop("time"))
    assert content == {
        "level": "info",
        "logger": "toolset",
        "message": "config map written",
        "k8s.namespace.name": "default",
        "tools": 3,
        "written": ["a"],
    }


@pytest.mark.parametrize(
    ("flags", "ids"),
    [
        pytest.param(
            trace.TraceFlags.SAMPLED,
            {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"},
            id="exported",
        ),
        pytest.param(trace.TraceFlags.DEFAULT, {}, id="dropped by a sampler"),
    ],
)
def test_a_json_line_carries_the_ids_of_a_trace_that_can_be_found(flags: int, ids: dict[str, str]) -> None:
    context = trace.SpanContext(TRACE_ID, SPAN_ID, is_remote=False, trace_flags=trace.TraceFlags(flags))
    with trace.use_span(trace.NonRecordingSpan(context)):
        content = orjson.loads(JsonFormatter().format(record()))

    assert {name: value for name, value in content.items() if name.endswith("_id")} == ids


def test_a_json_line_with_a_traceback_is_one_line() -> None:
    line = JsonFormatter().format(failed_record("two\nlines"))

    assert "\n" not in line
    assert "RuntimeError: two\nlines" in orjson.loads(line)["exception.stacktrace"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("\ud800", "\ud800", id="lone surrogate"),
        pytest.param(2**80, 2**80, id="large number"),
        pytest.param({1: 2}, {"1": 2}, id="keys that are no text"),
        pytest.param({"a"}, "{'a'}", id="a set"),
        pytest.param("\x1b[2J\n", "\x1b[2J\n", id="control characters"),
    ],
)
def test_no_field_loses_the_line(value: object, shown: object) -> None:
    line = JsonFormatter().format(record(value=value))

    assert line.isprintable()
    assert json.loads(line)["value"] == shown


def test_a_text_line_is_for_people() -> None:
    line = TextFormatter().format(record(tools=3, name_of="größe"))

    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} info    config map written tools=3 name_of=größe", line)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[2J", r"\x1b[2J"), ("a\nb\tc", r"a\nb\tc"), ("\u202e", r"\u202e"), ("\x9b31m", r"\x9b31m")],
    ids=["escape", "line break", "right to left", "C1"],
)
def test_a_text_line_escapes_what_could_command_a_terminal(text: str, shown: str) -> None:
    line = TextFormatter().format(record(f"said {text}", detail=text))

    assert line.isprintable()
    assert line.endswith(f"said {shown} detail={shown}")


def test_a_text_line_cuts_long_fields() -> None:
    assert len(TextFormatter().format(record(value="x" * 10_000))) < 400


def test_a_text_line_has_its_traceback_below() -> None:
    first, *rest = TextFormatter().format(failed_record("why")).splitlines()

    assert first.endswith("error   reconcile failed")
    assert rest[-1] == "RuntimeError: why"


LOGS = """
import logging, sys, warnings
from toolset.adapters.logs import set_up_logs
set_up_logs("info", sys.argv[1])
logging.getLogger("toolset").debug("not shown")
logging.getLogger("toolset").info("shown", extra={"tools": 3})
logging.getLogger("httpx").info("not shown")
warnings.warn("take care")
"""


def logged(form: str) -> list[str]:
    finished = subprocess.run([sys.executable, "-c", LOGS, form], capture_output=True, text=True, check=True)
    assert finished.stdout == ""
    return finished.stderr.splitlines()


@pytest.mark.parametrize("form", ["json", "auto"])
def test_logs_are_json_on_standard_error_unless_it_is_a_terminal(form: str) -> None:
    first, second = (orjson.loads(line) for line in logged(form))

    assert (first["message"], first["tools"]) == ("shown", 3)
    assert (second["logger"], second["level"]) == ("py.warnings", "warning")
    assert "take care" in second["message"]


def test_logs_may_be_text() -> None:
    first, second = logged("text")

    assert first.endswith("info    shown tools=3")
    assert "UserWarning: take care" in second


UNREAD = """
import logging, sys
import anyio, aiohttp
from toolset.adapters.http.health import HealthServer
from toolset.adapters.logs import set_up_logs
from toolset.adapters.metrics import Metrics

async def main():
    server = HealthServer([], [], Metrics("1").expose)
    async with server.serve("127.0.0.1", 0), aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        for _ in range(20_000):
            logging.getLogger("toolset").info("x" * 200)
        async with session.get("/livez") as live, session.get("/metrics") as metrics:
            dropped = [line for line in (await metrics.text()).splitlines() if line.startswith("toolset_log_lines")]
            print(live.status, *dropped)

set_up_logs("info", "json")
anyio.run(main)
"""


def test_a_log_that_nobody_reads_stops_neither_the_process_nor_its_health() -> None:
    process = subprocess.Popen([sys.executable, "-c", UNREAD], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        said = process.stdout.read().decode()  # until it has ended: of standard error nothing is read before
        assert process.wait() == 0
    assert re.fullmatch(r"200 toolset_log_lines_dropped_total (\d+\.0|\d\.\d+e\+\d+)\n", said)
    assert not said.endswith(" 0.0\n")


AGAIN = """
import logging
from toolset.adapters.logs import set_up_logs
for number in range(200):
    set_up_logs(("info", "warning")[number % 2], ("json", "text")[number % 2])
    logging.getLogger("toolset").warning("line", extra={"n": number})
    logging.getLogger("toolset").info("shown once in two")
"""


def test_logs_stay_in_order_when_their_level_and_form_change() -> None:
    finished = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, check=True)
    lines = [line for line in finished.stderr.splitlines() if "shown" not in line]

    assert [int(number) for number in re.findall(r'(?:"n":|n=)(\d+)', finished.stderr)] == list(range(200))
    assert [line.startswith("{") for line in lines] == [True, False] * 100
    assert finished.stderr.count("shown") == 100


def test_logs_of_a_process_without_standard_error_go_nowhere() -> None:
    code = (
        "from toolset.adapters.logs import set_up_logs; import logging; set_up_logs('info', 'auto'); logging.info('x')"
    )
    finished = subprocess.run(["/bin/sh", "-c", f'exec "{sys.executable}" -c "{code}" 2>&-'], check=False)

    assert finished.returncode == 0


def test_logs_set_up_twice_limit_lines_once() -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        set_up_logs("info", "json")
        set_up_logs("info", "json")
        assert [len(logging.getLogger(name).filters) for name in LIMITED] == [1] * len(LIMITED)
    finally:
        root.handlers, root.level = before, level
        logging.captureWarnings(capture=False)
        for name in LIMITED:
            logging.getLogger(name).filters = []
