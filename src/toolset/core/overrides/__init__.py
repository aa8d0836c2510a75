"""The admin's overrides, and what was published before."""
