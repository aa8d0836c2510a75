"""Whatever is asked, the answer is one that the OpenAPI document names, with a body of the type that it names."""

from collections.abc import Iterator
from typing import Any, Final, cast
from urllib.parse import quote

import httpx
import msgspec
import pytest
import requests
import schemathesis
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from support.build import candidate
from support.status_source import NOW, FakeSource, problem, row
from toolset.adapters.http import status_server
from toolset.adapters.http.api import BASE, Failed
from toolset.adapters.http.event_stream import EventStream
from toolset.adapters.http.openapi import OPERATIONS, document
from toolset.adapters.http.status_server import StatusServer

DOCUMENT: Final[dict[str, Any]] = document("1.2.3")
SCHEMA: Final[list[Any]] = [
    each.ok() for each in cast("Any", schemathesis.openapi.from_dict(DOCUMENT)).get_all_operations()
]
assert len(SCHEMA) == len(DOCUMENT["paths"])
TYPES: Final = {operation.path: operation.answers for operation in OPERATIONS}
PARAMETERS: Final = {
    "namespace": st.sampled_from(["monitoring", "", "NO", "a/b"]) | st.text(max_size=70),
    "type": st.sampled_from(["grafana", "prometheus", "<b>"]) | st.text(max_size=70),
    "reason": st.sampled_from(["Published", "Unhealthy"]) | st.text(max_size=70),
    "limit": st.integers(-5, 700).map(str) | st.sampled_from(["", "1e3", "٣", "0x10"]),
    "continue": st.sampled_from(["monitoring/grafana", "a", "/", "zzz/zzz"]) | st.text(max_size=300),
    "other": st.text(max_size=5),
}
QUERIES: Final = st.lists(
    st.sampled_from(sorted(PARAMETERS)).flatmap(lambda name: PARAMETERS[name].map(lambda value: (name, value))),
    max_size=4,
)
METHODS: Final = st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Yield the URL of a server that has all kinds of rows, no limit on requests, and streams that end at once."""
    source = FakeSource(
        row("grafana", type="grafana"), row(), row("failing", "z", published=False, verdict="Unhealthy", sentence="no")
    )
    source.problems = (problem(),)
    tool = candidate(namespace="monitoring")
    source.history.settled({tool.key: tool}, NOW)
    with pytest.MonkeyPatch.context() as patch, start_blocking_portal("asyncio") as portal:
        patch.setattr(status_server, "BURST", 1e9)
        server = StatusServer(source, "1.2.3")
        server.events = EventStream(source, lasts_s=0.02)
        with portal.wrap_async_context_manager(server.serve("127.0.0.1", 0)):
            yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, trust_env=False) as made:
        yield made


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        yield made


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("operation", "mode"),
    [
        pytest.param(each, mode, id=f"{each.path} {mode.value}")
        for each in SCHEMA
        for mode in GenerationMode
        if mode is GenerationMode.POSITIVE or len(each.query) + len(each.path_parameters)  # else nothing can be wrong
    ],
)
def test_schemathesis_finds_no_answer_that_the_document_does_not_allow(
    url: str, session: requests.Session, operation: Any, mode: GenerationMode
) -> None:
    """Its checks are on: status codes, content types, schemas, and that what is not valid is refused."""

    @settings(max_examples=25, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
    @given(case=operation.as_strategy(generation_mode=mode))
    def hold(case: Any) -> None:
        case.call_and_validate(base_url=url, session=session, timeout=10)

    hold()


@settings(max_examples=300)
@given(st.sampled_from(sorted(TYPES)), METHODS, st.text(max_size=80), st.text(max_size=80), QUERIES)
def test_every_answer_is_one_that_the_document_names(
    client: httpx.Client, path: str, method: str, namespace: str, name: str, query: list[tuple[str, str]]
) -> None:
    asked = path.format(namespace=quote(namespace, safe="") or "a", name=quote(name, safe="") or "b")
    answer = client.request(method, asked, params=tuple(query))
    if method not in {"GET", "HEAD"}:
        assert answer.status_code == 405
        return
    known = DOCUMENT["paths"].get(path, {})["get"]["responses"]
    assert str(answer.status_code) in known or (asked != path and answer.status_code == 404)
    if method == "GET":
        kind = TYPES[path] if answer.status_code == 200 else Failed
        assert msgspec.json.encode(msgspec.json.decode(answer.content, type=kind, strict=True)) == answer.content


@settings(max_examples=100)
@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=60))
def test_an_unknown_path_is_refused_in_one_sentence(client: httpx.Client, path: str) -> None:
    answer = client.get(f"{BASE}/x{quote(path)}")
    assert answer.status_code == 404
    assert msgspec.json.decode(answer.content, type=Failed).error
