from few_shot import record, table
from rich.console import Console


def run(fusion, shots, seed, ap):
    metrics = {"test/cells/map": ap, "test/cells/map_50": 2 * ap}
    manifest = {"precision": "bf16", "seed": seed}
    described = {"set": "cells", "fusion": fusion, "shots": shots, "seed": seed}
    return {**described, "metrics": metrics, "manifest": manifest}


RUNS = [run("late", 10, 3, 0.3), run("late", 10, 30, 0.4), run("late", 1, 3, 0.1)]


def test_the_table_averages_the_seeds_and_counts_shots_upwards():
    console = Console(width=100)
    with console.capture() as shown:
        console.print(table([*RUNS, run("deep", 10, 3, 0.2), run("deep", 1, 3, 0.05)]))

    assert shown.get().index("1-shot") < shown.get().index("10-shot")
    late, deep = (line.split() for line in shown.get().splitlines() if "cells" in line)
    assert [late[i] for i in (5, 7, 9, 11)] == ["10.0", "20.0", "35.0", "70.0"]
    assert [deep[i] for i in (5, 7, 9, 11)] == ["5.0", "10.0", "20.0", "40.0"]


def test_a_run_that_is_still_missing_leaves_its_cell_empty():
    console = Console(width=100)
    with console.capture() as shown:
        console.print(table([*RUNS, run("deep", 10, 3, 0.2)]))

    assert "20.0 / 40.0" in shown.get()


def test_what_all_manifests_say_is_said_once():
    found = record(RUNS)

    assert found["manifest"] == {"precision": "bf16"}
    assert [listed["manifest"] for listed in found["runs"]] == [
        {"seed": 3},
        {"seed": 30},
        {"seed": 3},
    ]
    assert found["runs"][0]["metrics"] == RUNS[0]["metrics"]
