import json

import pytest
from benchmarks.kept import KEPT, lines, read_kept
from benchmarks.rows import REHEARSAL, ROWS
from benchmarks.tables import PAGE, replaced, table

GPU = {"device": "NVIDIA H100", "units": "sm_90", "date": "2026-12-01", "commit": "a" * 10}
LIMITS = {"operations": 8e14, "bytes": 3e12}


def report(total=0.25, **changed):
    asked = {
        **{"model": "glip_t", "step": "detection", "size": "800x1333", "batch_size": 8},
        **{"names": 80, "precision": "bf16", "compiled": False},
    }
    return {
        "asked": asked,
        "ours": {"seconds": {"total": total}, "peak_bytes": 4e9, "operations": 8e13, "bytes": 3e11},
        "baseline": {
            "seconds": {"total": 4 * total},
            "peak_bytes": 9e9,
            "operations": 9e13,
            "bytes": 0,
        },
        "machine": GPU,
        "limits": LIMITS,
        **changed,
    }


def test_the_table_of_the_page_is_that_of_what_is_kept():
    text = PAGE.read_text()

    assert replaced(text, read_kept(KEPT)) == text


def test_a_row_says_how_fast_and_how_far_from_the_bound(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps([report()]))

    written = table(read_kept(tmp_path))

    # Eight images in 250 ms, whose products and weights take 100 ms; the baseline takes a second.
    assert "| glip_t, 80 | 8 | bf16 | 250.0 | 32.0 | 2.5 | 4.0 | 4.00 |" in written
    assert written.startswith("NVIDIA H100 (sm_90).")
    assert "| glip_l, 80 | 1 | bf16 |  |  |  |  |  |" in written


def test_the_newest_run_counts(tmp_path):
    older = report(9.0, machine={**GPU, "date": "2026-11-30"})
    (tmp_path / "a.json").write_text(json.dumps(report()))
    (tmp_path / "b.json").write_text(json.dumps(older))

    assert "| 250.0 |" in table(read_kept(tmp_path))
    ((runs),) = lines(read_kept(tmp_path)).values()
    assert [run.seconds for run in runs] == [9.0, 0.25]


def test_pairs_beside_transformers_are_kept_by_their_medians(tmp_path):
    pairs = report(seconds=[(1.0, 2.0), (3.0, 9.0), (2.0, 8.0)], peak_bytes=(1e9, 2e9))
    del pairs["ours"], pairs["baseline"]
    (tmp_path / "a.json").write_text(json.dumps(pairs))

    (run,) = read_kept(tmp_path)

    assert (run.seconds, run.baseline) == (2.0, 8.0)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "odd.json").write_text("[1]")

    with pytest.raises(ValueError, match=r"odd\.json is no report of the benchmark"):
        read_kept(tmp_path)


def test_every_row_can_be_told_from_the_others():
    for rows in (ROWS, REHEARSAL):
        assert len(set(rows)) == len(rows)
