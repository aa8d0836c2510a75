"""The Kubernetes API server: raw requests over aiohttp, decoded with msgspec into frozen structs."""
