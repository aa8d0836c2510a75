"""The Kubernetes API client: raw requests over aiohttp, decoded with msgspec into frozen structs."""
