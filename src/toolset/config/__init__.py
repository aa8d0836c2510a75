"""Settings, and what they configure."""
