"""What an answer proves about the backend that sent it."""

import re
from collections.abc import Sequence
from typing import Final, cast

import msgspec

from toolset.core.candidate import HealthCheck
from toolset.core.json_values import Json

UNAUTHORIZED: Final = frozenset({401, 403})
NO_TENANT: Final = b"no org id"
"""The 401 body of Loki, Mimir, Tempo and Cortex without ``X-Scope-OrgID``: dskit's ``ErrNoOrgID``."""
_BACKEND_ID: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")
"""Elasticsearch's ``cluster_uuid`` has 22 characters; before the cluster has formed it is ``_na_``."""


def is_proven(check: HealthCheck, body: bytes, *, is_cut: bool = False) -> bool:
    """Return whether an answer that means alive comes from what ``check`` expects.

    Args:
        check: What is expected.
        body: The part of the body that was read.
        is_cut: Whether the body is longer.
    """
    if check.identity.encode() not in body:
        return False
    if check.body and (is_cut or body.strip() != check.body.encode()):
        return False
    if not check.fields:
        return True
    if is_cut:  # a long list, for example: not valid JSON, but its fields come first
        return body.lstrip().startswith(b"{") and all(_is_mentioned(field, body) for field in check.fields)
    content = _decoded(body)
    return all(_has(field, content) for field in check.fields)


def is_challenge(check: HealthCheck, body: bytes, headers: Sequence[str]) -> bool:
    """Return whether a 401 or 403 comes from the product itself, as far as ``check`` can determine.

    Args:
        check: What is expected.
        body: The part of the body that was read.
        headers: The values of its ``WWW-Authenticate`` headers.
    """
    if not check.challenge:
        return True
    return any(text.encode() in body or any(text in header for header in headers) for text in check.challenge)


def wants_tenant(body: bytes) -> bool:
    """Return whether a 401 asks for a tenant id, and not for credentials."""
    return NO_TENANT in body


def backend_id(check: HealthCheck, body: bytes) -> str:
    """Return the id that the backend reports; empty if it reports no well-formed one."""
    if not check.backend_id:
        return ""
    found = _value(check.backend_id, _decoded(body))
    return found if isinstance(found, str) and _BACKEND_ID.fullmatch(found) else ""


def _decoded(body: bytes) -> Json:
    try:
        return cast("Json", msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _has(field: str, content: Json) -> bool:
    name, wanted, value = field.partition("=")
    found = _value(name, content)
    return found == value if wanted else found is not _ABSENT


def _value(name: str, content: Json) -> object:
    here: object = content
    for part in name.split("."):
        inner = cast("dict[str, object]", here) if isinstance(here, dict) else {}
        here = inner.get(part, _ABSENT)
    return here


def _is_mentioned(field: str, body: bytes) -> bool:
    name, wanted, value = field.rpartition(".")[2].partition("=")
    ending = rb'\s*"%s"' % re.escape(value.encode()) if wanted else b""
    return re.search(rb'"%s"\s*:%s' % (re.escape(name.encode()), ending), body) is not None


_ABSENT: Final = object()
