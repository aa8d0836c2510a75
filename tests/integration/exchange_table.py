"""The table of requests: every verb on every resource, every outcome that the service, the demo or kubectl meets."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from integration.exchanges import NAMESPACE, Case, Exception_, Step

CORE: Final = f"/api/v1/namespaces/{NAMESPACE}"
MAPS: Final = f"{CORE}/configmaps"
SERVICES: Final = f"{CORE}/services"
LEASES: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
EVENTS: Final = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
NAMESPACES: Final = "/api/v1/namespaces"
REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
OURS: Final = {"fieldManager": "ours", "force": "true"}

EXCEPTIONS: Final = (
    Exception_("Events: fields of the API before v1, always empty", field="deprecatedSource"),
    Exception_("as above", field="deprecatedFirstTimestamp"),
    Exception_("as above", field="deprecatedLastTimestamp"),
    Exception_(
        "Go's words for JSON of a wrong type or none at all", text=r"(cannot be handled as a \w+: |unrecognized).*"
    ),
    Exception_(
        "likewise for a patch; the whole object is repeated", text=r"(^|patch: )Invalid value: (?:\"\{|json: ).*"
    ),
    Exception_("when a bookmark comes is the server's choice, unless it ends a list", bookmarks=True),
    Exception_("likewise for an apply", text=r"(failed to create typed patch object \().*"),
)


def _map(name: str = "one", data: object = None, **metadata: object) -> dict[str, Any]:
    content: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    return content | ({} if data is None else {"data": data})


def _service(name: str = "one", spec: Mapping[str, object] | None = None, **metadata: object) -> dict[str, Any]:
    usual = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, **metadata}, "spec": spec or usual}


def _post(body: object, **more: Any) -> Step:
    return Step("POST", body=body, **more)


def _put(body: object, path: str = "/one", **more: Any) -> Step:
    return Step("PUT", path, body, **more)


def _merge(body: object, path: str = "/one", **more: Any) -> Step:
    return Step("PATCH", path, body, "merge", **more)


def _apply(body: object, path: str = "/one", params: Mapping[str, str] = OURS, **more: Any) -> Step:
    return Step("PATCH", path, body, "apply", params, **more)


def _strategic(body: object, path: str = "/one", **more: Any) -> Step:
    return Step("PATCH", path, body, "strategic", **more)


def _operations(body: object, path: str = "/one") -> Step:
    return Step("PATCH", path, body, "operations")


def _get(path: str = "/one", **params: str) -> Step:
    return Step("GET", path, params=params)


def _delete(body: object = None, path: str = "/one") -> Step:
    return Step("DELETE", path, body)


_BIG: Final = {"k": "x" * 1_048_577}
_FOREIGN: Final = {"fieldManager": "admin"}
_THEIRS: Final = {"fieldManager": "theirs"}
_FORCED: Final = {"fieldManager": "theirs", "force": "true"}
_SPEC: Final = {
    "holderIdentity": "a",
    "leaseDurationSeconds": 15,
    "acquireTime": "2025-01-01T00:00:00.000001Z",
    "renewTime": "2025-01-01T00:00:02.000002Z",
    "leaseTransitions": 3,
}
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
    "regarding": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": NAMESPACE, "name": "one", "uid": ""},
    "related": {"apiVersion": "v1", "kind": "Service", "namespace": NAMESPACE, "name": "one"},
}
_SERIES: Final = {"count": 2, "lastObservedTime": "2025-01-01T00:00:01.000000Z"}


def _lease(spec: object = None, **metadata: object) -> dict[str, Any]:
    content: dict[str, Any] = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    return content | {"metadata": {"name": "one", **metadata}} | ({} if spec is None else {"spec": spec})


def _event(name: str = "one", **changes: object) -> dict[str, Any]:
    changed = {**_EVENT, **changes, "metadata": {"namespace": NAMESPACE, "name": name}}
    return {field: each for field, each in changed.items() if each is not None}


CREATES: Final = (
    Case("a ConfigMap is created once", MAPS, [_post(_map(data={"a": "1"})), _post(_map()), _get(), _get("/absent")]),
    Case("names, labels, annotations", MAPS, [_post(_map(labels={"a": "1"}, annotations={"x.y/z": "2"})), _get()]),
    Case("a generated name", MAPS, [_post({"metadata": {"generateName": "made-"}})]),
    Case("who creates by parameter", MAPS, [_post(_map(data={"a": "1"}), params={"fieldManager": "someone"})]),
    Case("no name", MAPS, [_post({"metadata": {}})]),
    Case("a bad name", MAPS, [_post(_map("Bad_Name"))]),
    Case("a bad key", MAPS, [_post(_map(data={"bad key": "v"}))]),
    Case("too much data", MAPS, [_post(_map(data=_BIG)), _get()]),
    Case("a number for a text", MAPS, [_post(_map(data={"a": 1}))]),
    Case("a null for a text", MAPS, [_post(_map(data={"a": None})), _get()]),
    Case("an empty map", MAPS, [_post(_map(data={})), _get()]),
    Case("a field that nobody knows", MAPS, [_post({**_map(), "foo": 1}), _get()]),
    Case("a version at the creation", MAPS, [_post(_map(resourceVersion="5"))]),
    Case("a uid at the creation", MAPS, [_post(_map(uid="abc")), _get()]),
    Case("another namespace in the body", MAPS, [_post(_map(namespace="other"))]),
    Case(
        "another kind in the body", MAPS, [_post({**_map(), "kind": "Secret"}), _post({**_map(), "apiVersion": "v2"})]
    ),
    Case("no JSON", MAPS, [_post("{"), _post("")]),
    Case("another content type", MAPS, [_post(_map(), sent_as="text/plain")]),
    Case("no such namespace", "/api/v1/namespaces/absent/configmaps", [_post(_map())]),
    Case("a Service", SERVICES, [_post(_service()), _post(_service()), _get()]),
    Case("an ExternalName", SERVICES, [_post(_service(spec={"type": "ExternalName", "externalName": "a.example"}))]),
    Case("an ExternalName without", SERVICES, [_post(_service(spec={"type": "ExternalName"}))]),
    Case("a headless Service", SERVICES, [_post(_service(spec={"clusterIP": "None", "selector": {"a": "b"}}))]),
    Case(
        "ports of all sorts",
        SERVICES,
        [
            _post(
                _service(
                    spec={
                        "ports": [
                            {"port": 1, "targetPort": "web", "name": "a"},
                            {"port": 2, "name": "b", "protocol": "UDP", "appProtocol": "http"},
                        ]
                    }
                )
            )
        ],
    ),
    *(
        Case(f"a Service with wrong ports, {place}", SERVICES, [_post(_service(spec={"ports": ports}))])
        for place, ports in enumerate(
            (
                [],
                [{"port": 0}],
                [{"port": 70000}],
                [{"port": 1}, {"port": 2}],
                [{"port": 1, "name": "A_"}],
                [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}],
                [{"port": "x"}],
            )
        )
    ),
    Case("a Service of no type", SERVICES, [_post(_service(spec={"type": "Foo", "ports": [{"port": 1}]}))]),
    Case("a Service with a bad name", SERVICES, [_post(_service("Bad"))]),
    Case("a Namespace", NAMESPACES, [_post({"metadata": {"name": NAMESPACE}}), _get(f"/{NAMESPACE}"), _get("/absent")]),
    Case("bad Namespaces", NAMESPACES, [_post({"metadata": {"name": "N9"}}), _post({"metadata": {"name": "n.9"}})]),
    Case("a Lease", LEASES, [_get(), _post(_lease(_SPEC)), _post(_lease(_SPEC)), _get()]),
    Case("a Lease without a spec", LEASES, [_post(_lease())]),
    Case("a Lease that does not last", LEASES, [_post(_lease({"leaseDurationSeconds": 0})), _get()]),
    Case("a Lease with a time in seconds", LEASES, [_post(_lease({"renewTime": "2025-01-01T00:00:02Z"}))]),
    Case("an Event", EVENTS, [_post(_event()), _post(_event()), _get(), _get("/absent")]),
    Case("an Event of many", EVENTS, [_post(_event(series=_SERIES))]),
    Case("an Event about the cluster", EVENTS, [_post(_event(related=None))]),
    Case("a long note", EVENTS, [_post(_event(note="x" * 1025)), _post(_event(note="\u00e4" * 513))]),
    Case("a control character in a note", EVENTS, [_post(_event(note="a\x1bb"))]),
    *(
        Case(f"an Event without {field}", EVENTS, [_post(_event("one", **dict[str, Any]({field: None})))])
        for field in ("eventTime", "reportingInstance", "type", "reason", "action", "note")
    ),
    Case("an Event that counts one", EVENTS, [_post(_event(series={**_SERIES, "count": 1}))]),
    Case("a review", REVIEWS, [_post({"spec": {"resourceAttributes": {"verb": "list", "resource": "services"}}})]),
    Case("a review is only created", REVIEWS, [Step("GET"), _get("/x")]),
)

UPDATES: Final = (
    Case("an update", MAPS, [_post(_map(data={"a": "1"})), _put(_map(data={"b": "2"})), _get()]),
    Case("an update by somebody else", MAPS, [_post(_map(data={"a": "1"})), _put(_map(data={"a": "2"}), agent="b/2")]),
    Case("an update that changes nothing", MAPS, [_post(_map(data={"a": "1"}), save="o"), _put("$o")]),
    Case("an update without data", MAPS, [_post(_map(data={"a": "1"})), _put(_map())]),
    Case("an update of nothing", MAPS, [_put(_map()), _put(_map(resourceVersion="1")), _put(_map(uid="1"))]),
    Case("an update by another name", MAPS, [_post(_map()), _put(_map("two")), _put({"metadata": {}})]),
    Case(
        "a fenced update",
        MAPS,
        [
            _post(_map(), save="o"),
            _put(_map(data={"a": "1"}, resourceVersion="$o.metadata.resourceVersion", uid="$o.metadata.uid")),
            _put(_map(data={"a": "2"}, resourceVersion="$o.metadata.resourceVersion")),
            _put(_map(data={"a": "2"}, uid="abc")),
            _put(_map(data={"a": "2"}, resourceVersion="abc")),
        ],
    ),
    Case(
        "an apply to what nobody owns",
        MAPS,
        [
            _post(_map()),
            _put(_map(data={"a": "1"})),
            _apply(_map(data={"a": "2"}), params=_THEIRS),
            _apply(_map(data={"a": "2"})),
            _get(),
        ],
    ),
    Case(
        "a Service keeps its address",
        SERVICES,
        [_post(_service()), _put(_service(labels={"a": "b"})), _put(_service("two"))],
    ),
    Case("a Lease is updated", LEASES, [_post(_lease(_SPEC)), _put(_lease({**_SPEC, "holderIdentity": ""}))]),
)

PATCHES: Final = (
    Case("a patch of nothing", MAPS, [_merge({"data": {"a": "1"}}, params=_FOREIGN), _strategic({}), _operations([])]),
    Case(
        "a merge patch",
        MAPS,
        [
            _post(_map(data={"a": "1", "b": "2"}, labels={"l": "1"})),
            _merge({"data": {"a": "1"}}, params=_FOREIGN),
            _merge({"data": {"a": "2", "b": None}}, params=_FOREIGN),
            _merge({"metadata": {"labels": {"m": "2"}, "annotations": {"n": "3"}}}, params=_FOREIGN),
            _merge({"data": None, "metadata": {"labels": None}}),
            _get(),
        ],
    ),
    Case(
        "a fenced merge patch",
        MAPS,
        [
            _post(_map(data={"a": "1"}), save="o"),
            _merge(
                {
                    "metadata": {"resourceVersion": "$o.metadata.resourceVersion", "uid": "$o.metadata.uid"},
                    "data": {"a": None},
                },
                params=_FOREIGN,
            ),
            _merge({"metadata": {"resourceVersion": "$o.metadata.resourceVersion"}, "data": {"a": "3"}}),
            _merge({"metadata": {"uid": "abc"}, "data": {"a": "3"}}),
            _merge({"metadata": {"name": "two"}}),
            _get(),
        ],
    ),
    Case("a patch that is none", MAPS, [_post(_map()), _merge("{"), _merge([]), _merge({"data": {"a": 5}})]),
    Case(
        "a patch of an unknown type",
        MAPS,
        [_post(_map()), Step("PATCH", "/one", {}), Step("PATCH", "/one", {}, "text/x")],
    ),
    Case("a forced merge patch", MAPS, [_post(_map()), _merge({"data": {"a": "1"}}, params=OURS)]),
    Case("a patch with too much", MAPS, [_post(_map()), _merge({"data": _BIG}, params=_FOREIGN)]),
    Case("a patch of kubectl's", MAPS, [_post(_map(data={"a": "1"})), _strategic({"data": {"a": None, "b": "2"}})]),
    Case(
        "a Lease is renewed",
        LEASES,
        [
            _post(_lease(_SPEC), save="o"),
            _merge(
                {
                    "metadata": {"resourceVersion": "$o.metadata.resourceVersion", "uid": "$o.metadata.uid"},
                    "spec": {**_SPEC, "renewTime": "2025-01-01T00:00:04.000000Z"},
                },
                save="n",
            ),
            _merge({"metadata": {"resourceVersion": "$o.metadata.resourceVersion"}, "spec": _SPEC}),
            _merge({"metadata": {"resourceVersion": "$n.metadata.resourceVersion"}, "spec": "$n.spec"}),
            _merge({"spec": {**_SPEC, "holderIdentity": ""}}),
            _merge({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}}),
            _merge({"spec": {"renewTime": "garbage"}}),
            _get(),
        ],
    ),
    Case(
        "a Lease keeps what others put there",
        LEASES,
        [
            _post(_lease(_SPEC)),
            _merge(
                {
                    "metadata": {
                        "labels": {"team": "a"},
                        "ownerReferences": [
                            {
                                "apiVersion": "v1",
                                "kind": "ConfigMap",
                                "name": "o",
                                "uid": "4ab8a11a-6f07-4a0e-b5a4-7c0f0e8b0a11",
                            }
                        ],
                    }
                }
            ),
            _merge({"spec": {"holderIdentity": "b"}}, agent="b/1"),
        ],
    ),
    Case("a Lease that is gone", LEASES, [_merge({"spec": _SPEC})]),
    Case(
        "the uid of a Lease before",
        LEASES,
        [
            _post(_lease(_SPEC), save="o"),
            _delete(),
            _post(_lease(_SPEC), save="n"),
            _merge(
                {"metadata": {"resourceVersion": "$o.metadata.resourceVersion", "uid": "$o.metadata.uid"}, "spec": {}}
            ),
            _merge(
                {"metadata": {"resourceVersion": "$n.metadata.resourceVersion", "uid": "$o.metadata.uid"}, "spec": {}}
            ),
        ],
    ),
    Case(
        "an Event is counted",
        EVENTS,
        [
            _post(_event()),
            _merge({"series": _SERIES}),
            _merge({"series": {**_SERIES, "count": 3}}),
            _merge({"series": {"count": 1}}),
            _merge({"note": "another"}),
            _merge({"series": _SERIES}, "/absent"),
            _get(),
        ],
    ),
    Case(
        "a Service is patched",
        SERVICES,
        [
            _post(_service()),
            _merge({"metadata": {"annotations": {"kubernaut.io/toolset": "enabled"}}}),
            _merge({"metadata": {"annotations": {"kubernaut.io/toolset": None}}}),
            _merge({"spec": {"clusterIP": "10.96.0.99"}}),
            _merge({"spec": {"ports": None}}),
            _merge({"spec": {"ports": [{"port": 99}]}}),
            _merge({"spec": {"selector": {"a": "b"}}}, agent="other/1"),
        ],
    ),
    Case(
        "kubectl patches ports",
        SERVICES,
        [
            _post(_service()),
            _strategic({"spec": {"ports": [{"port": 80, "name": "web"}]}}),
            _strategic({"spec": {"ports": [{"port": 81, "name": "two"}]}}),
            _strategic({"spec": {"ports": [{"$patch": "delete", "port": 81}]}}),
            _strategic(
                {
                    "spec": {
                        "$setElementOrder/ports": [{"port": 90}],
                        "ports": [{"port": 90, "name": "n"}, {"$patch": "delete", "port": 80}],
                    }
                }
            ),
            _merge({"spec": {"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "b"}]}}),
            _strategic(
                {
                    "spec": {
                        "$setElementOrder/ports": [{"port": 1}, {"port": 3}],
                        "ports": [{"port": 3, "name": "c"}],
                    }
                }
            ),
            _strategic({"spec": {"$setElementOrder/ports": [{"port": 2}, {"port": 1}], "ports": []}}),
            _merge({"spec": {"ports": [{"port": 90, "name": "n"}]}}),
            _strategic({"spec": {"selector": {"one": None, "z": "1"}}}),
            _strategic(
                {"spec": {"$setElementOrder/ports": [{"port": 90}, {"port": 91}], "ports": [{"port": 91, "name": "m"}]}}
            ),
            _get(),
        ],
    ),
    Case(
        "operations",
        SERVICES,
        [
            _post(_service()),
            _operations([{"op": "replace", "path": "/spec/ports/0/port", "value": 5}]),
            _operations([{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]),
            _operations([{"op": "remove", "path": "/metadata/labels/a"}]),
            _operations([{"op": "remove", "path": "/metadata/labels/a"}]),
            _operations([{"op": "test", "path": "/metadata/name", "value": "x"}]),
        ],
    ),
    Case(
        "a Namespace is labelled",
        NAMESPACES,
        [
            _merge({"metadata": {"labels": {"a": "b"}}}, f"/{NAMESPACE}"),
            _merge({"metadata": {"labels": {"a": None}}}, f"/{NAMESPACE}"),
        ],
    ),
)

APPLIES: Final = (
    Case(
        "our keys beside those of others",
        MAPS,
        [
            _apply(_map(data={"a": "1", "n": None}, labels={"l": "x"})),
            _apply(_map(data={"a": "1", "n": None}, labels={"l": "x"})),
            _merge({"data": {"a": "2", "z": "1"}}, params=_FOREIGN),
            _apply(_map(data={"a": "1", "z": "2"}, labels={"l": "x"}), params={"fieldManager": "ours"}),
            _apply(_map(data={"a": "1"}, labels={"l": "x"})),
            _apply(_map(data={"a": "1"}), params=_THEIRS),
            _apply(_map(data={"a": "7"}), params=_THEIRS),
            _apply(_map(data={"a": "7"}), params=_FORCED),
            _apply(_map()),
            _apply(_map(data={}), params=_FORCED),
            _get(),
        ],
    ),
    Case(
        "a conflict with two",
        MAPS,
        [
            _apply(_map(data={"a": "1"})),
            _merge({"data": {"b": "1"}}, params=_FOREIGN),
            _apply(_map(data={"a": "2", "b": "2"}), params=_THEIRS),
        ],
    ),
    Case(
        "a fenced apply",
        MAPS,
        [
            _apply(_map(data={"a": "1"}, uid="abc")),
            _apply(_map(data={"a": "1"}, resourceVersion="3"), save="o"),
            _apply(_map(data={"a": "2"}, resourceVersion="$o.metadata.resourceVersion", uid="$o.metadata.uid")),
            _apply(_map(data={"a": "3"}, resourceVersion="$o.metadata.resourceVersion", uid="$o.metadata.uid")),
            _apply(_map(data={"a": "3"}, resourceVersion="$o.metadata.resourceVersion")),
            _apply(_map(data={"a": "3"}, uid="abc")),
            _get(),
        ],
    ),
    Case(
        "a key first written by an update stays",
        MAPS,
        [_post(_map(data={"a": "1"})), _apply(_map(data={"a": "1", "b": "2"})), _apply(_map(data={})), _get()],
    ),
    Case(
        "taken by force, then dropped",
        MAPS,
        [_post(_map(data={"a": "1"})), _apply(_map(data={"a": "2"})), _apply(_map(data={"b": "1"})), _get()],
    ),
    Case("annotations", MAPS, [_apply(_map(annotations={"k/a": "1"})), _apply(_map(annotations={"k/b": "1"})), _get()]),
    Case("no manager", MAPS, [_apply(_map(), params={})]),
    Case("no kind", MAPS, [_apply({"metadata": {"name": "one"}}), _apply({**_map(), "kind": "Secret"})]),
    Case("another name", MAPS, [_apply(_map("two")), _apply({"apiVersion": "v1", "kind": "ConfigMap"})]),
    Case("with managed fields", MAPS, [_apply(_map(managedFields=[]))]),
    Case(
        "with too much", MAPS, [_apply(_map(data=_BIG)), _apply(_map(data={"a": "1"})), _apply(_map(data=_BIG)), _get()]
    ),
    Case("with a bad key", MAPS, [_apply(_map(data={"bad key": "1"}))]),
    Case("with a number", MAPS, [_apply(_map(data={"a": 5}))]),
    Case("in YAML", MAPS, [_apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: one}, data: {a: '1'}}")]),
    Case("in no namespace", "/api/v1/namespaces/absent/configmaps", [_apply(_map(data={"a": "1"}))]),
    Case(
        "a Service",
        SERVICES,
        [
            _apply(_service(spec={"ports": [{"port": 99, "name": "x"}], "selector": {"a": "b"}})),
            _apply(
                _service(spec={"ports": [{"port": 99, "name": "x"}, {"port": 100, "name": "y", "protocol": "TCP"}]})
            ),
            _apply(_service(spec={"ports": [{"port": 99, "name": "x", "protocol": "TCP"}]})),
            _apply(_service(spec={"ports": [{"port": 99, "name": "z"}]}), params=_THEIRS),
            _get(),
        ],
    ),
    Case(
        "a Service over an updated one",
        SERVICES,
        [
            _post(_service()),
            _apply(_service(spec={"ports": [{"port": 80, "name": "web"}], "selector": {"q": "r"}}), params=_THEIRS),
            _apply(_service(spec={"ports": [{"port": 80, "name": "web"}], "selector": {"q": "r"}})),
            _get(),
        ],
    ),
)

DELETES: Final = (
    Case("a ConfigMap", MAPS, [_delete(), _post(_map()), _delete(), _get()]),
    Case(
        "with preconditions",
        MAPS,
        [
            _post(_map(), save="o"),
            _delete({"preconditions": {"uid": "abc"}}),
            _delete({"preconditions": {"resourceVersion": "1"}}),
            _delete({"preconditions": {"uid": "$o.metadata.uid"}}),
        ],
    ),
    Case("as kubectl does", SERVICES, [_post(_service()), _delete({"propagationPolicy": "Background"}), _get()]),
    Case("all", MAPS, [_post(_map("x")), _post(_map("y")), Step("DELETE"), Step("GET")]),
    Case(
        "all of one name",
        EVENTS,
        [
            _post(_event("x")),
            _post(_event("y")),
            Step("DELETE", params={"fieldSelector": "metadata.name=x"}),
            Step("GET"),
        ],
    ),
    Case("a Lease", LEASES, [_post(_lease(_SPEC)), _delete(), _delete()]),
    Case("an Event", EVENTS, [_post(_event()), _delete(), _delete()]),
    Case("a Namespace that must stay", NAMESPACES, [_delete(path="/default"), _delete(path="/absent")]),
)

PATHS: Final = tuple(
    Case(f"{method} {path}", MAPS, [Step(method, path, body, root=True)])
    for method, path, body in (
        ("GET", "/nope", None),
        ("GET", "/apis/nope/v1", None),
        ("GET", "/api/v1/foos", None),
        ("GET", f"{CORE}/foos/x", None),
        ("GET", f"{MAPS}/x/status", None),
        ("GET", f"{MAPS}/x/y/z", None),
        ("GET", f"{CORE}/namespaces", None),
        ("PUT", MAPS, _map()),
        ("PATCH", MAPS, {}),
        ("POST", f"{MAPS}/x", _map()),
        ("POST", "/api/v1/configmaps", _map()),
        ("GET", "/healthz", None),
        ("GET", "/livez", None),
        ("GET", "/readyz", None),
        ("GET", "/api", None),
        ("GET", "/apis/coordination.k8s.io", None),
    )
)


def _lists() -> Iterator[Case]:
    three = [_post(_map(name, {"a": name}, labels={"of": name})) for name in ("x", "y", "z")]
    three += [Step("GET")]  # the real server's cache has caught up then
    pages = [
        Step("GET", params={"limit": "2"}, save="p"),
        Step("GET", params={"limit": "2", "continue": "$p.metadata.continue"}),
    ]
    yield Case("in pages", MAPS, [*three, *pages])
    late = [*three, pages[0], _delete(path="/y"), _delete(path="/z"), _post(_map("zz")), pages[1]]
    yield Case("pages of one moment", MAPS, late)
    since = {"resourceVersion": "$p.metadata.resourceVersion"}
    for name, params in (
        ("not older", {**since, "resourceVersionMatch": "NotOlderThan"}),
        ("exactly", {**since, "resourceVersionMatch": "Exact"}),
        ("at least", since),
        ("exactly, a page", {**since, "limit": "1"}),
    ):
        yield Case(f"{name} as of a version", MAPS, [*three, pages[0], _delete(path="/y"), Step("GET", params=params)])
    for params in (
        {"resourceVersion": "0"},
        {"resourceVersion": "0", "limit": "1"},
        {"resourceVersion": "0", "resourceVersionMatch": "NotOlderThan"},
        {"fieldSelector": "metadata.name=y"},
        {"fieldSelector": "metadata.name==y", "limit": "500"},
        {"fieldSelector": "metadata.name!=y"},
        {"fieldSelector": "metadata.namespace=other"},
        {"fieldSelector": "spec.foo=y"},
        {"fieldSelector": "bad"},
        {"labelSelector": "of=y"},
        {"labelSelector": "of!=y"},
        {"labelSelector": "of"},
        {"labelSelector": "!of"},
    ):
        yield Case(f"with {params}", MAPS, [*three, Step("GET", params=params)])
    for params in (
        {"limit": "x"},
        {"timeoutSeconds": "x"},
        {"resourceVersion": "abc"},
        {"resourceVersion": "999999999"},
        {"resourceVersion": "999999999", "resourceVersionMatch": "NotOlderThan"},
        {"resourceVersion": "999999999", "resourceVersionMatch": "Exact"},
        {"resourceVersionMatch": "NotOlderThan"},
        {"resourceVersion": "0", "resourceVersionMatch": "Exact"},
        {"resourceVersion": "1", "resourceVersionMatch": "Foo"},
        {"sendInitialEvents": "true"},
    ):
        yield Case(f"refused: {params}", MAPS, [Step("GET", params=params)])
    again = [{"resourceVersion": "1"}, {"resourceVersion": "5", "resourceVersionMatch": "NotOlderThan"}]
    token = {"continue": "$p.metadata.continue", "limit": "2"}
    refused = [Step("GET", params={**token, **params}) for params in again]
    yield Case("a page and a version", MAPS, [*three, pages[0], *refused])
    yield Case("no such namespace", "/api/v1/namespaces/absent/configmaps", [Step("GET")])
    yield Case(
        "one in the future",
        MAPS,
        [_post(_map()), Step("GET"), _get(resourceVersion="0"), _get(resourceVersion="999999999")],
    )


def _watches() -> Iterator[Case]:
    made = [_post(_map("x", {"a": "1"}), save="o"), _post(_map("y")), Step("GET")]
    change = [_merge({"data": {"a": "2"}}, "/x"), _post(_map("z")), _delete(path="/x")]
    stream = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    for name, params in (
        ("from nowhere", {}),
        ("from any version", {"resourceVersion": "0"}),
        ("from a version", {"resourceVersion": "$o.metadata.resourceVersion"}),
        ("from the future", {"resourceVersion": "999999999"}),
        ("of one name", {"fieldSelector": "metadata.name=x", "resourceVersion": "$o.metadata.resourceVersion"}),
        ("with bookmarks", {"allowWatchBookmarks": "true"}),
        ("as a list", stream),
        ("as a list from a version", {**stream, "resourceVersion": "$o.metadata.resourceVersion"}),
        ("as a list from any version", {**stream, "resourceVersion": "0"}),
        ("as a list of nothing", {**stream, "fieldSelector": "metadata.name=absent"}),
        ("as a list without bookmarks", {**stream, "allowWatchBookmarks": "false"}),
        ("without what is there", {**stream, "sendInitialEvents": "false"}),
    ):
        yield Case(name, MAPS, [*made, Step("WATCH", params=params, during=change)])
    for params in (
        {"resourceVersion": "abc"},
        {"resourceVersionMatch": "NotOlderThan"},
        {"sendInitialEvents": "true"},
        {"sendInitialEvents": "true", "resourceVersionMatch": "Exact", "resourceVersion": "5"},
        {"fieldSelector": "spec.foo=y"},
        {**stream, "resourceVersion": "999999999"},
    ):
        yield Case(f"refused: {params}", MAPS, [Step("WATCH", params=params)])
    labels = [_merge({"metadata": {"labels": {"q": value}}}, "/x") for value in ("1", "2", None)]
    seen = {"labelSelector": "q=1", "resourceVersion": "$o.metadata.resourceVersion"}
    yield Case("what comes to be selected, and ceases to be", MAPS, [*made, Step("WATCH", params=seen, during=labels)])
    yield Case(
        "no write, no event",
        MAPS,
        [
            *made,
            Step(
                "WATCH",
                params={"resourceVersion": "$o.metadata.resourceVersion"},
                during=[_merge({"data": {"a": "1"}}, "/x")],
            ),
        ],
    )


def _compactions() -> Iterator[Case]:
    old = "$o.metadata.resourceVersion"
    made = [
        _post(_map("x"), save="o"),
        _post(_map("y")),
        Step("GET", params={"limit": "1"}, save="p"),
        _post(_map("z")),
    ]
    stream = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    yield Case(
        "what is forgotten",
        MAPS,
        [
            *made,
            Step("COMPACT"),
            Step("WATCH", params={"resourceVersion": old}),
            Step("WATCH", params={"resourceVersion": old, **stream}),
            Step("GET", params={"resourceVersion": old, "resourceVersionMatch": "Exact"}),
            Step("GET", params={"resourceVersion": old, "resourceVersionMatch": "NotOlderThan"}),
            Step("GET", params={"limit": "1", "continue": "$p.metadata.continue"}),
        ],
    )


def _as_the_service_does() -> Iterator[Case]:
    """Every list and watch of the service's informers, on each of its resources."""
    stream = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    bookmarks = {"allowWatchBookmarks": "true"}
    one = {"fieldSelector": "metadata.name=one"}
    here = {"fieldSelector": f"metadata.name={NAMESPACE}"}
    resources: Sequence[tuple[str, str, Sequence[Step], Sequence[Step], Mapping[str, str]]] = (
        ("Services", SERVICES, [_post(_service())], [_merge({"metadata": {"labels": {"a": "b"}}}), _delete()], {}),
        ("one ConfigMap", MAPS, [_post(_map())], [_merge({"data": {"a": "1"}}, params=_FOREIGN), _delete()], one),
        ("one Lease", LEASES, [_post(_lease(_SPEC))], [_merge({"spec": {"holderIdentity": "b"}}), _delete()], one),
        ("Namespaces", NAMESPACES, [], [], here),
    )
    for name, collection, made, during, selector in resources:
        narrowed = [selector] if collection != NAMESPACES else [selector, {}]
        for chosen in narrowed:
            quiet = collection == NAMESPACES and not chosen  # other tests' Namespaces are none of ours
            lists = [Step("GET", params={"limit": "500", **chosen}, save="l")]
            lists.append(
                Step(
                    "GET",
                    params={
                        "resourceVersion": "$l.metadata.resourceVersion",
                        "resourceVersionMatch": "NotOlderThan",
                        **chosen,
                    },
                )
            )
            since = {"resourceVersion": "$l.metadata.resourceVersion"}
            watches = [Step("WATCH", params={**bookmarks, **chosen, **since}, during=during)]
            watches += [Step("WATCH", params={**bookmarks, **chosen, **stream})]
            watches += [Step("WATCH", params={**bookmarks, **chosen, **stream, **since})]
            yield Case(f"{name}{', all' if quiet else ''}", collection, [*made, *lists, *watches])


LISTS: Final = tuple(_lists())
WATCHES: Final = tuple(_watches())
INFORMERS: Final = tuple(_as_the_service_does())
TABLE: Final[Mapping[str, Sequence[Case]]] = {
    "create": CREATES,
    "update": UPDATES,
    "patch": PATCHES,
    "apply": APPLIES,
    "delete": DELETES,
    "path": PATHS,
    "list": LISTS,
    "watch": WATCHES,
    "informer": INFORMERS,
    "compaction": tuple(_compactions()),
}
