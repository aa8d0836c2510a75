from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from support.api_server import Answer, FixedCredentials, ScriptedApiServer, status_error
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.write.applier import KubeApplier
from toolset.errors import ConflictError, InvalidError, UnavailableError
from toolset.model import ConfigMap, ConfigMapMeta, Key
from toolset.sim import EmbeddedCluster

TARGET = Key("spaces", "tools")


@asynccontextmanager
async def applier(server: ScriptedApiServer) -> AsyncGenerator[KubeApplier]:
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test/1") as transport:
        yield KubeApplier(transport, "me")


@pytest.fixture
async def embedded() -> AsyncIterator[EmbeddedCluster]:
    async with EmbeddedCluster() as running:
        running.create("Namespace", {"metadata": {"name": TARGET.namespace}})
        metadata = {"namespace": TARGET.namespace, "name": TARGET.name}
        running.create("ConfigMap", {"metadata": metadata, "data": {"a": "theirs", "b": "theirs"}})
        yield running


@pytest.fixture
async def opened(embedded: EmbeddedCluster) -> AsyncIterator[KubeApplier]:
    async with KubeTransport(FixedCredentials(embedded.url), "test/1") as transport:
        yield KubeApplier(transport, "me")


async def test_an_apply_takes_by_force_what_it_names_and_names_its_manager(opened: KubeApplier) -> None:
    metadata = {"namespace": TARGET.namespace, "name": TARGET.name}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}
    written = await opened.apply(TARGET, orjson.dumps(body))

    assert (written.key, written.entries) == (TARGET, {"a": "1", "b": "theirs"})
    managers = {each.manager: each.fields.get("f:data") for each in written.metadata.managed_fields or ()}
    assert managers == {"me": {"f:a": {}}, "kubectl-edit": {".": {}, "f:b": {}}}


async def test_what_is_written_and_removed_at_once_is_fenced_by_version_and_uid(
    opened: KubeApplier, embedded: EmbeddedCluster
) -> None:
    metadata = embedded.patch("ConfigMap", TARGET.namespace, TARGET.name, {"data": {"c": "theirs"}})["metadata"]
    current = ConfigMap(
        ConfigMapMeta(TARGET.name, TARGET.namespace, metadata["uid"], resource_version=metadata["resourceVersion"])
    )
    assert (await opened.patch(current, {"a": "1", "b": None})).entries == {"a": "1", "c": "theirs"}
    with pytest.raises(ConflictError, match="the object has been modified"):
        await opened.patch(current, {"a": "2"})


async def test_a_config_map_that_was_deleted_before_a_patch_is_a_conflict() -> None:
    current = ConfigMap(ConfigMapMeta(name="tools", namespace="spaces", uid="u1", resource_version="7"))
    async with applier(ScriptedApiServer(status_error(404, "NotFound"))) as opened:
        with pytest.raises(ConflictError, match="deleted meanwhile"):
            await opened.patch(current, {"a": None})


async def test_a_conflict_is_a_conflict() -> None:
    async with applier(ScriptedApiServer(status_error(409, "Conflict"))) as opened:
        with pytest.raises(ConflictError):
            await opened.apply(TARGET, b"{}")


async def test_a_refusal_names_the_config_map() -> None:
    async with applier(ScriptedApiServer(status_error(422, "Invalid", "Too long"))) as opened:
        with pytest.raises(InvalidError, match=r"^ConfigMap spaces/tools: .*422 Invalid: Too long"):
            await opened.apply(TARGET, b"{}")


async def test_an_answer_that_is_no_config_map_is_unavailable() -> None:
    async with applier(ScriptedApiServer(Answer(b"<html>"))) as opened:
        with pytest.raises(UnavailableError, match="could not be decoded"):
            await opened.apply(TARGET, b"{}")
