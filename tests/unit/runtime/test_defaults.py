"""The figures that the docstrings take from client-go, written out a second time."""

from toolset.runtime.backoff import RETRY_AFTER_CAP_S, Backoff
from toolset.runtime.correlator import Allowance, CorrelatorOptions
from toolset.runtime.election import ElectorOptions
from toolset.runtime.recovery import MAX_RESUMES, STREAM_LIST_PAUSE_S, STREAM_LIST_STRIKES
from toolset.runtime.reflector import ReflectorOptions
from toolset.runtime.store import SLOW_HANDLER_S


def test_a_reflector_waits_as_client_go_does() -> None:
    backoff = Backoff(base_s=0.8, cap_s=30.0, factor=2.0, spread=1.0)
    assert ReflectorOptions() == ReflectorOptions(
        backoff, calm_s=120.0, stream_list_timeout_s=60.0, stream_list_silence_s=20.0
    )
    assert (RETRY_AFTER_CAP_S, MAX_RESUMES, STREAM_LIST_STRIKES, STREAM_LIST_PAUSE_S) == (60.0, 10, 2, 3600.0)


def test_an_election_has_the_times_of_client_go() -> None:
    assert ElectorOptions() == ElectorOptions(lease_s=15.0, renew_s=10.0, retry_s=2.0, jitter=1.2, release_s=2.0)


def test_events_are_correlated_as_client_go_does() -> None:
    assert CorrelatorOptions() == CorrelatorOptions(
        look_alikes=10,
        look_alike_s=600.0,
        series_s=360.0,
        remembered=4096,
        by_object=Allowance(25, 300.0),
        by_namespace=Allowance(100, 30.0),
        overall=Allowance(250, 10.0),
    )


def test_a_handler_is_slow_after_ten_milliseconds() -> None:
    assert SLOW_HANDLER_S == 0.01
