from collections.abc import Awaitable, Callable

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from support.spans import Exported, attributes, context
from toolset.adapters.metrics import Metrics
from toolset.errors import UnavailableError
from toolset.model import Key
from toolset.reconciler import spans
from toolset.runtime.controller import DONE, Controller, Result
from toolset.runtime.workqueue import CAUSES_LIMIT, WorkQueue
from toolset.telemetry.observers import ControllerMetrics
from toolset.telemetry.tracing import NoTraces, ReconcileTraces

KEY, OTHER = Key("monitoring", "prometheus"), Key("monitoring", "grafana")
ALWAYS, NEVER = 1.0, 0.0


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Exported:
    return Exported(monkeypatch)


async def passed(
    work: Callable[[Key], Awaitable[Result]],
    *keys: Key,
    share: float = NEVER,
    traces: ReconcileTraces | None = None,
    controller: str = "service",
    queue: WorkQueue[Key] | None = None,
    always: bool = False,
) -> Metrics:
    """Let a controller reconcile each key once, and end; return its series."""
    metrics = Metrics("1")
    queue = queue or WorkQueue()
    traces = traces or ReconcileTraces(7, share, chance=lambda: 0.5)
    about = {"toolset.resource_version": "42"}
    scope = traces.scope(controller, queue, lambda _: about, always=always)
    workers = Controller(queue, work, ControllerMetrics(metrics, controller), scope=scope)
    for key in keys or (() if len(queue) else (KEY,)):
        queue.add(key)
    queue.shut_down()
    await workers.run()
    return metrics


async def uneventful(_: Key) -> Result:
    with spans.step("detect"):
        pass
    return DONE


async def eventful(_: Key) -> Result:
    with spans.step("render"):
        pass
    spans.changed()
    with spans.step("apply", SpanKind.CLIENT, {"number": 1}) as step:
        step.set_attributes({"more": "said"})
    return Result(requeue_after_s=5.0)


async def test_a_reconcile_that_changes_nothing_is_no_trace(exported: Exported) -> None:
    await passed(uneventful)
    assert exported.roots == []


async def test_of_reconciles_that_change_nothing_a_share_is_traced(exported: Exported) -> None:
    chances = iter([0.2, 0.009, 0.01, 0.0])
    await passed(
        uneventful, *(Key("a", str(number)) for number in range(4)), traces=ReconcileTraces(0, 0.01, chances.__next__)
    )
    assert [attributes(root)["k8s.service.name"] for root in exported.roots] == ["1", "3"]


async def test_a_controller_with_few_reconciles_has_all_of_them_traced(exported: Exported) -> None:
    await passed(uneventful, KEY, OTHER, controller="target", always=True)
    assert [attributes(root).get("toolset.changed", False) for root in exported.roots] == [False, False]


async def test_a_reconcile_that_changes_something_is_a_trace_from_its_beginning(exported: Exported) -> None:
    await passed(eventful)
    (root,) = exported.roots
    assert (root.name, exported.steps(root)) == ("reconcile", ["render", "apply"])
    first, second = exported.below(root)
    assert (second.kind, attributes(second)) == (SpanKind.CLIENT, {"number": 1, "more": "said"})
    times = (root.start_time, first.start_time, first.end_time, second.start_time, second.end_time, root.end_time)
    assert sorted(time or 0 for time in times) == list(times)


async def test_a_root_span_says_what_it_is_about(exported: Exported) -> None:
    await passed(eventful, controller="target")
    found = dict(attributes(exported.roots[0]))
    assert found.pop("toolset.queue.latency_s") == pytest.approx(0.0, abs=0.1)
    assert found == {
        "toolset.controller": "target",
        "k8s.namespace.name": "monitoring",
        "k8s.configmap.name": "prometheus",
        "toolset.attempt": 1,
        "toolset.priority": 0,
        "toolset.epoch": 7,
        "toolset.resource_version": "42",
        "toolset.changed": True,
        "toolset.result": "requeue_after",
    }


async def test_a_slow_reconcile_is_traced(exported: Exported) -> None:
    async def slow(_: Key) -> Result:
        with spans.step("probe"):
            await anyio.sleep(spans.SLOW_S)
        return DONE

    await passed(slow)
    (root,) = exported.roots
    assert (exported.steps(root), attributes(root)["toolset.result"]) == (["probe"], "success")


@pytest.mark.parametrize(
    ("error", "result", "recorded"),
    [
        pytest.param(UnavailableError("refused"), "error", [], id="expected"),
        pytest.param(KeyError("x"), "bug", ["exception"], id="a bug"),
    ],
)
async def test_a_failed_reconcile_is_traced_and_only_a_bug_shows_its_traceback(
    exported: Exported, error: Exception, result: str, recorded: list[str]
) -> None:
    async def failing(_: Key) -> Result:
        with spans.step("plan"):
            raise error

    await passed(failing)
    (root,) = exported.roots
    assert (root.status.status_code, root.status.description) == (StatusCode.ERROR, str(error))
    assert (attributes(root)["error.type"], attributes(root)["toolset.result"]) == (type(error).__name__, result)
    assert [event.name for event in root.events] == recorded
    (step,) = exported.below(root)
    assert (step.status.status_code, attributes(step)["error.type"]) == (StatusCode.ERROR, type(error).__name__)


async def test_the_log_line_of_a_failed_reconcile_is_written_inside_its_trace(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def failed(_: ControllerMetrics, key: Key, error: Exception, failures: int) -> None:
        del key, failures
        spans.failed(error)
        seen.append(trace.get_current_span().get_span_context().trace_id)

    monkeypatch.setattr(ControllerMetrics, "failed", failed)

    async def failing(_: Key) -> Result:
        raise UnavailableError("refused")

    await passed(failing)
    assert seen == [context(exported.roots[0]).trace_id]
    assert not trace.get_current_span().get_span_context().is_valid


async def test_a_reconcile_is_linked_to_those_that_queued_it_and_only_once(exported: Exported) -> None:
    traces, targets = ReconcileTraces(0, ALWAYS), WorkQueue[Key]()

    async def asking(_: Key) -> Result:
        for _time in range(2):
            targets.add(OTHER, cause=spans.changed())
        return DONE

    await passed(asking, KEY, Key("a", "second"), traces=traces)
    await passed(uneventful, traces=traces, controller="target", queue=targets)
    await passed(uneventful, OTHER, traces=traces, controller="target")
    first, second, linked, unlinked = exported.roots
    assert [link.context.span_id for link in linked.links] == [context(first).span_id, context(second).span_id]
    assert attributes(first)["toolset.changed"] is True
    assert unlinked.links == ()


async def test_links_have_a_limit(exported: Exported) -> None:
    traces, probes = ReconcileTraces(0, NEVER), WorkQueue[Key]()

    async def asking(_: Key) -> Result:
        probes.add(KEY, cause=spans.changed())
        return DONE

    await passed(asking, *(Key("a", str(number)) for number in range(2 * CAUSES_LIMIT)), traces=traces)
    await passed(eventful, traces=traces, controller="probe", queue=probes)
    assert len(exported.roots[-1].links) == CAUSES_LIMIT


async def test_what_a_store_queues_has_no_link(exported: Exported) -> None:
    queue = WorkQueue[Key]()
    queue.add(KEY, cause=spans.changed())
    await passed(uneventful, traces=ReconcileTraces(0, ALWAYS), controller="target", queue=queue)
    assert exported.roots[0].links == ()


async def test_an_exemplar_leads_to_a_trace_that_is_exported(exported: Exported) -> None:
    metrics = await passed(eventful)
    (root,) = exported.roots
    body, _ = metrics.expose("application/openmetrics-text; version=1.0.0")
    (line,) = [line for line in body.decode().splitlines() if " # {" in line]
    assert line.startswith("controller_runtime_reconcile_time_seconds_bucket")
    assert f'trace_id="{trace.format_trace_id(context(root).trace_id)}"' in line
    assert f'span_id="{trace.format_span_id(context(root).span_id)}"' in line


@pytest.mark.parametrize("work", [uneventful, eventful])
async def test_what_the_sampler_leaves_out_is_no_exemplar_and_no_link(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[Key], Awaitable[Result]]
) -> None:
    exported, traces = Exported(monkeypatch, ALWAYS_OFF), ReconcileTraces(0, ALWAYS)
    metrics = await passed(work, traces=traces)
    assert exported.roots == []
    assert b" # {" not in metrics.expose("application/openmetrics-text; version=1.0.0")[0]


async def test_without_traces_nothing_stands_around_a_reconcile(exported: Exported) -> None:
    scope = NoTraces().scope("service", WorkQueue())
    with scope(KEY):
        await eventful(KEY)
        spans.keep()
        spans.failed(KeyError("x"))
        spans.ended("bug", 60.0)
        assert spans.exemplar() is None
    assert exported.roots == []
