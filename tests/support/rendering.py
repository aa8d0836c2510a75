"""The documents of one dialect as they stand in the ConfigMap, without overrides and limits."""

from collections.abc import Mapping, Sequence

from toolset.core.candidate import Candidate
from toolset.core.dialects.documents import Credentials
from toolset.core.overrides.overrides import NO_OVERRIDES, apply
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.rendering import documents, texts


def kubernaut(tools: Sequence[Candidate], credentials: Mapping[str, Credentials] | None = None) -> dict[str, str]:
    """Return the documents of the kubernaut dialect by their keys in the ConfigMap.

    Args:
        tools: In the order of ``inventory.instances``.
        credentials: As in the setting ``output.credentials``.
    """
    options = OutputOptions(("kubernaut",), dict(credentials or {}))
    return texts(documents(tools, options, NO_OVERRIDES, apply(tools, NO_OVERRIDES)).documents)
