import json
from pathlib import Path

import pytest
import torch
import yaml
from helpers import REFERENCE, write_coco
from loaded_sets import loaded
from test_official import checkpoint, tiny_bert  # noqa: F401

from glip_pl.cli import main
from glip_pl.commands.odinw import odinw
from glip_pl.data import CategoryDetection
from glip_pl.odinw import run
from glip_pl.odinw.locate import locate
from glip_pl.odinw.sets import odinw_13, odinw_35

BOX = (1, 2, 30, 20)
SETS = {entry.name: entry for entry in odinw_35()}
SETS_13 = {entry.name: entry for entry in odinw_13()}
AQUARIUM = ("fish", "jellyfish", "penguin", "puffin", "shark", "starfish", "stingray")


def put(root, pattern, *, ids=(1,), names=None):
    """Write a split of one image where a layout has its annotations."""
    names = names or {i: f"n{i}" for i in ids}
    source = write_coco(root, {"a.png": [(min(names), BOX)]}, names=names)
    target = root / pattern
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(source.read_text())
    return target


def read(place, split, **options):
    """Load a split as a run would."""
    described = place.split(split, **options)
    dataset = CategoryDetection(**described["init_args"])
    return loaded(dataset, place.root)


def write_pothole(root, name="pothole"):
    """Write a set in this project's layout, three splits of two images."""
    for split in ("train", "val", "test"):
        boxes = {f"{split}{k}.png": [(1, BOX)] for k in range(2)}
        write_coco(root / "pothole", boxes, names={1: name}, file=f"{split}.json")


class FakeRun:
    """In place of the processes: keeps their arguments, and writes results for every test."""

    def __init__(self, scores):
        self.scores, self.calls = iter(scores), []

    def __call__(self, arguments, check):
        self.calls.append(arguments)
        if "test" in arguments:
            (path,) = (Path(a.removeprefix("--config=")) for a in arguments if "test.yaml" in a)
            logger = yaml.safe_load(path.read_text())["trainer"]["logger"]["init_args"]
            folder = Path(logger["save_dir"], logger["name"], logger["version"])
            folder.mkdir(parents=True)
            score = next(self.scores)
            metrics = {f"test/{logger['name']}/{key}": score for key in ("map", "map_50")}
            (folder / "results.json").write_text(json.dumps({"metrics": metrics}))
        return type("Done", (), {"returncode": 0})()


@pytest.fixture
def weights(request):
    """An official checkpoint of a tiny model."""
    return request.getfixturevalue("checkpoint")


@pytest.fixture
def fake_run(monkeypatch):
    fake = FakeRun([0.1, 0.2, 0.6])
    monkeypatch.setattr(run.subprocess, "run", fake)
    return fake


def test_the_lists_have_13_and_35_sets_of_different_names():
    assert len(SETS_13) == 13
    assert len(SETS) == 35
    assert SETS_13.keys() < SETS.keys()


def test_folders_and_names_are_those_of_official_glip():
    path = REFERENCE / "odinw_metadata.json"
    if not path.is_file():
        pytest.skip(f"the facts of official GLIP are not there: {path}")
    facts = json.loads(path.read_text())
    # Blank and doubled names, which are our own here.
    ours = {("ChessPieces", 1), ("boggleBoards", 21)}

    for entries, key in ((odinw_13(), "odinw_13"), (odinw_35(), "odinw_35")):
        known = {v["splits"]["train"][1].strip("/"): v for v in facts[key].values()}
        for entry in entries:
            fact = known.get(f"odinw/{entry.folder}/train") or known[f"odinw/{entry.folder}"]
            described = fact["caption_prompt"] or [{"name": n} for n in fact["categories"].values()]
            for i, (name, words) in enumerate(zip(entry.names, described, strict=True), start=1):
                if (entry.folder.split("/")[0], i) not in ours:
                    assert name == words["name"]
                text = words.get("prefix", "") + "{name}" + words.get("suffix", "")
                assert entry.descriptions.get(name, "{name}") == text.strip()
            assert f"/{entry.folder}/" in fact["splits"]["test"][0]
            assert (entry.test == "valid") == ("valid/" in fact["splits"]["test"][0])


@pytest.mark.parametrize("base", ["", "odinw/"])
def test_the_layout_of_official_glip_is_found(base, tmp_path):
    folder = tmp_path / f"{base}Aquarium/Aquarium Combined.v2-raw-1024.coco"
    put(folder, "test/annotations_without_background.json", ids=range(1, 8))
    (folder / "images/a.png").rename(folder / "test/a.png")

    place = locate(SETS["aquarium"], tmp_path)
    dataset = read(place, "test")

    assert len(dataset) == 1
    assert tuple(dataset.names) == AQUARIUM
    assert dataset[0].prompt.caption == (
        "fish. jellyfish. penguin , which is black and white. puffin with orange beaks. shark. "
        "starfish. stingray which is flat and round"
    )
    assert place.split("valid")["init_args"]["images"] == "valid"


def test_splits_beside_each_other_are_found(tmp_path):
    put(tmp_path / "pistols/export", "test_annotations_without_background.json")

    options = locate(SETS["pistols"], tmp_path).split("valid")["init_args"]

    assert options["annotations"] == "val_annotations_without_background.json"
    assert options["images"] == "."
    assert options["renamed"] == {1: "pistol"}


def test_pascal_voc_is_tested_on_its_validation_split(tmp_path):
    put(tmp_path / "PascalVOC", "valid/annotations_without_background.json")

    assert locate(SETS["pascalvoc"], tmp_path).entry.test == "valid"


def test_in_another_layout_categories_are_matched_by_name(tmp_path):
    names = dict(zip((5, 4, 3, 2, 1, 7, 6), AQUARIUM, strict=True))
    put(tmp_path / "aquarium", "annotations/test.json", names=names)

    place = locate(SETS["aquarium"], tmp_path)

    assert place.renamed == names
    assert set(place.split("test")["init_args"]["descriptions"]) == {3, 2, 6}


def test_the_names_that_a_file_had_at_first_are_matched_as_well(tmp_path):
    path = put(tmp_path / "bccd", "annotations/test.json", ids=(1, 2))
    document = json.loads(path.read_text())
    for category, first in zip(document["categories"], ("WBC", "RBC"), strict=True):
        category["original_name"] = first
    path.write_text(json.dumps(document))

    assert locate(SETS["bccd"], tmp_path).renamed == {1: "WBC", 2: "RBC"}


def test_either_lists_name_of_a_category_is_matched(tmp_path):
    put(tmp_path / "pothole", "annotations/test.json", names={1: "pothole"})

    assert locate(SETS["pothole"], tmp_path).renamed == {1: "holes"}
    assert locate(SETS_13["pothole"], tmp_path).renamed == {1: "pothole"}


def test_a_file_with_other_categories_keeps_its_names(tmp_path, caplog):
    put(tmp_path / "pothole", "annotations/test.json", names={1: "crack"})

    place = locate(SETS["pothole"], tmp_path)

    assert read(place, "test").names == ["crack"]
    assert "'crack' is none of the original holes" in caplog.text


def test_few_shot_images_are_chosen_by_the_seed(tmp_path):
    put(tmp_path / "pothole", "annotations/test.json", names={1: "pothole"})

    options = locate(SETS_13["pothole"], tmp_path).split("train", shots=3, seed=30)["init_args"]

    assert (options["shots"], options["shot_seed"]) == (3, 30)


def test_prepared_lists_of_few_shot_images_come_first(tmp_path):
    put(tmp_path / "pothole", "test/annotations_without_background.json")
    put(tmp_path / "pothole", "train/fewshot_train_shot3_seed30.json")

    options = locate(SETS_13["pothole"], tmp_path).split("train", shots=3, seed=30)["init_args"]

    assert options["annotations"] == "train/fewshot_train_shot3_seed30.json"
    assert "shots" not in options


def test_the_table_has_mean_and_median_and_is_kept(tmp_path, fake_run, capsys):
    for name in ("pothole", "raccoon", "wildfiresmoke"):
        put(tmp_path / name, "annotations/test.json", names={1: name})

    table = odinw(
        str(tmp_path),
        weights="glip_t",
        sets="pothole, raccoon,wildfiresmoke",
        output=f"{tmp_path}/out",
        options='--trainer.precision=32 --data.x="a b"',
    )

    assert {name: values["map"] for name, values in table["sets"].items()} == {
        "pothole": 0.1,
        "raccoon": 0.2,
        "wildfiresmoke": 0.6,
    }
    assert (table["mean"], table["median"]) == (pytest.approx(0.3), 0.2)
    assert json.loads((tmp_path / "out/zero_shot/odinw.json").read_text()) == table
    assert "mean                           30.0" in capsys.readouterr().out
    for call in fake_run.calls:
        assert call[-3:] == ["--weights=glip_t", "--trainer.precision=32", "--data.x=a b"]


def test_several_seeds_give_a_table_each_and_their_mean(tmp_path, monkeypatch, capsys):
    for name in ("pothole", "raccoon"):
        put(tmp_path / name, "annotations/test.json", names={1: name})
    fake = FakeRun([0.1, 0.4, 0.2, 0.4, 0.6, 0.4])  # pothole, raccoon; three times
    monkeypatch.setattr(run.subprocess, "run", fake)
    monkeypatch.setattr(run.Run, "_fit_config", lambda *_: {})

    table = odinw(
        str(tmp_path),
        weights="glip_t",
        sets="pothole,raccoon",
        shots=3,
        seeds=[3, 30, 300],
        output=f"{tmp_path}/out",
    )

    assert table["sets"]["pothole"]["map"] == pytest.approx(0.3)  # of 0.1, 0.2 and 0.6
    assert table["deviation"]["pothole"] == pytest.approx(0.07**0.5)
    assert table["deviation"]["raccoon"] == pytest.approx(0, abs=1e-9)
    assert (table["seed"], table["mean"]) == ([3, 30, 300], pytest.approx(0.35))
    assert json.loads((tmp_path / "out/shot3/odinw.json").read_text()) == table
    seed_30 = json.loads((tmp_path / "out/shot3_seed30/odinw.json").read_text())
    assert (seed_30["seed"], seed_30["sets"]["pothole"]["map"]) == (30, 0.2)
    assert "pothole                        30.0   30.0   26.5" in capsys.readouterr().out


def test_without_few_shot_images_seeds_change_nothing(tmp_path, fake_run):
    write_pothole(tmp_path)

    table = odinw(
        str(tmp_path), weights="w", sets="pothole", seeds=[3, 30], output=f"{tmp_path}/out"
    )

    assert table["seed"] is None
    assert len(fake_run.calls) == 1


def test_the_prompts_of_the_list_that_was_asked_for_are_used(tmp_path, fake_run):
    put(tmp_path / "cottontailrabbits", "annotations/test.json", names={1: "rabbit"})

    table = odinw(str(tmp_path), weights="w", sets="cottontailrabbits", output=f"{tmp_path}/out")

    assert table["prompts"] == {"cottontailrabbits": ["Cottontail-Rabbit"]}


def test_lacking_sets_are_named(tmp_path):
    write_pothole(tmp_path)

    with pytest.raises(ValueError, match=r"lacks 12 of the 13 data sets: .*\(of these pot"):
        odinw(str(tmp_path), weights="w")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs a model; pass either"),
        ({"weights": "a", "ckpt_path": "b"}, "needs a model; pass either"),
        (
            {"weights": "a", "sets": "potholes"},
            r"unknown name 'potholes'; pass 13.*pothole",
        ),
        ({"weights": "a", "sets": ","}, "unknown name ''"),
        ({"weights": "a", "shots": -1}, "--shots=-1 is no number of images; pass 0, 1"),
        ({"weights": "a", "seeds": [3, 3]}, r"--seeds=\[3, 3\]: pass one or more"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        odinw(str(tmp_path), **options)


def test_a_failed_run_names_its_set(tmp_path, monkeypatch):
    write_pothole(tmp_path)
    failed = type("Done", (), {"returncode": 2})()
    monkeypatch.setattr(run.subprocess, "run", lambda *_, **__: failed)

    with pytest.raises(ValueError, match=r"glip test failed on pothole.*--sets=pothole"):
        odinw(str(tmp_path), weights="w", sets="pothole", output=f"{tmp_path}/out")


QUICK = (
    "--trainer.max_epochs=1 --trainer.check_val_every_n_epoch=1 --data.num_workers=0 "
    "--trainer.precision=32 --data.eval_transform.short_sides=[64] "
    "--data.train_transform.short_sides=[64]"
)


def in_this_process(arguments, check):
    """Run what would be a process of its own."""
    main(arguments[arguments.index("glip_pl") + 1 :])
    return type("Done", (), {"returncode": 0})()


@pytest.mark.parametrize(
    "shots", [0, *(pytest.param(shots, marks=pytest.mark.slow) for shots in (1, "full"))]
)
def test_official_weights_are_tested_and_fine_tuned(shots, weights, tmp_path, monkeypatch):
    write_pothole(tmp_path)
    monkeypatch.setattr(run.subprocess, "run", in_this_process)
    options = QUICK if shots else "--data.eval_transform.short_sides=[64]"

    table = odinw(
        str(tmp_path),
        weights=str(weights),
        sets="pothole",
        shots=shots,
        output=f"{tmp_path}/out",
        options=options,
    )

    assert 0 <= table["sets"]["pothole"]["map"] <= 1
    if shots:
        config = yaml.safe_load(next((tmp_path / "out").rglob("fit/config.yaml")).read_text())
        assert config["trainer"]["max_epochs"] == 1
        assert config["model"]["backbone"]["init_args"]["freeze"] == 2
        assert config["model"]["optimizer"]["weight_decay"] == 0.05
        assert config["data"]["train"][0]["init_args"]["fixed_prompt"]


@pytest.mark.parametrize(
    ("shots", "passes", "patience"), [(1, 8, (8, 3)), (10, 1, (8, 3)), ("full", 1, (4, 2))]
)
def test_the_published_recipe_depends_on_the_shots(shots, passes, patience, weights, tmp_path):
    put(tmp_path / "pothole", "annotations/test.json", names={1: "pothole"})
    place = locate(SETS_13["pothole"], tmp_path)

    config = run.Run(str(weights), None, shots, 3, tmp_path / "out", [])._fit_config(place)

    (stopping,) = config["trainer"]["callbacks+"]
    steps = config["model"]["schedule"]["init_args"]["patience"]
    assert config["trainer"]["check_val_every_n_epoch"] == passes
    assert config["trainer"]["max_epochs"] == 200 * passes
    assert (stopping["init_args"]["patience"], steps) == patience
    assert ("shots" in config["data"]["train"][0]["init_args"]) == (shots != "full")


@pytest.mark.slow
def test_a_checkpoint_is_fine_tuned_by_a_shot_in_processes_of_its_own(trained_run, tmp_path, capfd):
    start = trained_run / "checkpoints/last.ckpt"
    write_pothole(tmp_path)
    still = " ".join(f"--model.optimizer.{part}=0" for part in ("lr", "backbone_lr", "text_lr"))
    common = ["odinw", f"--root={tmp_path}", "--sets=pothole", f"--output={tmp_path}/out"]

    main([*common, f"--ckpt_path={start}", "--shots=1", f"--options={QUICK} {still}"])

    folder = tmp_path / "out/shot1_seed3"
    table = json.loads((folder / "odinw.json").read_text())
    assert 0 <= table["sets"]["pothole"]["map"] <= 1
    assert "median" in capfd.readouterr().out
    first, tuned = (
        torch.load(path, weights_only=True)["state_dict"]
        for path in (start, folder / "pothole/fit/checkpoints/best.ckpt")
    )
    for name, value in first.items():
        assert torch.equal(tuned[name], value), name
