"""Output formats: each maps the same tools to documents, byte for byte reproducible."""
