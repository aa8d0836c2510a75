import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolset.model import ConfigMap, FieldsEntry, Key, Namespace, Service, ServicePort, namespace_key

WHOLE = b"""{"metadata": {"name": "p", "namespace": "m", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"},
 "annotations": {"c": "d"}, "creationTimestamp": "2025-01-01T00:00:00Z", "generation": 3},
 "spec": {"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "selector": {"x": "y"},
 "ports": [{"name": "web", "port": 9090, "targetPort": "http", "protocol": "TCP", "appProtocol": "https"}]},
 "status": {"loadBalancer": {}}}"""


def test_a_service_is_decoded_as_the_api_server_sends_it() -> None:
    service = msgspec.json.decode(WHOLE, type=Service)
    assert (service.key, service.uid, service.version) == (Key("m", "p"), "u", "7")
    assert (service.labels, service.annotations) == ({"a": "b"}, {"c": "d"})
    assert service.ports == (
        ServicePort(port=9090, name="web", protocol="TCP", app_protocol="https", target_port="http"),
    )
    assert service.spec.cluster_ip == "None"
    assert service.is_headless


def test_what_a_service_leaves_out_is_empty() -> None:
    service = msgspec.json.decode(b'{"metadata": {"labels": null}, "spec": {"ports": null}}', type=Service)
    assert (service.labels, service.annotations, service.ports) == ({}, {}, ())
    assert not service.is_headless
    assert msgspec.json.decode(b"{}", type=Service) == Service()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 100_000])
def test_of_binary_data_only_the_size_is_kept(size: int) -> None:
    content = base64.b64encode(bytes(size)).decode()
    body = msgspec.json.encode({"data": {"a": "b"}, "binaryData": {"logo": content, "none": None}})
    config_map = msgspec.json.decode(body, type=ConfigMap)
    assert config_map.binary_sizes == {"logo": size, "none": 0}
    assert len(msgspec.json.encode(config_map)) < 300
    assert ConfigMap().binary_sizes == {}


def test_a_config_map_is_decoded_with_its_field_managers() -> None:
    config_map = msgspec.json.decode(
        b'{"metadata": {"managedFields": [{"manager": "m", "operation": "Apply", "fieldsV1": {"f:data": {}}}]},'
        b' "data": {"a": "b"}}',
        type=ConfigMap,
    )
    assert config_map.metadata.managed_fields == (FieldsEntry("m", "Apply", {"f:data": {}}),)
    assert config_map.entries == {"a": "b"}
    assert ConfigMap().entries == {}


@pytest.mark.parametrize(("deleted", "ends"), [("", False), (', "deletionTimestamp": "2026-01-01T00:00:00Z"', True)])
def test_a_namespace_is_in_none_and_ends_once_it_is_being_deleted(deleted: str, *, ends: bool) -> None:
    metadata = f'{{"name": "a", "uid": "u", "resourceVersion": "7", "labels": {{"b": "c"}}{deleted}}}'
    namespace = msgspec.json.decode(f'{{"metadata": {metadata}, "status": {{"phase": "?"}}}}', type=Namespace)
    assert (namespace.key, namespace.uid, namespace.version) == (namespace_key("a"), "u", "7")
    assert namespace.is_ending == ends


@pytest.mark.parametrize("target", [pytest.param(8080, id="number"), pytest.param("http", id="name")])
def test_a_target_port_is_a_number_or_a_name(target: int | str) -> None:
    encoded = msgspec.json.encode({"port": 80, "targetPort": target})
    assert msgspec.json.decode(encoded, type=ServicePort).target_port == target


def test_a_key_is_written_as_namespace_and_name() -> None:
    assert str(Key("monitoring", "prometheus")) == "monitoring/prometheus"


@given(st.lists(st.tuples(st.text(), st.text())))
def test_keys_are_ordered_by_namespace_then_name(names: list[tuple[str, str]]) -> None:
    ordered = sorted(Key(*name) for name in names)
    assert [(key.namespace, key.name) for key in ordered] == sorted(names)
