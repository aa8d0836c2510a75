from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import orjson
import pytest

from fakes.api_server import Answer, FixedCredentials, ScriptedApiServer, status_error
from toolset.adapters.kube.applier import KubeApplier
from toolset.adapters.kube.transport import KubeTransport
from toolset.errors import ConflictError, InvalidError, UnavailableError
from toolset.model import ConfigMap, ConfigMapMeta, Key

TARGET = Key("spaces", "tools")
WRITTEN = {"metadata": {"namespace": "spaces", "name": "tools", "resourceVersion": "8"}, "data": {"a": "1"}}


@asynccontextmanager
async def applier(server: ScriptedApiServer) -> AsyncGenerator[KubeApplier]:
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test/1") as transport:
        yield KubeApplier(transport, "me")


async def test_an_apply_is_forced_and_names_its_manager() -> None:
    server = ScriptedApiServer(Answer(orjson.dumps(WRITTEN)))
    async with applier(server) as opened:
        written = await opened.apply(TARGET, b'{"kind":"ConfigMap"}')

    assert (written.key, written.version, written.entries) == (TARGET, "8", {"a": "1"})
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("PATCH", "/api/v1/namespaces/spaces/configmaps/tools")
    assert asked.params == {"fieldManager": "me", "force": "true"}
    assert asked.headers["content-type"] == "application/apply-patch+yaml"
    assert asked.body == b'{"kind":"ConfigMap"}'


async def test_what_is_written_and_removed_at_once_is_a_merge_patch_fenced_by_version_and_uid() -> None:
    server = ScriptedApiServer(Answer(orjson.dumps(WRITTEN)))
    current = ConfigMap(ConfigMapMeta(name="tools", namespace="spaces", uid="u1", resource_version="7"))
    async with applier(server) as opened:
        await opened.patch(current, {"a": "1", "b": None})

    (asked,) = server.asked
    assert asked.params == {"fieldManager": "me"}
    assert asked.headers["content-type"] == "application/merge-patch+json"
    assert orjson.loads(asked.body) == {
        "metadata": {"resourceVersion": "7", "uid": "u1"},
        "data": {"a": "1", "b": None},
    }


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
