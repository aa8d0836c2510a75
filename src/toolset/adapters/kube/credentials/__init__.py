"""Credentials for the API server."""
