"""The guided demo: the real service, step by step, on the embedded cluster."""

from toolset.demo.story import run

__all__ = ["run"]
