"""Request HolmesGPT over HTTP to reload its toolsets."""

from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import httpx
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from toolset.errors import InvalidError, UnavailableError

TIMEOUT_S: Final = 30.0
"""HolmesGPT checks all its toolsets before it answers, which it bounds to 20 s."""

_tracer: Final = trace.get_tracer("toolset")


class HttpConsumer:
    """A reader with an endpoint that makes it reload."""

    def __init__(self, url: str, headers_from: dict[str, str]) -> None:
        """Create it.

        Args:
            url: What to POST to.
            headers_from: By header, the file that holds its value; read each time.
        """
        self._url = url
        self._headers_from = headers_from

    async def notify(self, content_hash: str) -> None:
        """Request a reload; see ``reconciler.notify.Consumer``."""
        del content_hash
        headers = await anyio.to_thread.run_sync(self._headers, abandon_on_cancel=True)  # a mount may hang
        with _tracer.start_as_current_span(
            "POST", kind=SpanKind.CLIENT, attributes=_named(self._url), record_exception=False
        ) as span:
            try:
                with anyio.fail_after(TIMEOUT_S):
                    status = await self._post(headers)
            except (httpx.HTTPError, OSError) as error:
                raise UnavailableError(f"the reader did not answer: {type(error).__name__}") from error
            span.set_attribute("http.response.status_code", status)
        if status >= 500 or status == 429:
            raise UnavailableError(f"the reader answered {status}")
        if status >= 300:
            raise InvalidError(f"the reader answered {status}; check `notify.url` and its headers")

    async def _post(self, headers: dict[str, str]) -> int:
        """Return the status of the answer; its body is not read, however large it is."""
        async with (
            httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=TIMEOUT_S) as client,
            client.stream("POST", self._url, headers=headers) as answer,
        ):
            return answer.status_code

    def _headers(self) -> dict[str, str]:
        try:
            return {name: Path(file).read_text("utf-8").strip() for name, file in self._headers_from.items()}
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError(f"a header of `notify.headers_from` cannot be read: {error}") from error


def _named(url: str) -> dict[str, str | int]:
    """Return the request's destination, by OpenTelemetry's names; without what may be a secret."""
    parts = httpx.URL(url)
    shown = parts.copy_with(username=None, password=None, query=None, fragment=None)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {
        "http.request.method": "POST",
        "url.full": str(shown),
        "server.address": parts.host,
        "server.port": port,
    }
