"""Whatever is asked, the answer is one that the OpenAPI document names, with a body of the type that it names."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import given, settings
from hypothesis import strategies as st

from support.status_source import FakeSource, problem, row
from toolset.adapters.http import status_server
from toolset.adapters.http.api import BASE, Failed
from toolset.adapters.http.openapi import OPERATIONS, document
from toolset.adapters.http.status_server import StatusServer

DOCUMENT: Final[dict[str, Any]] = document("1.2.3")
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
def client() -> Iterator[httpx.Client]:
    """Yield a client of a server that has all kinds of rows, and no limit on requests."""
    source = FakeSource(
        row("grafana", type="grafana"), row(), row("sick", "z", published=False, verdict="Unhealthy", sentence="no")
    )
    source.problems = (problem(),)
    with pytest.MonkeyPatch.context() as patch, start_blocking_portal("asyncio") as portal:
        patch.setattr(status_server, "BURST", 1e9)
        server = StatusServer(source, "1.2.3")
        with (
            portal.wrap_async_context_manager(server.serve("127.0.0.1", 0)),
            httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as made,
        ):
            yield made


@settings(max_examples=300)
@given(st.sampled_from(sorted(TYPES)), METHODS, st.text(max_size=80), st.text(max_size=80), QUERIES)
def test_every_answer_is_one_that_the_document_names(
    client: httpx.Client, path: str, method: str, namespace: str, name: str, query: list[tuple[str, str]]
) -> None:
    asked = path.format(namespace=quote(namespace, safe="") or "a", name=quote(name, safe="") or "b")
    answer = client.request(method, asked, params=query)
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
