"""Ways to write the same tools down: each maps tools to documents, pure and byte-stable."""
