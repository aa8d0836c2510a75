"""Settings: schema, loading and validation, and what is built from them."""
