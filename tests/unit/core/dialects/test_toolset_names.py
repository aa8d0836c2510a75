from msgspec.structs import replace

from support.build import candidate
from toolset.core.dialects.toolset_names import instance_names


def test_an_opaque_name_gives_way_to_a_trusted_service_of_the_same_name() -> None:
    untrusted = replace(candidate("prometheus", namespace="tenant"), trusted=False)
    (opaque,) = instance_names([untrusted])
    trusted = candidate(opaque.removeprefix("team-"), namespace="team")

    named = instance_names([untrusted, trusted])

    assert named[opaque] == trusted
    assert sorted(tool.key for tool in named.values()) == sorted([untrusted.key, trusted.key])
