import json

import pytest
import torch
from small_task import small_task

from glip_pl.benchmark.baseline import written_out
from glip_pl.benchmark.equality import compare
from glip_pl.benchmark.measure import measure
from glip_pl.benchmark.vocabulary import COCO_NAMES, names_to_detect
from glip_pl.benchmark.workload import Detect, DetectOfficially, Result, Train
from glip_pl.cli import main
from glip_pl.structures import Detections

NAMES = names_to_detect(3)


def test_the_official_arrangement_computes_the_same():
    task = small_task()
    ours = Detect(task, task.model, names=NAMES, size=(96, 128))
    baseline = DetectOfficially(task, written_out(task.model), names=NAMES, size=(96, 128))
    ours.prepare()
    baseline.prepare()

    found = compare(ours.result(), baseline.result())

    assert found.values < 1e-5
    assert found.boxes < 1e-2
    assert found.detections > 0
    assert found.unmatched == 0


def test_both_arrangements_train_alike():
    task = small_task()
    steps = [
        Train(task, model, names=NAMES, size=(96, 128), batch_size=2)
        for model in (task.model, written_out(task.model))
    ]
    for step in steps:
        step.prepare()

    first, second = (float(step.result().values) for step in steps)

    assert first == pytest.approx(second, rel=1e-5)


def test_the_arrangements_share_their_parameters():
    task = small_task()

    baseline = written_out(task.model)

    assert {id(p) for p in baseline.parameters()} == {id(p) for p in task.model.parameters()}


def test_a_vocabulary_asked_in_parts_counts_the_model_for_every_part():
    task = small_task()
    work = DetectOfficially(task, task.model, names=NAMES, size=(64, 64), names_per_prompt=1)
    work.prepare()

    once = measure(work.run, work.model, 1, work.device)
    counted = work.measure(1)

    assert work.prompts == 3
    assert counted.operations == 3 * once.operations


def test_the_stages_are_parts_of_the_whole():
    task = small_task()
    work = Detect(task, task.model, names=NAMES, size=(96, 128))
    work.prepare()

    found = work.measure(1)

    stages = {name: s for name, s in found.seconds.items() if name != "total"}
    assert {"backbone", "text encoder", "fusion: tower", "head", "post-processing"} <= set(stages)
    assert all(seconds > 0 for seconds in stages.values())
    assert sum(stages.values()) <= found.seconds["total"]
    # The patches' convolution alone: 24 x 32 cells, 8 channels, 48 values each, twice.
    assert found.operations > 2 * 24 * 32 * 8 * 48


def test_a_box_that_only_one_side_found_is_told():
    box = torch.tensor([[0.0, 0, 10, 10]])

    def result(*phrases):
        found = Detections(
            box.repeat(len(phrases), 1), torch.full((len(phrases),), 0.5), torch.tensor(phrases)
        )
        return Result(torch.ones(1), torch.ones(1), [found])

    assert compare(result(0, 1), result(0, 1)).unmatched == 0
    assert compare(result(0, 1), result(0)).unmatched == 1
    assert compare(result(0, 0), result(0, 1)).unmatched == 1


def test_names_are_those_of_coco_and_then_made_up():
    assert len(COCO_NAMES) == 80
    assert names_to_detect(2) == ["person", "bicycle"]
    assert len(set(names_to_detect(1203))) == 1203


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--size=800", "--size='800' is not height x width"),
        ("--names=0", "--names=0 is not between 1 and"),
        ("--names=missing.txt", "neither a number nor a file"),
    ],
)
def test_what_benchmark_refuses(option, message, capsys, monkeypatch):
    monkeypatch.setattr("glip_pl.benchmark.run.random_task", lambda _: small_task())

    with pytest.raises(SystemExit):
        main(["benchmark", option])

    assert message in capsys.readouterr().err


def test_the_command_prints_a_table_and_writes_all_it_found(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("glip_pl.benchmark.run.random_task", lambda _: small_task())
    file = tmp_path / "found.json"

    main(
        [
            "benchmark",
            "--size=64x96",
            "--names=3",
            "--repeats=1",
            "--baseline=true",
            f"--json_file={file}",
        ]
    )

    shown, found = capsys.readouterr().out, json.loads(file.read_text())
    assert "peak memory beyond the weights" in shown
    assert "0 of them not in the other" in shown
    assert found["prompts"] == [1, 1]
    assert found["baseline"]["operations"] > found["ours"]["operations"] > 0
