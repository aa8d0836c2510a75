import re

import msgspec
import pytest

from toolset.config.settings import Settings
from toolset.core.candidate import Reason
from toolset.core.status.advice import remedy
from toolset.model import Key

OVERRIDES = Key("kubernaut-system", "tools")
REMEDIES = {word: remedy(word, "kubernaut.io", OVERRIDES) for word in sorted({reason.word for reason in Reason})}
_DOTTED = re.compile(r"[\w/-]*\w\.\w+")


def settings() -> set[str]:
    """Return the name of every setting, as people write it."""
    return {
        f"{section.name}.{field.name}"
        for section in msgspec.structs.fields(Settings)
        if isinstance(section.type, type) and issubclass(section.type, msgspec.Struct)
        for field in msgspec.structs.fields(section.type)
    }


@pytest.mark.parametrize("word", [word for word, text in REMEDIES.items() if "setting" in text])
def test_a_remedy_names_settings_that_there_are(word: str) -> None:
    named = {each for each in _DOTTED.findall(REMEDIES[word]) if not each.startswith(("kubernaut.io", "docs/"))}
    assert named
    assert named <= settings()


def test_a_remedy_names_the_annotations_and_the_overrides_of_this_installation() -> None:
    assert "kubernaut.io/toolset-port" in REMEDIES[Reason.NO_USABLE_PORT.word]
    assert "ConfigMap kubernaut-system/tools" in REMEDIES[Reason.SUPPRESSED.word]


def test_a_reason_that_needs_nothing_has_no_remedy() -> None:
    assert remedy("Published", "kubernaut.io", OVERRIDES) == ""
