"""The types of backends as data: how each is recognised, and how it is published."""
