"""The status page: templates, style sheet and script, rendered on the server."""
