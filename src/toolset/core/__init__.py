"""Pure decisions: which Service is which tool, what to publish, what to change.

Nothing here waits, reads a clock, logs, or touches a network. Every function maps values to values, so every
test is a table or a property.
"""
