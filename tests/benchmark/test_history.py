from xml.etree import ElementTree

import benchmark_history
import pytest
from benchmark_history import picture, verdict
from benchmarks.kept import Kept


def run(commit, seconds, what="glip_t, 80 names", machine="a < b"):
    return Kept(what, machine, f"2026-12-0{len(commit)}", commit, seconds, None, {})


def test_the_picture_has_a_line_for_all_runs_of_one_thing_on_one_machine():
    drawn = ElementTree.fromstring(picture([run("a", 2.0), run("bb", 1.0), run("a", 5.0, "other")]))

    lines = [e.get("points").split() for e in drawn.iter() if e.tag.endswith("polyline")]
    assert [len(points) for points in lines] == [2, 1]
    # Half as long is half as high above the bottom, at 100.
    heights = [100 - float(point.split(",")[1]) for point in lines[0]]
    assert heights == [70, 35]


@pytest.mark.parametrize(
    ("pairs", "slower"),
    [
        ([(1.0, 1.2)] * 5, True),
        ([(1.0, 1.02)] * 5, False),  # Within the bound.
        ([(1.0, 0.5)] * 5, False),
        ([(1.0, 1.3), (1.0, 0.9), (1.0, 1.2), (1.0, 0.8)], False),  # Noise.
        ([(1.0, 1.3), (1.0, 0.9), (1.0, 1.2), (1.0, 1.1)], True),
    ],
)
def test_slower_is_what_is_so_beyond_the_bound_and_beyond_noise(pairs, slower):
    assert verdict(pairs, 1.05)[1] is slower


def test_a_slower_commit_fails_the_check(monkeypatch, capsys):
    times = iter([1.0, 2.0, 1.0, 2.0])
    monkeypatch.setattr(benchmark_history, "_git", lambda *_, **__: None)
    monkeypatch.setattr(benchmark_history, "_seconds", lambda *_: next(times))

    status = benchmark_history.main(["compare", "old", "new", "--pairs=2", "--model=tiny"])

    assert status == 1
    assert "new takes 2.000 times as long as old" in capsys.readouterr().out


def test_an_empty_folder_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit):
        benchmark_history.main(["draw", f"--folder={tmp_path}"])

    assert "keep one by --json_file" in capsys.readouterr().err
