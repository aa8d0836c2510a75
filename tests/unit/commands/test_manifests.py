import io
from pathlib import Path

import pytest

from toolset.commands import manifests
from toolset.errors import SettingsError
from toolset.model import Key, namespace_key

SERVICE = """
apiVersion: v1
kind: Service
metadata:
  name: prometheus
  namespace: monitoring
  creationTimestamp: 2026-01-02T03:04:05Z
spec:
  ports: [{name: web, port: 9090}]
"""
CONFIG_MAP = "kind: ConfigMap\nmetadata: {name: tools, namespace: spaces}\ndata: {a: text}\n"


def read(folder: Path, text: str | bytes) -> manifests.Manifests:
    file = folder / "file.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return manifests.read([str(file)])


def test_services_and_config_maps_are_read_and_the_rest_is_passed_over(tmp_path: Path) -> None:
    found = read(tmp_path, f"{SERVICE}\n---\n{CONFIG_MAP}\n---\nkind: Pod\n---\n---\njust text\n")

    (service,) = found.services
    assert service.key == Key("monitoring", "prometheus")
    assert service.ports[0].port == 9090
    assert found.config_maps[Key("spaces", "tools")].entries == {"a": "text"}


def test_a_namespace_is_in_none(tmp_path: Path) -> None:
    found = read(tmp_path, "kind: Namespace\nmetadata: {name: a, deletionTimestamp: 2026-01-02T03:04:05Z}\n")

    assert found.namespaces[namespace_key("a")].is_ending


def test_a_time_stays_text(tmp_path: Path) -> None:
    assert read(tmp_path, SERVICE).services[0].metadata.creation_timestamp == "2026-01-02T03:04:05Z"


def test_lists_are_opened(tmp_path: Path) -> None:
    item = '{"kind": "Service", "metadata": {"name": "a"}}'
    found = read(tmp_path, f'{{"kind": "List", "items": [{item}, {{"kind": "List", "items": [{item}, 1]}}]}}')

    assert [service.key for service in found.services] == [Key("default", "a")]


@pytest.mark.parametrize("item", ["metadata: {name: a}", "kind: Service, metadata: {name: a}"])
def test_items_are_of_the_kind_that_their_list_names(tmp_path: Path, item: str) -> None:
    found = read(tmp_path, f"{{kind: ServiceList, apiVersion: v1, items: [{{{item}}}]}}")

    assert [service.key for service in found.services] == [Key("default", "a")]


@pytest.mark.parametrize(
    "text",
    [
        "{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {}}",
        "{apiVersion: serving.knative.dev/v1, kind: ServiceList, items: [{metadata: {name: a}}, {metadata: {}}]}",
    ],
    ids=["one", "a list"],
)
def test_a_service_of_another_api_is_no_service_and_reported_once(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)

    sentence = "a Service of serving.knative.dev/v1 is skipped; only v1 is read"
    assert (found.services, found.notes) == ((), (f"{tmp_path}/file.yaml: {sentence}",))


@pytest.mark.parametrize("kind", ["Service", "ConfigMap", "Namespace"])
@pytest.mark.parametrize("metadata", ["metadata: {namespace: a}", "metadata: {generateName: a-}", "spec: {}"])
def test_an_object_without_a_name_is_refused(tmp_path: Path, kind: str, metadata: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, f"kind: Pod\n---\nkind: {kind}\n{metadata}\n")

    assert str(caught.value) == f"{tmp_path}/file.yaml, object 2: this {kind} has no name; give it a `metadata.name`"


def test_a_list_that_holds_itself_is_opened_once(tmp_path: Path) -> None:
    found = read(tmp_path, "&all {items: [*all, {kind: Service, metadata: {name: a}}, *all]}")

    assert [service.key for service in found.services] == [Key("default", "a")]


def test_lists_that_aliases_multiply_cost_no_time(tmp_path: Path) -> None:
    lists = ["- &l0 {items: [{kind: Service, metadata: {name: a}}]}"]
    lists += [f"- &l{n} {{items: [{', '.join([f'*l{n - 1}'] * 9)}]}}" for n in range(1, 40)]
    found = read(tmp_path, "items:\n" + "\n".join(lists))

    assert [service.key for service in found.services] == [Key("default", "a")]


def test_of_two_services_with_one_name_the_last_counts(tmp_path: Path) -> None:
    found = read(tmp_path, f"{SERVICE}\n---\n{SERVICE.replace('9090', '9091')}")

    assert [service.ports[0].port for service in found.services] == [9091]


def test_files_add_up(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(SERVICE)
    second.write_text(SERVICE.replace("monitoring", "other"))

    found = manifests.read([str(first), str(second)])

    assert [service.key.namespace for service in found.services] == ["monitoring", "other"]


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(SERVICE))

    assert len(manifests.read(["-"]).services) == 1


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "") == manifests.Manifests((), {})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("a: [", ":2:1: this is not valid YAML", id="open bracket"),
        pytest.param("a: 1\n b: 2\n", ":2:3: this is not valid YAML", id="indent"),
        pytest.param("a: \x00", ": this is not valid YAML", id="control character"),
        pytest.param("a: 0b_", ": this is not valid YAML", id="half a number"),
        pytest.param("[" * 500 + "]" * 501, ":1:1001: this is not valid YAML", id="deep"),
        pytest.param("# " + "[" * 501 + "\n}", ":2:1: this is not valid YAML", id="deep in a comment"),
        pytest.param("[" * 501, ":1:501: it is nested more than 500 deep", id="just too deep"),
        pytest.param("[" * 100_000, ":1:501: it is nested more than 500 deep", id="very deep"),
        pytest.param("!!python/object/apply:os.system [id]", ":1:1: this is not valid YAML", id="python"),
        pytest.param(b"\xff\xfe\xff", ": this is not UTF-8 text", id="binary"),
    ],
)
def test_a_broken_file_is_named_with_the_place(tmp_path: Path, text: str | bytes, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)

    assert str(caught.value) == f"{tmp_path}/file.yaml{problem}"


@pytest.mark.parametrize(
    "text",
    [
        "kind: Service\nmetadata: {name: a, annotations: {kubernaut.io/toolset: true}}",
        "kind: Service\nmetadata: {name: 1}",
        "kind: Service\nmetadata: {namespace: null}",
        "kind: Service\nspec: text",
        "kind: Service\nmetadata: {1: 2, labels: {a: 1}}",
    ],
)
def test_an_object_that_is_not_valid_is_named_with_its_number(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"file\.yaml, object 2: Expected"):
        read(tmp_path, f"kind: Pod\n---\n{text}")


@pytest.mark.parametrize(("name", "problem"), [("gone", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, problem: str) -> None:
    file = str(tmp_path / name)
    with pytest.raises(SettingsError) as caught:
        manifests.read([file])

    assert str(caught.value) == f"{file}: {problem}; name a file of manifests, or - for standard input"
