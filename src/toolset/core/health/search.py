"""Which variant of a candidate a probe requests next, and the overall outcome.

A probe requests the first variant. Only an answer leads to another: one in the wrong scheme leads to the other scheme,
one that indicates a wrong path to the product's other base paths. An untrusted certificate leads to no other variant,
in particular not to plain HTTP.
"""

from typing import Final

import msgspec

from toolset.core.candidate import Candidate, Variant
from toolset.core.health.options import HealthOptions
from toolset.core.health.thresholds import Failure, Health, Outcome

_OTHER_SCHEME: Final = frozenset({400, 426})
"""The answer of TLS servers to plain HTTP, if any: Go, nginx, Jetty and Envoy answer 400."""
_WRONG_PATH: Final = frozenset({301, 302, 303, 307, 308, 400, 404, 405, 410})
"""VictoriaMetrics answers 400 if ``-http.pathPrefix`` is missing. A redirect is an answer, never followed."""


class Met(msgspec.Struct, frozen=True):
    """The outcome of a probe at one variant."""

    variant: Variant
    outcome: Outcome

    @property
    def speaks(self) -> bool:
        """Whether it is certain that the port speaks the variant's scheme."""
        if self.outcome.failure is Failure.PROTOCOL:
            return False
        return self.variant.scheme == "https" or self.outcome.status not in _OTHER_SCHEME

    @property
    def names_wrong_path(self) -> bool:
        """Whether the product may serve at another path."""
        return self.outcome.identity_mismatch or self.outcome.status in _WRONG_PATH


class Search:
    """One probe's search through the variants of a candidate."""

    def __init__(self, candidate: Candidate, prefix: str = "kubernaut.io") -> None:
        """Start it.

        Args:
            candidate: What is probed; the variant in its URL is requested first.
            prefix: The annotation prefix, for the remedy.
        """
        self.candidate = candidate
        self._prefix = prefix
        self._met: list[Met] = []

    def met(self, outcome: Outcome) -> None:
        """Record the outcome of the request to :attr:`candidate`."""
        self._met.append(Met(self.candidate.variant, outcome))

    def advance(self) -> bool:
        """Move :attr:`candidate` to the next variant to request; return whether there is one."""
        last = self._met[-1]
        if last.outcome.alive or not (self.candidate.alternatives or self.candidate.fallbacks):
            return False
        seen = {each.variant for each in self._met}
        left = (each for each in (*self.candidate.alternatives, *self.candidate.fallbacks) if each not in seen)
        following = next((each for each in left if not any(_rules_out(met, each) for met in self._met)), None)
        if following is None:
            return False
        self.candidate = self.candidate.at(following)
        return True

    def outcome(self) -> Outcome:
        """Return the overall outcome."""
        met, last = self._met, self._met[-1]
        if len(met) == 1:
            return last.outcome
        if last.outcome.alive:
            before = " and ".join(f"{self._name(each)} {_deed(each)}" for each in met[:-1])
            how = f"{self._name(last)} after {before}"
            return msgspec.structs.replace(last.outcome, variant=last.variant, requests=len(met), how=how)
        if last.outcome.deferred:
            return last.outcome
        best = next((each for each in met if each.speaks), met[0]).outcome
        if last.outcome.failure is Failure.TIMEOUT:  # it is slow, whatever else was found
            best = last.outcome
        details = "; ".join(f"{self._name(each)}: {each.outcome.detail}" for each in met)
        return msgspec.structs.replace(best, detail=f"{details}; {self._remedy()}", requests=len(met))

    def _name(self, met: Met) -> str:
        """Return what distinguishes a variant from the others that were requested."""
        names = {"scheme": met.variant.scheme, "port": f"port {met.variant.port}", "path": met.variant.path or "/"}
        return " ".join(names[part] for part in self._differing())

    def _differing(self) -> list[str]:
        parts = ("scheme", "port", "path")
        return [part for part in parts if len({getattr(each.variant, part) for each in self._met}) > 1]

    def _remedy(self) -> str:
        """Return the annotation or setting that would decide it."""
        if self._met[-1].outcome.failure is Failure.TLS:
            return f"setting health.detectors.{self.candidate.product}.ca_file names who signs its certificate"
        parts = self._differing() if any(each.speaks for each in self._met) else ["port", *self._differing()]
        names = " and ".join(f"{self._prefix}/toolset-{part}" for part in dict.fromkeys(parts))
        return f"annotate it with {names} to decide"


def to_request(candidate: Candidate, health: Health, options: HealthOptions) -> Candidate:
    """Return ``candidate`` as it is probed next: at the variant that answered last, and only there while it is valid.

    The others are requested again in each probe that would be the ``fall``-th failure in a row, or a later one.
    """
    if health.variant is None:
        return candidate
    first = candidate.at(health.variant)
    return first if health.failures + 1 >= options.fall else first.alone()


def _rules_out(met: Met, variant: Variant) -> bool:
    """Return whether previous outcomes show that ``variant`` is wrong, or must not be requested."""
    same_port, same_scheme = met.variant.port == variant.port, met.variant.scheme == variant.scheme
    failure = met.outcome.failure
    if failure is Failure.PROTOCOL:
        return same_port and same_scheme
    if failure is Failure.TLS:
        return same_port or variant.scheme == "http"
    if failure is Failure.REFUSED:
        return same_port
    if met.names_wrong_path:
        return met.speaks and not same_scheme and same_port
    return met.speaks


def _deed(met: Met) -> str:
    outcome = met.outcome
    if outcome.failure is Failure.PROTOCOL:
        return f"did not speak {'TLS' if met.variant.scheme == 'https' else 'HTTP'}"
    if outcome.identity_mismatch:
        return "answered as something else"
    return f"answered {outcome.status}" if outcome.status else "refused the connection"
