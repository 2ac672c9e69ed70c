import json

import numpy as np
import pytest
import torch

from glip_pl.cli import main
from glip_pl.metrics import PhraseRecall
from glip_pl.results.comparison import compare_runs as compare
from glip_pl.results.judge import judge
from glip_pl.results.predictions import Seen, read_predictions, seen_again, write_predictions
from glip_pl.results.run_files import Run
from glip_pl.results.verdict import differences
from glip_pl.structures import Detections
from glip_pl.system.download import file_sha256

SQUARE, ELSEWHERE = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)


def seen(image_id, box, *, ids=(1,), phrases=("cat",), score=0.9):
    """An image with a square that shows the first phrase, and one detection of it."""
    return Seen(
        image_id=image_id,
        phrases=phrases,
        phrase_ids=torch.tensor(ids),
        true_boxes=torch.tensor([SQUARE]),
        shows=torch.eye(1, len(phrases), dtype=torch.bool),
        crowd=torch.tensor([False]),
        found=Detections(torch.tensor([box]), torch.tensor([score]), torch.tensor([0])),
    )


def write_run(
    folder,
    images,
    *,
    metric="DetectionAP",
    files=None,
    groups=None,
    metrics=None,
    name="s",
    **settings,
):
    """Write what a test run of one set leaves behind; keywords replace entries of its record."""
    folder.mkdir(parents=True)
    names = files or {image.image_id: f"{image.image_id}.jpg" for image in images}
    records = {i: {"file_name": file} for i, file in names.items()}
    write_predictions(folder / "predictions.json", {name: images}, {name: records})
    record = {
        "annotations": {"file": str(folder / "a.json"), "sha256": "0"},
        "categories": {"1": "cat"} if metric == "DetectionAP" else {},
        "metric": {
            "class": metric,
            "settings": {"topk": [1]} if metric == "PhraseRecall" else {},
            "groups": groups or {},
        },
        **settings,
    }
    run = {"weights": {"sha256": "0" * 64}, "precision": "32-true", "device": "cpu"}
    results = {
        "metrics": {f"test/{name}/{key}": value for key, value in (metrics or {}).items()},
        "manifest": {"sets": {name: record}, **run, "versions": {}, "seed": 0},
        "predictions": {
            "file": "predictions.json",
            "sha256": file_sha256(folder / "predictions.json"),
        },
    }
    (folder / "results.json").write_text(json.dumps(results))
    return str(folder)


def run_with(folder, right, of=20, **options):
    """A run that finds the square in the first `right` images."""
    images = [seen(i, SQUARE if i < right else ELSEWHERE) for i in range(of)]
    return write_run(folder, images, **options)


def test_a_run_does_not_differ_from_itself(tmp_path):
    run = run_with(tmp_path / "a", right=10)

    judgement = compare(run, run, samples=50)["s"]

    assert {(s.difference, s.low, s.high) for s in judgement.scores} == {(0, 0, 0)}
    assert not any(score.beyond_noise for score in judgement.scores)


def test_a_run_that_finds_twice_as_much_is_better_beyond_noise(tmp_path, capsys):
    first, second = run_with(tmp_path / "a", right=8), run_with(tmp_path / "b", right=16)

    ap = compare(first, second, samples=200)["s"].scores[0]

    # All scores are equal, so precision at every recall that is reached is above 0.
    assert 0 < ap.low < ap.difference < ap.high
    assert ap.beyond_noise
    assert "beyond the noise" in capsys.readouterr().out


def test_one_more_image_of_twenty_is_within_noise(tmp_path, capsys):
    first, second = run_with(tmp_path / "a", right=10), run_with(tmp_path / "b", right=11)

    ap = compare(first, second, samples=200)["s"].scores[0]

    assert ap.low <= 0 < ap.high
    assert "neither is shown to be better" in " ".join(capsys.readouterr().out.split())


def test_recall_is_the_share_of_phrases_found(tmp_path):
    def run(folder, right):
        images = [seen(i, SQUARE if i < right else ELSEWHERE, ids=(-1,)) for i in range(4)]
        return write_run(folder, images, metric="PhraseRecall")

    score = compare(run(tmp_path / "a", 1), run(tmp_path / "b", 3), samples=50)["s"].scores[0]

    assert (score.name, score.first, score.second) == ("recall@1", 0.25, 0.75)


def test_captions_of_one_photo_are_drawn_together(tmp_path):
    # Ten captions of two photos, right for all of the first: a draw has one photo, both or none.
    images = [seen(i, SQUARE if i < 5 else ELSEWHERE, ids=(-1,)) for i in range(10)]
    nothing = [seen(i, ELSEWHERE, ids=(-1,)) for i in range(10)]
    files = {i: f"{i // 5}.jpg" for i in range(10)}
    first = write_run(tmp_path / "a", nothing, metric="PhraseRecall", files=files)
    second = write_run(tmp_path / "b", images, metric="PhraseRecall", files=files)

    judgement = compare(first, second, samples=200)["s"]

    assert judgement.num_images == 2
    assert (judgement.scores[0].low, judgement.scores[0].high) == (0, 1)


def test_a_metric_that_cannot_be_judged_anew_has_no_interval(tmp_path, capsys):
    runs = [
        run_with(tmp_path / str(ap), right=1, metric="OtherAP", metrics={"map": ap})
        for ap in (0.25, 0.5)
    ]

    score = compare(*runs)["s"].scores[0]

    assert (score.difference, score.low, score.beyond_noise) == (0.25, None, False)
    assert "cannot be told" in capsys.readouterr().out


def test_groups_of_classes_are_compared_as_well(tmp_path):
    groups = {"presence": [1], "absence": []}
    runs = []
    for right in (8, 16):
        images = [seen(i, SQUARE if i < right else ELSEWHERE) for i in range(20)]
        runs.append(write_run(tmp_path / str(right), images, groups=groups))

    scores = {score.name: score for score in compare(*runs, samples=50)["s"].scores}

    assert list(scores) == ["AP", "AP50", "AP75", "AP presence"]
    assert scores["AP presence"].difference == scores["AP"].difference
    assert scores["AP presence"].beyond_noise


def test_of_many_classes_those_that_differ_most_are_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("glip_pl.results.verdict._ROWS", 1)
    names = {"1": "cat", "2": "dog"}
    cats = [seen(i, ELSEWHERE) for i in range(4)]
    dogs = [seen(i, SQUARE, ids=(2,)) for i in range(4, 8)]
    first = write_run(tmp_path / "a", cats + dogs, categories=names)
    found = [seen(i, SQUARE) for i in range(4)]
    second = write_run(tmp_path / "b", found + dogs, categories=names)

    compare(first, second, samples=20)

    shown = capsys.readouterr().out
    assert "│ cat" in shown
    assert "│ dog" not in shown
    assert "Of 2 classes these are the 1 that differ most" in " ".join(shown.split())


def test_unlike_protocols_are_refused_with_their_differences(tmp_path, capsys):
    first = run_with(tmp_path / "a", right=1, postprocess={"max_detections": 100})
    second = run_with(tmp_path / "b", right=1, postprocess={"max_detections": 300})

    with pytest.raises(SystemExit) as stopped:
        main(["compare", first, second])

    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "s: postprocess.max_detections is 100 in A, 300 in B" in message
    assert "--anyway" in message


def test_unlike_protocols_can_be_compared_on_request(tmp_path, capsys):
    first = run_with(tmp_path / "a", right=1, resize={"short_side": 800})
    second = run_with(tmp_path / "b", right=2, resize={"short_side": 640})

    main(["compare", first, second, "--anyway", "--samples=20"])

    assert "not alike: s: resize.short_side is 800 in A, 640 in B" in capsys.readouterr().out


def test_unlike_images_are_compared_on_those_that_both_saw(tmp_path):
    first = run_with(tmp_path / "a", right=10, of=20)
    second = run_with(tmp_path / "b", right=10, of=10, annotations={"sha256": "1"})

    judgement = compare(first, second, anyway=True, samples=20)["s"]

    assert judgement.num_images == 10
    assert judgement.scores[0].difference == 0


def test_the_same_data_in_another_place_are_the_same():
    first = {"annotations": {"file": "a/x.json", "sha256": "0"}, "images": {"folder": "a"}}
    second = {"annotations": {"file": "b/x.json", "sha256": "0"}, "images": {"folder": "b"}}

    assert differences(first, second) == []


def test_changed_predictions_are_refused(tmp_path):
    first, second = run_with(tmp_path / "a", right=1), run_with(tmp_path / "b", right=2)
    with (tmp_path / "b/predictions.json").open("a") as file:
        file.write("\n")

    with pytest.raises(ValueError, match=r"predictions.json' is not the file that"):
        compare(first, second)


def test_results_without_a_manifest_are_refused(tmp_path):
    run = run_with(tmp_path / "a", right=1)
    (tmp_path / "a/results.json").write_text('{"metrics": {}}')

    with pytest.raises(ValueError, match=r"has no manifest.*run `glip test` again"):
        compare(run, run)


def test_runs_on_other_sets_are_refused(tmp_path):
    first = run_with(tmp_path / "a", right=1)
    second = run_with(tmp_path / "b", right=1, name="t")

    with pytest.raises(ValueError, match=r"tested s, but .* t; compare runs with a test set"):
        compare(first, second)


def test_a_folder_of_several_runs_is_refused(tmp_path):
    for version in ("version_0", "version_1"):
        run_with(tmp_path / version, right=1)

    with pytest.raises(ValueError, match=r"several runs; .*version_0, .*version_1"):
        compare(str(tmp_path), str(tmp_path))


def test_a_folder_with_one_version_stands_for_it(tmp_path):
    run = run_with(tmp_path / "a/version_0", right=1)

    assert compare(str(tmp_path / "a"), run, samples=10).keys() == {"s"}


def test_the_figures_can_be_written_as_json(tmp_path):
    run = run_with(tmp_path / "a", right=10)

    main(["compare", run, run, "--samples=10", f"--json={tmp_path}/new/figures.json"])

    figures = json.loads((tmp_path / "new/figures.json").read_text())
    assert figures["sets"]["s"]["classes"][0]["name"] == "cat"
    assert figures["sets"]["s"]["scores"][0]["beyond_noise"] is False


def test_an_ap_that_was_logged_otherwise_is_pointed_out(tmp_path, capsys):
    run = run_with(tmp_path / "a", right=10, metrics={"map": 0.9})

    compare(run, run, samples=10)

    assert "logged an AP of 0.9000" in capsys.readouterr().out


def test_read_predictions_score_like_those_that_were_written(tmp_path):
    generator = np.random.default_rng(0)
    images = []
    for i in range(10):
        boxes = torch.tensor(generator.uniform(0, 50, (6, 4)) + np.array([0, 0, 50, 50])).float()
        scores = torch.tensor(generator.random(6)).float()
        shows = torch.tensor([[True, False], [True, True], [False, True]])
        phrases = torch.tensor(generator.integers(0, 2, 6))
        images.append(
            Seen(
                image_id=i,
                phrases=("a cat", "the cat"),
                phrase_ids=torch.tensor([-1, -1]),
                true_boxes=boxes[:3] + 2,
                shows=shows,
                crowd=torch.tensor([False, False, True]),
                found=Detections(boxes, scores, phrases),
            )
        )
    path = tmp_path / "predictions.json"
    write_predictions(path, {"s": images}, {"s": {i: {"file_name": f"{i}.jpg"} for i in range(10)}})

    again = list(seen_again(read_predictions(path)["s"]))

    before, after = PhraseRecall((1, 2)), PhraseRecall((1, 2))
    for metric, seen in ((before, images), (after, again)):
        for image in seen:
            metric.update([image.found], [image.question()], [image.truth()])
    assert before.compute() == after.compute()
    assert again[0].phrases == ("a cat", "the cat")
    assert torch.equal(again[0].shows, images[0].shows)


def test_a_foreign_file_of_predictions_is_refused(tmp_path):
    (tmp_path / "predictions.json").write_text("[]")

    with pytest.raises(ValueError, match="not what `glip test` writes"):
        read_predictions(tmp_path / "predictions.json")


def test_sentences_about_nothing_count_where_nothing_is_found(tmp_path):
    lists = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "phrases": ["a cat"]} for i in (1, 2)],
        "truth": [],
        "detections": [
            {"image_id": i, "phrase": "a cat", "phrase_index": 0, "bbox": [0, 0, 9, 9], "score": s}
            for i, s in ((1, 0.9), (2, 0.1))
        ],
    }
    record = {"metric": {"class": "GeneralizedReferring", "settings": {"score_threshold": 0.5}}}
    run = Run(record, lists, {})

    scores = {score.name: score.first for score in judge(run, run, samples=20, seed=0).scores}

    # There is no sentence with a box, so nothing is said of those.
    assert scores == {"precision": 0.5, "n_acc": 0.5}


def test_a_setting_that_one_run_does_not_know_is_a_difference():
    assert differences({}, {"metric": {"ap": None}}) == ["metric.ap is absent in A, null in B"]
