"""Find the detectors that have evidence for a Service, without trying each of them."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from toolset.core.candidate import Evidence
from toolset.core.detection.detector import Detector
from toolset.core.detection.identity import Identity, Words, ends, separated
from toolset.model import Service, ServicePort

_NAMES_CACHED: Final = 1024
"""Maximum number of cached port names: most Services have the same few."""
_STRENGTH: Final[Mapping[Evidence, int]] = {evidence: rank for rank, evidence in enumerate(Evidence)}


class Index:
    """Detectors by phrase, key and port; a rank is a detector's place in their order."""

    def __init__(self, detectors: tuple[Detector, ...]) -> None:
        self._detectors = detectors
        self._phrases: dict[str, list[tuple[Words, int]]] = {}  # by their last word
        self._component_phrases: dict[str, list[tuple[Words, int]]] = {}
        self._keys: dict[str, list[int]] = {}
        self._ports: dict[tuple[str, int], list[int]] = {}
        for rank, detector in enumerate(detectors):
            for by_word, phrases in (
                (self._phrases, detector.phrases),
                (self._component_phrases, detector.component_phrases),
            ):
                for words in map(separated, phrases):
                    by_word.setdefault(words[-1], []).append((words, rank))
            for key in detector.label_keys:
                self._keys.setdefault(key, []).append(rank)
            for port in detector.known_ports:
                self._ports.setdefault((port.name, port.number), []).append(rank)
        self._last_words = self._phrases.keys() | self._component_phrases.keys()
        self._by_port_name = lru_cache(_NAMES_CACHED)(self._of_port_name)

    def matches(self, service: Service, identity: Identity) -> list[tuple[Detector, Evidence]]:
        """Return the detectors with evidence that match the Service, strongest first, each once."""
        found: dict[int, Evidence] = {}
        for evidence, rank in self._evidence(service, identity):
            if rank not in found or _STRENGTH[evidence] < _STRENGTH[found[rank]]:
                found[rank] = evidence
        if not found:
            return []
        ranked = sorted((_STRENGTH[evidence], rank, evidence) for rank, evidence in found.items())
        matches = [(self._detectors[rank], evidence) for _, rank, evidence in ranked]
        return [(detector, evidence) for detector, evidence in matches if detector.suits(service)]

    def _evidence(self, service: Service, identity: Identity) -> Iterator[tuple[Evidence, int]]:
        for words, evidence in identity.names:
            if not self._last_words.isdisjoint(words):  # few unrelated Services have such a word
                for rank in self._called(words, with_components=bool(identity.components)):
                    yield evidence, rank
        for key in self._keys.keys() & identity.label_keys:
            for rank in self._keys[key]:
                yield Evidence.LABEL, rank
        for port in service.ports:
            name = port.name or ""
            for rank in (*self._ports.get((name, port.port), ()), *self._by_port_name(name)):
                yield Evidence.PORT, rank

    def _called(self, words: Words, *, with_components: bool) -> Iterator[int]:
        """Yield the detectors with a phrase that ends ``words``, generic endings aside."""
        tables = (self._phrases, self._component_phrases) if with_components else (self._phrases,)
        for end in ends(words):
            for phrases in tables:
                for phrase, rank in phrases.get(words[end - 1], ()):
                    if words[:end][-len(phrase) :] == phrase:
                        yield rank

    def _of_port_name(self, name: str) -> tuple[int, ...]:
        return tuple(rank for rank, each in enumerate(self._detectors) if each.port.is_called(ServicePort(name=name)))
