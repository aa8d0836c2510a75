"""The table of requests: every verb on every resource, every outcome that the service, the demo or kubectl meets."""

from collections.abc import Iterator, Mapping, Sequence
from secrets import token_hex
from typing import Any, Final

from integration.exchanges import NAMESPACE, Case, Exception_, Step

CORE: Final = f"/api/v1/namespaces/{NAMESPACE}"
MAPS: Final = f"{CORE}/configmaps"
SERVICES: Final = f"{CORE}/services"
LEASES: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
EVENTS: Final = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
NAMESPACES: Final = "/api/v1/namespaces"
MADE: Final = f"differential-{token_hex(4)}"
"""A Namespace that is new to a server; a real one that has no controllers never gets rid of it."""
REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

_BEFORE_V1: Final = ("deprecatedSource", "deprecatedFirstTimestamp", "deprecatedLastTimestamp")
EXCEPTIONS: Final = (
    Exception_("the API of Events before v1: always empty", fields=_BEFORE_V1),
    Exception_("the ports of a Service are owned as one: nobody here shares them", fields=("f:ports",)),
    Exception_("the rest of a list of another moment cannot be had: nobody asks for it", fields=("continue",)),
    Exception_("as above, in words", text=r"(continue parameter is too old).*"),
    Exception_("how Go reports a value of a wrong type", text=r"()\w+ in version \"v1\" cannot be handled as a .*"),
    Exception_("how Python does", text=r"()the request cannot be read: .*"),
    Exception_("several conflicts are reported one a line: the causes are the same", text=r"(\d conflicts: )(?s:.*)"),
    Exception_("when a bookmark comes is the server's choice, unless it ends a list", bookmarks=True),
    Exception_("a bookmark has the zero values of Go's structs", content=True),
)

OURS: Final = {"fieldManager": "ours", "force": "true"}
WITH_PATCH: Final = {"fieldManager": "ours"}
THEIRS: Final = {"fieldManager": "theirs", "force": "false", "fieldValidation": "Strict"}
FORCED: Final = {**THEIRS, "force": "true"}
KUBECTL: Final = {"fieldManager": "kubectl-edit", "fieldValidation": "Strict"}
OLD: Final = {"resourceVersion": "$o.metadata.resourceVersion", "uid": "$o.metadata.uid"}
BACKGROUND: Final = {"propagationPolicy": "Background"}


def _map(data: object = None, name: str = "one", **metadata: object) -> dict[str, Any]:
    content: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    return content | ({} if data is None else {"data": data})


def _service(*ports: object, name: str = "one", spec: Mapping[str, object] | None = None) -> dict[str, Any]:
    usual = {"selector": {"app": name}, "ports": ports or [{"name": "http", "port": 80}]}
    metadata = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec or usual}


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _lease(spec: object = None) -> dict[str, Any]:
    content: dict[str, Any] = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "one"}}
    return content | ({} if spec is None else {"spec": spec})


def _event(**changes: object) -> dict[str, Any]:
    changed = {**_EVENT, **changes}
    return {field: each for field, each in changed.items() if each is not None}


def _post(body: object, **params: str) -> Step:
    return Step("POST", body=body, params=params)


def _put(body: object) -> Step:
    return Step("PUT", "/one", body)


def _merge(body: object, path: str = "/one", agent: str = "differential/1", **params: str) -> Step:
    return Step("PATCH", path, body, "merge", params, agent=agent)


def _strategic(body: object, path: str = "/one") -> Step:
    return Step("PATCH", path, body, "strategic", KUBECTL)


def _apply(body: object, params: Mapping[str, str] = OURS) -> Step:
    return Step("PATCH", f"/{NAMESPACE if body == _namespace(NAMESPACE) else 'one'}", body, "apply", params)


def _get(path: str = "/one") -> Step:
    return Step("GET", path)


def _list(**params: str) -> Step:
    return Step("GET", params={"limit": "500", **params})


def _delete(path: str = "/one") -> Step:
    return Step("DELETE", path, BACKGROUND)


def _saved(step: Step, name: str = "o") -> Step:
    return Step(step.method, step.path, step.body, step.sent_as, step.params, name, step.agent)


_SPEC: Final = {
    "holderIdentity": "a",
    "leaseDurationSeconds": 15,
    "acquireTime": "2025-01-01T00:00:00.000001Z",
    "renewTime": "2025-01-01T00:00:02.000002Z",
    "leaseTransitions": 3,
}
_LATER: Final = {**_SPEC, "renewTime": "2025-01-01T00:00:04.000000Z"}
_ABOUT: Final = {"apiVersion": "v1", "namespace": NAMESPACE, "name": "one"}
_EVENT: Final[Mapping[str, Any]] = {
    "apiVersion": "events.k8s.io/v1",
    "kind": "Event",
    "metadata": {"namespace": NAMESPACE, "name": "one"},
    "eventTime": "2025-01-01T00:00:00.000000Z",
    "reportingController": "example.org/reporter",
    "reportingInstance": "pod",
    "type": "Normal",
    "reason": "Published",
    "action": "Publish",
    "note": "something happened",
    "regarding": {**_ABOUT, "kind": "ConfigMap", "uid": "x"},
    "related": {**_ABOUT, "kind": "Service"},
}
_SERIES: Final = {"count": 2, "lastObservedTime": "2025-01-01T00:00:01.000000Z"}

_REVIEW: Final = {
    "apiVersion": "authorization.k8s.io/v1",
    "kind": "SelfSubjectAccessReview",
    "spec": {"resourceAttributes": {"verb": "list", "resource": "services"}},
}

CREATES: Final = (
    Case("a ConfigMap is created once", MAPS, [_post(_map({"a": "1"})), _post(_map()), _get(), _get("/absent")]),
    Case("labels, annotations", MAPS, [_post(_map(labels={"a": "1"}, annotations={"x.y/z": "2"})), _get()]),
    Case("by kubectl", MAPS, [_get(), _post(_map({"a": "1"}), **KUBECTL), _post(_map({"a": 1}), **KUBECTL)]),
    Case("no such namespace", "/api/v1/namespaces/absent/configmaps", [_post(_map())]),
    Case("a Service", SERVICES, [_get(), _post(_service(), **KUBECTL), _post(_service()), _get()]),
    Case("an ExternalName", SERVICES, [_post(_service(spec={"type": "ExternalName", "externalName": "a.example"}))]),
    Case("a headless Service", SERVICES, [_post(_service(spec={"clusterIP": "None", "selector": {"a": "b"}}))]),
    Case(
        "ports of all sorts",
        SERVICES,
        [
            _post(
                _service(
                    {"port": 1, "targetPort": "web", "name": "a"},
                    {"port": 2, "name": "b", "protocol": "UDP", "appProtocol": "http"},
                )
            )
        ],
    ),
    Case("a Namespace", NAMESPACES, [_post(_namespace(NAMESPACE)), _get(f"/{NAMESPACE}"), _get("/absent")]),
    Case("a Namespace by kubectl", NAMESPACES, [_post(_namespace(MADE), **KUBECTL)]),
    Case("a Lease", LEASES, [_get(), _post(_lease(_SPEC)), _post(_lease(_SPEC)), _get()]),
    Case("a Lease by kubectl", LEASES, [_post(_lease({"holderIdentity": "a"}), **KUBECTL), _get()]),
    Case("a Lease without a spec", LEASES, [_post(_lease())]),
    Case("a Lease in no namespace", "/apis/coordination.k8s.io/v1/namespaces/absent/leases", [_post(_lease(_SPEC))]),
    Case("an Event", EVENTS, [_post(_event()), _post(_event()), _get(), _get("/absent")]),
    Case("an Event by kubectl", EVENTS, [_post(_event(), **KUBECTL), _get()]),
    Case("an Event of many", EVENTS, [_post(_event(series=_SERIES))]),
    Case("an Event about the ConfigMap alone", EVENTS, [_post(_event(related=None))]),
    Case(
        "an Event in no namespace",
        "/apis/events.k8s.io/v1/namespaces/absent/events",
        [_post(_event(metadata={"namespace": "absent", "name": "one"}))],
    ),
    Case("a review", REVIEWS, [_post(_REVIEW)]),
)

UPDATES: Final = (
    Case("an update", MAPS, [_put(_map()), _post(_map({"a": "1"})), _put(_map({"b": "2"})), _put(_map()), _get()]),
    Case("an update that changes nothing", MAPS, [_saved(_post(_map({"a": "1"}))), _put("$o"), _get()]),
    Case(
        "a fenced update",
        MAPS,
        [_saved(_post(_map({"b": "1"}))), _put(_map({"a": "1"}, **OLD)), _put(_map({"a": "2"}, **OLD))],
    ),
    Case(
        "a Lease is updated",
        LEASES,
        [_saved(_post(_lease(_SPEC))), _put({**_lease(_LATER), "metadata": {"name": "one", **OLD}})],
    ),
    Case("a Service keeps its address", SERVICES, [_post(_service()), _put(_service({"port": 81}))]),
)

PATCHES: Final = (
    Case(
        "ours by a merge patch, fenced",
        MAPS,
        [
            _merge({"metadata": {"resourceVersion": "1", "uid": "x"}, "data": {"a": None}}, **WITH_PATCH),
            _saved(_post(_map({"a": "1", "b": "2"}))),
            _merge({"metadata": OLD, "data": {"a": None, "c": "3"}}, **WITH_PATCH),
            _merge({"metadata": OLD, "data": {"b": None}}, **WITH_PATCH),
            _merge({"metadata": {"uid": "abc"}, "data": {"b": None}}, **WITH_PATCH),
            _get(),
        ],
    ),
    Case(
        "an admin's",
        MAPS,
        [
            _post(_map({"a": "1", "b": "2"}, labels={"l": "1"})),
            _merge({"data": {"a": "1"}}, **WITH_PATCH),
            _merge({"data": {"a": "2", "b": None}}, **WITH_PATCH),
            _merge({"metadata": {"labels": {"m": "2"}, "annotations": {"n": "3"}}}, **WITH_PATCH),
            _merge({"data": None, "metadata": {"labels": None}}),
            _get(),
        ],
    ),
    Case(
        "kubectl edits a ConfigMap",
        MAPS,
        [_strategic({}), _post(_map({"a": "1"})), _strategic({"data": {"a": None, "b": "2"}}), _get()],
    ),
    Case(
        "a Lease is renewed",
        LEASES,
        [
            _merge({"metadata": {"resourceVersion": "1", "uid": "x"}, "spec": _SPEC}),
            _saved(_post(_lease(_SPEC))),
            _merge({"metadata": {"labels": {"team": "a"}}}, agent="kubectl/1"),
            _merge({"metadata": OLD, "spec": _LATER}),
            _saved(_get()),
            _merge({"metadata": OLD, "spec": _LATER}),
            _merge({"metadata": OLD, "spec": "$o.spec"}),
            _merge({"spec": {**_SPEC, "holderIdentity": ""}}),
            _delete(),
            _post(_lease(_SPEC)),
            _merge({"metadata": OLD, "spec": _LATER}),
        ],
    ),
    Case(
        "an Event is counted",
        EVENTS,
        [
            _merge({"series": _SERIES}),
            _post(_event()),
            _merge({"series": _SERIES}),
            _merge({"series": {**_SERIES, "count": 3}}),
            _get(),
        ],
    ),
    Case(
        "a Service is annotated",
        SERVICES,
        [
            _post(_service()),
            _merge({"metadata": {"annotations": {"kubernaut.io/toolset": "enabled"}}}, **WITH_PATCH),
            _merge({"metadata": {"annotations": {"kubernaut.io/toolset": None}}}, **WITH_PATCH),
            _merge({"spec": {"selector": {"a": "b"}}}, agent="other/1"),
        ],
    ),
    Case(
        "kubectl edits a Service",
        SERVICES,
        [
            _strategic({}),
            _post(_service()),
            _strategic({"spec": {"$setElementOrder/ports": [{"port": 80}], "ports": [{"port": 80, "name": "web"}]}}),
            _strategic(
                {
                    "spec": {
                        "$setElementOrder/ports": [{"port": 80}, {"port": 81}],
                        "ports": [{"port": 81, "name": "two"}],
                    }
                }
            ),
            _strategic({"spec": {"$setElementOrder/ports": [{"port": 81}, {"port": 80}]}}),
            _strategic(
                {
                    "spec": {
                        "$setElementOrder/ports": [{"port": 90}, {"port": 81}],
                        "ports": [{"port": 90, "name": "n"}, {"$patch": "delete", "port": 80}],
                    }
                }
            ),
            _strategic({"spec": {"selector": {"app": None, "z": "1"}}, "metadata": {"labels": {"x": "y"}}}),
            _get(),
        ],
    ),
)

APPLIES: Final = (
    Case(
        "our keys next to those of others",
        MAPS,
        [
            _apply(_map({"a": "1", "b": "1"}, labels={"l": "x"}, annotations={"k/a": "1"})),
            _apply(_map({"a": "1", "b": "1"}, labels={"l": "x"}, annotations={"k/a": "1"})),
            _merge({"data": {"a": "2", "z": "1"}}, **WITH_PATCH),
            _apply(_map({"a": "1", "b": "1"}, labels={"l": "x"}, annotations={"k/b": "1"})),
            _apply(_map({"a": "1"}), THEIRS),
            _apply(_map({"a": "7"}), THEIRS),
            _apply(_map({"a": "7"}), FORCED),
            _apply(_map()),
            _get(),
        ],
    ),
    Case(
        "a conflict with two",
        MAPS,
        [
            _apply(_map({"a": "1"})),
            _merge({"data": {"b": "1"}}, **WITH_PATCH),
            _apply(_map({"a": "2", "b": "2"}), THEIRS),
        ],
    ),
    Case(
        "fenced",
        MAPS,
        [
            _apply(_map({"a": "1"}, uid="abc")),
            _saved(_apply(_map({"a": "1"}, resourceVersion="3"))),
            _apply(_map({"a": "2"}, **OLD)),
            _apply(_map({"a": "3"}, **OLD)),
            _apply(_map({"a": "3"}, uid="abc")),
            _delete(),
            _apply(_map({"a": "3"}, **OLD)),
            _get(),
        ],
    ),
    Case(
        "what was first written by an update",
        MAPS,
        [
            _post(_map({"a": "1", "b": "1"})),
            _apply(_map({"a": "1", "b": "2", "c": "3"})),
            _apply(_map({"c": "3"})),
            _get(),
        ],
    ),
    Case("by kubectl", MAPS, [_apply(_map({"a": "1"}), THEIRS), _apply(_map({"b": "1"}), THEIRS), _get()]),
    Case("in no namespace", "/api/v1/namespaces/absent/configmaps", [_apply(_map({"a": "1"}))]),
    Case(
        "a Service by kubectl",
        SERVICES,
        [
            _apply(_service({"port": 99, "name": "x"}), THEIRS),
            _apply(_service({"port": 99, "name": "x"}, {"port": 100, "name": "y", "protocol": "TCP"}), THEIRS),
            _apply(
                _service(
                    {"port": 99, "name": "x"}, spec={"ports": [{"port": 99, "name": "x"}], "selector": {"a": "b"}}
                ),
                THEIRS,
            ),
            _apply(_service({"port": 99, "name": "x"}), FORCED),
        ],
    ),
    Case("a Service that was created", SERVICES, [_post(_service()), _apply(_service(), THEIRS), _get()]),
    Case("a Namespace", NAMESPACES, [_apply(_namespace(NAMESPACE), THEIRS)]),
)

DELETES: Final = (
    Case("a ConfigMap", MAPS, [_delete(), _post(_map()), _delete(), _get()]),
    Case("a ConfigMap, without options", MAPS, [_post(_map()), Step("DELETE", "/one"), _get()]),
    Case("a Service", SERVICES, [_delete(), _post(_service()), _delete(), _get()]),
    Case("a Lease", LEASES, [_delete(), _post(_lease(_SPEC)), _delete()]),
    Case("an Event", EVENTS, [_delete(), _post(_event()), _delete()]),
    Case("a Namespace that is not there", NAMESPACES, [_delete("/absent")]),
)

PATHS: Final = tuple(
    Case(f"{method} {path}", MAPS, [Step(method, path, root=True)])
    for method, path in (("GET", "/api/v1/foos"), ("GET", f"{CORE}/foos/x"), ("GET", f"{MAPS}/x/y/z"), ("PUT", MAPS))
)


def _lists() -> Iterator[Case]:
    three = [_post(_map({"a": name}, name)) for name in ("x", "y", "z")]
    three += [Step("GET")]  # the real server's cache has caught up then
    first = _saved(_list(limit="2"), "p")
    second = _list(limit="2", **{"continue": "$p.metadata.continue"})
    yield Case("in pages", MAPS, [*three, first, second])
    yield Case("pages of one moment", MAPS, [*three, first, _delete("/z"), _post(_map(name="zz")), second, second])
    since = {"resourceVersion": "$p.metadata.resourceVersion", "resourceVersionMatch": "NotOlderThan"}
    yield Case("not older than a version", MAPS, [*three, first, _delete("/y"), Step("GET", params=since)])
    future = {"resourceVersion": "999999999", "resourceVersionMatch": "NotOlderThan"}
    yield Case("not older than the future", MAPS, [Step("GET", params=future)])
    yield Case("as of any version", MAPS, [*three, Step("GET", params={"resourceVersion": "0"})])
    yield Case(
        "of one name", MAPS, [*three, _list(fieldSelector="metadata.name=y"), _list(fieldSelector="metadata.name=n")]
    )
    yield Case("of all namespaces", "/api/v1/configmaps", [_list()])
    yield Case("of no such namespace", "/api/v1/namespaces/absent/configmaps", [_list()])
    yield Case("of Events", EVENTS, [_post(_event()), _list()])
    about = {"fieldSelector": f"involvedObject.name=one,involvedObject.namespace={NAMESPACE},involvedObject.uid=x"}
    core = Step("GET", f"{CORE}/events", params={"limit": "500", **about}, root=True)
    other = Step(
        "GET", f"{CORE}/events", params={"fieldSelector": "involvedObject.name=two", "limit": "500"}, root=True
    )
    yield Case("of Events as the core group has them", EVENTS, [_post(_event()), core, other])
    yield Case("of Leases", LEASES, [_post(_lease(_SPEC)), _list()])


def _watches() -> Iterator[Case]:
    made = [_saved(_post(_map({"a": "1"}, "x"))), _post(_map(name="y")), Step("GET")]
    change = [_merge({"data": {"a": "2"}}, "/x"), _post(_map(name="z")), _delete("/x"), _post(_map(name="x"))]
    stream = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    since = {"resourceVersion": "$o.metadata.resourceVersion"}
    for name, params in (
        ("from nowhere", {}),
        ("from any version", {"resourceVersion": "0", "fieldSelector": "metadata.name=x"}),
        ("from a version", since),
        ("of one name", {"fieldSelector": "metadata.name=x", **since}),
        ("as a list", stream),
        ("as a list from a version", {**stream, **since}),
        ("as a list of nothing", {**stream, "fieldSelector": "metadata.name=absent"}),
    ):
        yield Case(name, MAPS, [*made, Step("WATCH", params=params, during=change)])
    same = [_merge({"data": {"a": "1"}}, "/x"), _apply(_map({"a": "1"}, "x"))]
    yield Case("no write, no event", MAPS, [*made, Step("WATCH", params=since, during=same[:1])])


def _compactions() -> Iterator[Case]:
    old = {"resourceVersion": "$o.metadata.resourceVersion"}
    made = [_saved(_post(_map(name="x"))), _post(_map(name="y")), _saved(_list(limit="1"), "p"), _post(_map(name="z"))]
    stream = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    asked = [
        Step("WATCH", params=old),
        Step("WATCH", params={**old, **stream}),
        Step("GET", params={**old, "resourceVersionMatch": "NotOlderThan"}),
        _list(limit="1", **{"continue": "$p.metadata.continue"}),
    ]
    yield Case("what is forgotten", MAPS, [*made, Step("COMPACT"), *asked])


def _as_the_service_does() -> Iterator[Case]:
    """Every list and watch of the service's informers, on each of its resources."""
    stream = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    bookmarks = {"allowWatchBookmarks": "true"}
    one = {"fieldSelector": "metadata.name=one"}
    here = {"fieldSelector": f"metadata.name={NAMESPACE}"}
    annotated = _merge({"metadata": {"annotations": {"a": "b"}}}, **WITH_PATCH)
    resources: Sequence[tuple[str, str, Sequence[Step], Sequence[Step], Mapping[str, str]]] = (
        ("Services", SERVICES, [_post(_service())], [annotated, _delete()], {}),
        ("Services everywhere", "/api/v1/services", [], [], {}),
        (
            "one ConfigMap",
            MAPS,
            [_post(_map({"b": "1"}))],
            [_merge({"data": {"a": "1"}}, **WITH_PATCH), _delete()],
            one,
        ),
        ("one Lease", LEASES, [_post(_lease(_SPEC))], [_merge({"spec": {"holderIdentity": "b"}}), _delete()], one),
        ("one Namespace", NAMESPACES, [], [], here),
        ("Namespaces", NAMESPACES, [], [], {}),
    )
    for name, collection, made, during, chosen in resources:
        listed = _saved(_list(**chosen), "l")
        since = {"resourceVersion": "$l.metadata.resourceVersion"}
        again = Step("GET", params={**since, "resourceVersionMatch": "NotOlderThan", **chosen})
        watches = [Step("WATCH", params={**bookmarks, **chosen, **since}, during=during)]
        watches += [Step("WATCH", params={**bookmarks, **chosen, **stream, **more}) for more in ({}, since)]
        yield Case(name, collection, [*made, listed, again, *watches])


TABLE: Final[Mapping[str, Sequence[Case]]] = {
    "create": CREATES,
    "update": UPDATES,
    "patch": PATCHES,
    "apply": APPLIES,
    "delete": DELETES,
    "path": PATHS,
    "list": tuple(_lists()),
    "watch": tuple(_watches()),
    "informer": tuple(_as_the_service_does()),
    "compaction": tuple(_compactions()),
}
