"""What the code needs is what the manifests grant and what the documents say."""

from itertools import product
from typing import Any, Final

import pytest
import yaml

from deploy.manifests import KUSTOMIZE, table
from toolset.adapters.kube.reviews import ResourceAttributes
from toolset.config.loader import load
from toolset.config.settings import Settings
from toolset.service.permissions import needed

BASE: Final = KUSTOMIZE / "base"
COMPONENTS: Final = KUSTOMIZE / "components"
WRITING: Final = (BASE / "role.yaml").read_text("utf-8")
READING: Final = (BASE / "clusterrole.yaml").read_text("utf-8")
NAMESPACED: Final = (COMPONENTS / "namespaced" / "reader" / "role.yaml").read_text("utf-8")
RELOAD: Final = (COMPONENTS / "consumer-reload" / "role.yaml").read_text("utf-8")
SHIPPED: Final = (BASE / "settings.yaml").read_text("utf-8")

Right = tuple[str, str, str, str, str]


def granted(text: str, namespace: str = "") -> set[Right]:
    """Return what a role in YAML grants: where, group, resource, name, verb."""
    role: dict[str, Any] = yaml.safe_load(text)
    where = namespace or role["metadata"].get("namespace", "cluster")
    return {
        (where, *each)
        for rule in role["rules"]
        for each in product(rule["apiGroups"], rule["resources"], rule.get("resourceNames", [""]), rule["verbs"])
    }


def documented(heading: str) -> set[Right]:
    return {
        (where, group, resource, name, verb)
        for where, group, resources, name, verbs in table("install.md", heading)
        for resource in resources.split(", ")
        for verb in verbs.split(", ")
    }


def wanted(settings: Settings) -> set[Right]:
    return {
        (about.namespace or "cluster", about.group, about.resource, about.name, about.verb)
        for about in (each.attributes for each in needed(settings))
    }


def test_the_base_grants_what_is_needed_and_the_documents_say_so() -> None:
    found = wanted(load(SHIPPED, {}, {}))
    assert found == granted(READING) | granted(WRITING) == documented("Permissions")


def test_named_namespaces_need_what_the_component_grants_and_the_documents_say_so() -> None:
    found = wanted(load(SHIPPED, {"TOOLSET_DISCOVERY__WATCH_NAMESPACES": "[monitoring]"}, {}))
    assert found == granted(NAMESPACED, "monitoring") | granted(WRITING)
    assert granted(NAMESPACED, "monitoring") == documented("Permissions with `namespaced`")


def test_namespaces_are_read_where_all_are_watched_and_nothing_waits_for_that() -> None:
    everywhere = [each for each in needed(Settings()) if each.attributes.resource == "namespaces"]
    assert [(each.attributes.verb, each.attributes.namespace, each.reads) for each in everywhere] == [
        ("list", "", False),
        ("watch", "", False),
    ]
    assert not [each for each in wanted(load("discovery: {watch_namespaces: [a]}", {}, {})) if each[2] == "namespaces"]


def test_restarting_a_reader_needs_what_the_component_grants_and_the_documents_say_so() -> None:
    found = wanted(load(SHIPPED, {"TOOLSET_NOTIFY__DEPLOYMENT": "holmes/holmes-holmes"}, {}))
    assert found == granted(READING) | granted(WRITING) | granted(RELOAD)
    assert granted(RELOAD) == documented("Permissions with `consumer-reload`")


def test_overrides_of_the_admins_own_need_what_the_component_grants_and_the_documents_say_so() -> None:
    found = wanted(load(SHIPPED, {"TOOLSET_OUTPUT__OVERRIDES_FROM": "toolset-overrides"}, {}))
    component = yaml.safe_load((COMPONENTS / "overrides-configmap" / "kustomization.yaml").read_text("utf-8"))
    (patch,) = yaml.safe_load(component["patches"][0]["patch"])
    role = {"metadata": yaml.safe_load(WRITING)["metadata"], "rules": [patch["value"]]}
    added = granted(yaml.safe_dump(role))
    assert found == granted(READING) | granted(WRITING) | added
    assert added == documented("Permissions with `overrides-configmap`")
    mine = [each for each in needed(load("output: {overrides_from: mine}", {}, {})) if each.attributes.name == "mine"]
    assert {each.attributes.verb for each in mine if each.reads} == {"list", "watch"}


def test_without_an_election_no_lease_is_needed() -> None:
    assert not [each for each in wanted(load("election: {enabled: false}", {}, {})) if each[2] == "leases"]


def test_a_lease_is_needed_where_the_settings_say_nothing_of_an_election() -> None:
    assert {verb for *_, kind, _, verb in wanted(Settings()) if kind == "leases"} == {
        "get",
        "list",
        "watch",
        "patch",
        "create",
    }


def test_the_way_through_the_api_server_needs_its_proxy() -> None:
    settings = load("health: {via: apiserver-proxy}\ndiscovery: {watch_namespaces: [a]}", {}, {})
    (proxy,) = [each for each in needed(settings) if each.attributes.subresource]
    assert proxy.attributes == ResourceAttributes("get", "", "services", "proxy", "a")
    assert proxy.sentence == "get services/proxy in namespace a"
    assert proxy.remedy == (
        'add to the Role in namespace a the rule {apiGroups: [""], resources: [services/proxy], verbs: [get]}'
    )


@pytest.mark.parametrize("each", needed(load(SHIPPED, {}, {})), ids=lambda each: each.sentence)
def test_a_remedy_is_a_rule_as_it_stands_in_a_role(each: Any) -> None:
    about = each.attributes
    _, _, rule = each.remedy.partition(" the rule ")
    names = {"resourceNames": [about.name]} if about.name else {}
    assert yaml.safe_load(rule) == {
        "apiGroups": [about.group],
        "resources": [about.resource],
        "verbs": [about.verb],
        **names,
    }
