"""The service at work on the embedded cluster, told to people step by step."""

from toolset.demo.story import run

__all__ = ["run"]
