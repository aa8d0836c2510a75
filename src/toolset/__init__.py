"""The Dynamic Toolset Service; nothing is re-exported, this is a service and not a library."""

__version__ = "0.1.0"
