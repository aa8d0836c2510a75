"""One pass over a Service, one over a candidate's health, one over the target; and the ports they need.

A Service pass is pure work and never waits; a probe pass waits for a backend; a target pass waits for the API
server. Each has a queue of its own, so that a slow backend delays neither detection nor publication.
"""
