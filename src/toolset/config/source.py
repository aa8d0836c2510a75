"""Where the settings of a process come from."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from toolset.config.loader import load
from toolset.config.settings import Settings
from toolset.errors import SettingsError

STDIN: Final = "-"


class Source(msgspec.Struct, frozen=True):
    """Where the settings of a process come from.

    Attributes:
        file: The path of the YAML file; ``-`` for standard input, empty for none.
        environment: Environment variables; those without the prefix ``TOOLSET_`` are ignored.
        flags: Values by dotted path.
    """

    file: str = ""
    environment: Mapping[str, str] = {}
    flags: Mapping[str, object] = {}

    @property
    def can_change(self) -> bool:
        """Whether there is a regular file to read again; a pipe can be read only once."""
        return bool(self.file) and Path(self.file).is_file()

    def read(self) -> str:
        """Return the content of the file; empty if there is none.

        Raises:
            SettingsError: It cannot be read.
        """
        if not self.file:
            return ""
        try:
            return sys.stdin.read() if self.file == STDIN else Path(self.file).read_text("utf-8")
        except FileNotFoundError as error:
            raise SettingsError(f"{self.file}: there is no such file; name another one") from error
        except OSError as error:
            raise SettingsError(f"{self.file}: cannot be read ({error.strerror}); name another file") from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"{self.file}: this is not UTF-8 text") from error

    def parse(self, text: str) -> Settings:
        """Return the settings for a file with the content ``text``.

        Raises:
            SettingsError: As for :func:`load`.
        """
        name = "standard input" if self.file == STDIN else self.file
        return load(text, self.environment, self.flags, source=name or "settings")
