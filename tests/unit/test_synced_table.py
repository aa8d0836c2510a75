"""The table of synced caches names every peer, those that were not measured too."""

from typing import Final

from figures import Figure
from synced import CLIENT_GO, KUBE_RS, LARGE, PEERS, SERVICE, SLOW, Costs, table

RUST: Final = {name for name in PEERS if name.startswith(KUBE_RS)}


def costs(seconds: float, mib: float) -> Costs:
    requests, start = (Figure("", "s", (seconds + more,) * 3) for more in (0.0, 0.1))
    return Costs(requests, start, Figure("", "MiB", (mib,) * 3))


def found(names: set[str]) -> dict[str, Costs]:
    return {name: costs(1.0, 100.0) for name in PEERS if name in names} | {CLIENT_GO: costs(2.0, 50.0)}


def test_table_has_ratios_to_client_go_and_to_kube_rs() -> None:
    shown = table(LARGE, found({*PEERS}) | {KUBE_RS: costs(0.5, 200.0)})

    rows = {name: cells for name, *cells in shown.rows}
    assert [*rows] == [*PEERS]
    assert rows[SERVICE] == ["1.00 s", "0.500 x", "2.00 x", "-", "100 MiB", "2.00 x", "0.500 x"]
    assert rows[KUBE_RS] == ["0.500 s", "0.250 x", "1.00 x", "0.600 s", "200 MiB", "4.00 x", "1.00 x"]
    assert shown.drawn[CLIENT_GO] == [2.0, 2.1, 50.0]


def test_table_without_rust_says_that_kube_rs_was_not_measured() -> None:
    shown = table(LARGE, found({*PEERS} - RUST))

    rows = {name: cells for name, *cells in shown.rows}
    assert {name for name, cells in rows.items() if cells[0] == "not measured"} == RUST
    assert rows[SERVICE] == ["1.00 s", "0.500 x", "-", "-", "100 MiB", "2.00 x", "-"]
    assert "Rust is not installed" in shown.note
    assert not RUST & shown.drawn.keys()


def test_table_of_a_larger_cluster_leaves_out_slow_peers() -> None:
    shown = table(100_001, found({*PEERS} - SLOW))

    assert [name for name, *_ in shown.rows] == [name for name in PEERS if name not in SLOW]
    assert "1.0 x its memory" in shown.note
    assert not shown.drawn
