"""What a process takes from its machine."""

from toolset.service.machine import Machine


def test_every_process_has_a_name_of_its_own() -> None:
    one, other = Machine(), Machine()
    assert one.identity != other.identity
    assert one.identity.startswith(f"{one.hostname}_")
