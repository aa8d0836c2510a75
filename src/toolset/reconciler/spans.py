"""How the passes name themselves in a trace."""

from typing import Final

from opentelemetry import trace

from toolset.core.health import Failure, Outcome
from toolset.core.verdict import Candidate
from toolset.model import Key

tracer: Final = trace.get_tracer("toolset")


def pass_attributes(controller: str, key: Key) -> dict[str, str]:
    """Return what tells one pass from another, by OpenTelemetry's names for Kubernetes objects."""
    kind = "configmap" if controller == "target" else "service"
    return {
        "toolset.controller": controller,
        "k8s.namespace.name": key.namespace,
        f"k8s.{kind}.name": key.name,
    }


def probe_attributes(candidate: Candidate) -> dict[str, str | int]:
    """Return what tells one health request from another, by OpenTelemetry's names for HTTP."""
    return {
        "toolset.type": candidate.type,
        "http.request.method": "GET",
        "server.address": candidate.host,
        "server.port": candidate.port,
    }


def outcome_attributes(outcome: Outcome) -> dict[str, str | int]:
    """Return how a health request ended, by OpenTelemetry's names for HTTP; no text from the backend."""
    attributes: dict[str, str | int] = {"toolset.probe.outcome": outcome.word}
    if outcome.status:
        attributes["http.response.status_code"] = outcome.status
    if not outcome.alive:
        attributes["error.type"] = str(outcome.status) if outcome.failure is Failure.STATUS else outcome.word
    return attributes
