"""The query parameters of lists and watches, and which of them may come together."""

from collections.abc import Mapping
from typing import Final

import msgspec

from toolset.sim.statuses import Cause, Refused, bad_request, invalid
from toolset.sim.store import Page

WATCH_S: Final = 1800.0
"""How long a watch lasts that names no timeout, seconds."""
_MATCH: Final = "resourceVersionMatch"
_INITIAL: Final = "sendInitialEvents"


class Options(msgspec.Struct, frozen=True):
    """What a list or a watch is asked.

    Attributes:
        watch: Whether it is a watch.
        page: Which part of a list; its version is also where a watch begins.
        initial: Whether a watch begins with what is there.
        bookmarks: Whether a watch has bookmarks.
        timeout_s: How long a watch lasts, seconds.
        field_selector: As given.
        label_selector: As given.
    """

    watch: bool
    page: Page
    initial: bool
    bookmarks: bool
    timeout_s: float
    field_selector: str
    label_selector: str

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "Options":
        """Return them.

        Raises:
            Refused: One is no number, or they contradict each other.
        """
        watch, initial, version = _flag(query, "watch"), query.get(_INITIAL), query.get("resourceVersion", "")
        limit, timeout_s = _number(query, "limit"), _number(query, "timeoutSeconds")
        page = Page(limit, query.get("continue", ""), version, query.get(_MATCH, ""))
        if causes := _watch_problems(page, initial) if watch else _list_problems(page, initial):
            raise wrong("ListOptions", causes)
        return cls(
            watch=watch,
            page=page,
            initial=version in {"", "0"} if initial is None else _flag(query, _INITIAL),
            bookmarks=_flag(query, "allowWatchBookmarks"),
            timeout_s=timeout_s or WATCH_S,
            field_selector=query.get("fieldSelector", ""),
            label_selector=query.get("labelSelector", ""),
        )


def wrong(kind: str, causes: list[Cause]) -> Refused:
    """Return the refusal of parameters."""
    return invalid(kind, "meta.k8s.io", "", causes)


def _watch_problems(page: Page, initial: str | None) -> list[Cause]:
    if initial is None:
        text = f"{_MATCH} is forbidden for watch unless {_INITIAL} is provided"
        return [_forbidden(_MATCH, text)] if page.match else []
    if page.match == "NotOlderThan":
        return []
    causes = [_forbidden(_MATCH, f"{_INITIAL} requires setting {_MATCH} to NotOlderThan")]
    return causes + ([_unsupported(page.match, '"NotOlderThan"')] if page.match else [])


def _list_problems(page: Page, initial: str | None) -> list[Cause]:
    if initial is not None:
        return [_forbidden(_INITIAL, f"{_INITIAL} is forbidden for list")]
    if not page.match:
        return []
    if page.token:
        return [_forbidden(_MATCH, f"{_MATCH} is forbidden when continue is provided")]
    if not page.version:
        return [_forbidden(_MATCH, f"{_MATCH} is forbidden unless resourceVersion is provided")]
    if page.match not in {"Exact", "NotOlderThan"}:
        return [_unsupported(page.match, '"Exact", "NotOlderThan", ""')]
    if (page.match, page.version) == ("Exact", "0"):
        return [_forbidden(_MATCH, f'{_MATCH} "exact" is forbidden for resourceVersion "0"')]
    return []


def _forbidden(field: str, text: str) -> Cause:
    return field, "FieldValueForbidden", f"Forbidden: {text}"


def _unsupported(value: str, supported: str) -> Cause:
    return _MATCH, "FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {supported}'


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name) or "0"
    if not text.isdecimal():
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "false") not in {"false", "0"}
