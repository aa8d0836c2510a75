"""Requests sent to two API servers, and what is left of the answers once everything that may differ is taken away."""

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeGuard

import httpx
import msgspec

from toolset.sim.statuses import is_map

NAMESPACE: Final = "differential"
TYPES: Final = {
    "json": "application/json",
    "merge": "application/merge-patch+json",
    "apply": "application/apply-patch+yaml",
    "strategic": "application/strategic-merge-patch+json",
}
_ANY: Final = "*"
_FREE: Final = frozenset({"creationTimestamp", "deletionTimestamp", "clusterIP", "continue", "serverAddress"})
"""Fields whose values may differ."""


class Step(msgspec.Struct, frozen=True):
    """One request.

    Attributes:
        method: The HTTP method; ``WATCH`` reads a watch to its end, ``COMPACT`` lets the server forget.
        path: Below the collection's.
        body: JSON; strings of the form ``$NAME.FIELD.FIELD`` are looked up in what was saved.
        sent_as: The content type, a name in TYPES.
        params: The query; looked up likewise.
        save: Under which name the answer is remembered.
        agent: Who asks.
        during: What is asked while the watch is open.
        root: Whether ``path`` is a whole path.
        accept: What is wanted.
    """

    method: str
    path: str = ""
    body: object = None
    sent_as: str = "json"
    params: Mapping[str, str] = {}
    save: str = ""
    agent: str = "differential/1"
    during: Sequence["Step"] = ()
    root: bool = False
    accept: str = "application/json"


class Case(msgspec.Struct, frozen=True):
    """Requests that belong together, all below one collection."""

    name: str
    collection: str
    steps: Sequence[Step]


class Exception_(msgspec.Struct, frozen=True):  # noqa: N801 - it is not an error
    """Something in which the two may differ.

    Attributes:
        reason: Why they may.
        fields: Fields that are not compared.
        text: What is not compared in texts; its first group stays.
        bookmarks: Whether bookmarks are left out that end no list.
        content: Whether of bookmarks only ``metadata`` is compared.
    """

    reason: str
    fields: Sequence[str] = ()
    text: str = ""
    bookmarks: bool = False
    content: bool = False


class Side:
    """One of the two API servers, and what it answered."""

    def __init__(
        self, client: httpx.Client, exceptions: Iterable[Exception_], compact: Callable[[], object], *, watch_s: int = 1
    ) -> None:
        """Make it; ``compact`` lets the server forget all versions but the current one."""
        self._client = client
        self._watch_s = watch_s
        self._compact = compact
        self._exceptions = tuple(exceptions)
        self._saved: dict[str, Any] = {}

    def prepare(self) -> None:
        """Make the namespace, or make it empty."""
        self._client.post("/api/v1/namespaces", json={"metadata": {"name": NAMESPACE}})
        for collection in ("/api/v1", "/apis/coordination.k8s.io/v1", "/apis/events.k8s.io/v1"):
            plurals = {"/api/v1": ("services", "configmaps")}.get(collection, (collection.split("/")[2].split(".")[0],))
            for plural in plurals:
                resource = "leases" if plural == "coordination" else plural
                path = f"{collection}/namespaces/{NAMESPACE}/{resource}"
                for each in self._client.get(path).raise_for_status().json()["items"]:
                    self._client.delete(f"{path}/{each['metadata']['name']}").raise_for_status()

    def play(self, case: Case) -> list[object]:
        """Send all of ``case``; return what can be compared."""
        self._saved = {}
        answers: list[object] = []
        for step in case.steps:
            if step.method == "COMPACT":
                self._compact()
            else:
                answers += self._watch(case, step) if step.method == "WATCH" else [self._send(case, step)]
        comparable: list[object] = Comparable(self._exceptions).of(answers)
        return comparable

    def _send(self, case: Case, step: Step) -> object:
        answer = self._client.request(
            step.method, self._path(case, step), params=self._filled(step.params), **self._content(step)
        )
        content = _content(answer)
        if step.save:
            self._saved[step.save] = content
        if is_map(content) and "items" in content:
            content = {**content, "items": [each for each in content["items"] if _is_ours(each)]}
        headers = {name: answer.headers.get(name, "").split(";")[0] for name in ("content-type", "retry-after")}
        return {"asked": f"{step.method} {step.path}", "status": answer.status_code, **headers, "body": content}

    def _watch(self, case: Case, step: Step) -> list[object]:
        params = {"watch": "1", "timeoutSeconds": str(self._watch_s), **self._filled(step.params)}
        with self._client.stream("GET", self._path(case, step), params=params, headers=_headers(step)) as answer:
            if answer.status_code != 200:
                answer.read()
                return [{"status": answer.status_code, "body": _content(answer)}]
            doing = threading.Thread(target=self._do, args=(case, step))
            doing.start()
            events = [json.loads(line) for line in answer.iter_lines()]
            doing.join()
        return [{"watched": sorted(params)}, *(self._told(each) for each in events if self._counts(each))]

    def _told(self, event: dict[str, Any]) -> dict[str, Any]:
        if event["type"] == "BOOKMARK" and any(each.content for each in self._exceptions):
            return {"type": "BOOKMARK", "metadata": event["object"]["metadata"]}
        return event

    def _counts(self, event: Mapping[str, Any]) -> bool:
        metadata = event["object"]["metadata"]
        if event["type"] == "BOOKMARK":
            return "annotations" in metadata or not any(each.bookmarks for each in self._exceptions)
        return event["type"] == "ERROR" or _is_ours(event["object"])

    def _do(self, case: Case, step: Step) -> None:
        threading.Event().wait(0.2)  # the watch stands
        for each in step.during:
            self._send(case, each)

    def _path(self, case: Case, step: Step) -> str:
        return step.path if step.root else f"{case.collection}{step.path}"

    def _content(self, step: Step) -> dict[str, Any]:
        if step.body is None:
            return {"headers": _headers(step)}
        sent = json.dumps(self._filled(step.body))
        return {"content": sent, "headers": {**_headers(step), "Content-Type": TYPES[step.sent_as]}}

    def _filled(self, value: Any) -> Any:
        if is_map(value):
            return {name: self._filled(each) for name, each in value.items()}
        if _is_list(value):
            return [self._filled(each) for each in value]
        if isinstance(value, str) and value.startswith("$"):
            found: Any = self._saved
            for name in value[1:].split("."):
                found = found[name]
            return found
        return value


class Comparable:
    """Takes away what may differ; uids and versions become numbers in the order of their appearance."""

    def __init__(self, exceptions: Iterable[Exception_]) -> None:
        listed = tuple(exceptions)
        self._fields = frozenset(name for each in listed for name in each.fields)
        self._texts = [re.compile(each.text) for each in listed if each.text]
        self._uids: dict[str, str] = {}
        self._versions: dict[str, str] = {}

    def of(self, value: Any) -> Any:
        if is_map(value):
            return {name: self._field(name, each, value) for name, each in value.items() if name not in self._fields}
        if _is_list(value):
            return [self.of(each) for each in value]
        return self._text(value) if isinstance(value, str) else value

    def _field(self, name: str, value: Any, of: Mapping[str, Any]) -> Any:
        if name in _FREE and value != "None":
            return _ANY
        if name == "clusterIPs" and value != ["None"]:
            return _ANY
        if name == "uid":
            return self._uids.setdefault(value, f"uid {len(self._uids) + 1}")
        if name == "name" and "generateName" in of:
            return f"{of['generateName']}{_ANY}"
        if name == "resourceVersion":
            return self._versions.setdefault(value, f"version {len(self._versions) + 1}") if "uid" in of else _ANY
        if name == "managedFields" and _is_list(value):
            entries = [{field: self.of(each) for field, each in entry.items() if field != "time"} for entry in value]
            return sorted(entries, key=lambda each: (each["operation"], each["manager"]))
        if name == "causes" and _is_list(value):  # the real server asks the managers in no order
            return sorted((self.of(each) for each in value), key=lambda each: (each.get("field"), each["message"]))
        return self.of(value)

    def _text(self, text: str) -> str:
        for uid, shown in self._uids.items():
            text = text.replace(uid, shown) if len(uid) > 30 else text
        text = re.sub(r"(current: |record \(|old resource version: )\d+( \(\d+\))?", rf"\g<1>{_ANY}", text)
        for pattern in self._texts:
            text = pattern.sub(lambda found: f"{found[1]}{_ANY}", text)
        return text


def together(case: Case, *sides: Side) -> list[list[object]]:
    """Play ``case`` on all sides at the same time; return what each answered."""

    def play(side: Side) -> list[object]:
        side.prepare()
        return side.play(case)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(play, sides))


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_ours(content: Mapping[str, Any]) -> bool:
    return NAMESPACE in {content["metadata"].get("namespace"), content["metadata"]["name"]}


def _headers(step: Step) -> dict[str, str]:
    return {"User-Agent": step.agent, "Accept": step.accept, "Accept-Encoding": "identity"}


def _content(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except json.JSONDecodeError:
        return answer.text
