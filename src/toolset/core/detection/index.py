"""Find the detectors that have evidence for a Service, without trying each of them."""

from collections.abc import Iterator, Mapping
from typing import Final

from toolset.core.candidate import Evidence
from toolset.core.detection.detector import Detector
from toolset.core.detection.identity import Identity, Words, endings
from toolset.model import Service

_STRENGTH: Final[Mapping[Evidence, int]] = {evidence: rank for rank, evidence in enumerate(Evidence)}


class Index:
    """Detectors by phrase, key and port; a rank is a detector's place in their order."""

    def __init__(self, detectors: tuple[Detector, ...]) -> None:
        self._detectors = detectors
        self._phrases: dict[str, list[tuple[Words, int]]] = {}  # by their last word
        self._keys: dict[str, list[int]] = {}
        self._ports: dict[tuple[str, int], list[int]] = {}
        for rank, detector in enumerate(detectors):
            for phrase in detector.phrases:
                words = tuple(phrase.split("-"))
                self._phrases.setdefault(words[-1], []).append((words, rank))
            for key in detector.label_keys:
                self._keys.setdefault(key, []).append(rank)
            for port in detector.known_ports:
                self._ports.setdefault((port.name, port.number), []).append(rank)

    def matches(self, service: Service, identity: Identity) -> list[tuple[Detector, Evidence]]:
        """Return the detectors that have evidence and suit the Service, strongest first, each once."""
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
            for rank in self._called(words):
                yield evidence, rank
        for key in self._keys.keys() & identity.label_keys:
            for rank in self._keys[key]:
                yield Evidence.LABEL, rank
        for port in service.ports:
            for rank in self._ports.get((port.name or "", port.port), ()):
                yield Evidence.PORT, rank

    def _called(self, words: Words) -> Iterator[int]:
        for ending in endings(words):
            for phrase, rank in self._phrases.get(ending[-1], ()):
                if ending[-len(phrase) :] == phrase:
                    yield rank
