"""Inputs that could hurt: pictures, prompts, options, weights and downloads."""

import json
import os
from pathlib import Path

from PIL import Image

from faults.bench import Bench, Ended, expect, fault, run
from faults.loaders import small_disk
from faults.made_up import write_image, write_set, write_splits
from faults.memory import peak
from faults.weights import predict


@fault("predict --output of the folder that holds the pictures")
def output_over_inputs(bench: Bench) -> str:
    """Write where the inputs lie."""
    folder = bench.fresh()
    before = write_image(folder / "a.png").read_bytes()
    predict(bench, bench.trained, f"--image={folder}", f"--output={folder}").done()
    expect((folder / "a.png").read_bytes() == before, "the input was written over")
    return "the picture is as it was"


@fault("predict on a.jpg, a.png and sub/a.jpg")
def equal_names(bench: Bench) -> str:
    """Detect in files of one name."""
    folder, place = bench.fresh(), bench.fresh()
    for name in ("a.jpg", "a.png", "sub/a.jpg"):
        write_image(folder / name)
    predict(bench, bench.trained, f"--image={folder}/**/*.*g", f"--output={place}").done()
    pictures = [path for path in place.rglob("a*") if path.is_file()]
    expect(len(pictures) == 3, f"{len(pictures)} pictures for three inputs")
    return "three pictures"


@fault("predict on a folder with a broken file, a folder x.jpg, a FIFO and an EPS named .jpg")
def odd_files(bench: Bench) -> str:
    """Detect among what is no picture."""
    folder, place = bench.fresh(), bench.fresh()
    good = write_image(folder / "good.png").read_bytes()
    (folder / "half.png").write_bytes(good[:2000])
    (folder / "x.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    Image.new("RGB", (8, 8)).save(folder / "eps.jpg", format="EPS")
    ended = predict(bench, bench.trained, f"--image={folder}", f"--output={place}")
    ended.done(r"half\.png", status=1)
    written = (place / "predictions.json").read_text()
    expect("good.png" in written, written)
    return "the good one is done, the others are listed, exit 1"


@fault("predict on 1 x 4000 and 4000 x 1 pixels together")
def strips(bench: Bench) -> str:
    """Detect in pictures that are all length."""
    folder = bench.fresh()
    write_image(folder / "wide.png", size=(1, 4000))
    write_image(folder / "tall.png", size=(4000, 1))
    with peak(bench) as (before, measured):
        predict(bench, bench.trained, f"--image={folder}", before=before).done()
    return f"done, {measured()}"


@fault("a prompt of 20,000 names, then of the first 10,000 of them")
def many_names(bench: Bench) -> str:
    """Ask for a whole dictionary."""
    said = []
    for count in (20_000, 10_000):
        file = bench.fresh() / "names.txt"
        file.write_text("\n".join(f"thing {k}" for k in range(count)))
        with peak(bench) as (before, measured):
            ended = predict(bench, bench.trained, f"--prompt={file}", before=before, seconds=300)
        said.append(_bounded(ended, measured()))
    return "; then ".join(said)


@fault("a prompt of one word of 100,000 letters, and one of 100,000 characters of names")
def long_prompt(bench: Bench) -> str:
    """Ask by a book."""
    _bounded(predict(bench, bench.trained, f"--prompt={'x' * 100_000}"), "")
    with peak(bench) as (before, measured):
        ended = predict(bench, bench.trained, f"--prompt={'cat. dog. ' * 10_000}", before=before)
    return _bounded(ended, measured())


def _bounded(ended: Ended, measured: str) -> str:
    if ended.status == 2:
        return ended.refused()
    ended.done()
    return f"done, {measured}"


@fault("a lone surrogate in a prompt, as a terminal of another encoding sends it")
def lone_surrogate(bench: Bench) -> str:
    """Ask in bytes that are no text."""
    return predict(bench, bench.trained, "--prompt=cat\udce9. dog").refused("--prompt|prompt")


@fault("a file of names that is not there")
def missing_names(bench: Bench) -> str:
    """Ask by a file that is missing."""
    return predict(bench, bench.trained, "--prompt=clases.txt").refused("no file of names")


@fault("--device=cuda without one")
def missing_device(bench: Bench) -> str:
    """Ask for what the machine has not."""
    return predict(bench, bench.trained, "--device=cuda").refused("no device 'cuda'")


@fault("an option of 100,000 opening brackets")
def brackets(bench: Bench) -> str:
    """Nest without end."""
    return bench.glip(*bench.fit(bench.fresh()), f"--data.train={'[' * 100_000}").refused("levels")


@fault("a YAML whose aliases stand for 10^9 values")
def yaml_of_aliases(bench: Bench) -> str:
    """Write a bomb of aliases."""
    path = bench.fresh() / "bomb.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 10)]
    path.write_text("\n".join(lines))
    return bench.glip(*bench.fit(bench.fresh()), f"--config={path}").refused("stands for more")


@fault("a folder of weights whose receipt.json, then model.yaml is cut off")
def damaged_folder(bench: Bench) -> str:
    """Damage what glip convert wrote."""
    said = ""
    for name in ("receipt.json", "model.yaml"):
        place = bench.fresh() / "weights"
        bench.glip("convert", str(bench.trained), str(place)).done()
        expect((place / name).is_file(), f"{sorted(p.name for p in place.iterdir())}")
        (place / name).write_text('{"a": [')
        said = predict(bench, place).refused(name)
    return said


@fault("predict --output on a disk that is full")
def full_disk_of_predict(bench: Bench) -> str:
    """Run out of disk while pictures are written."""
    place = bench.fresh()
    full = small_disk(str(place), 4)
    folder = bench.fresh()
    for k in range(4):
        write_image(folder / f"{k}.png", k)
    return predict(
        bench, bench.trained, f"--image={folder}", f"--output={place}", before=full
    ).refused("No space left on device")


@fault("apostrophes, dollars and blanks in every setting of make")
def make_quoting(bench: Bench) -> str:
    """Type what shells take for their own."""
    root = Path(__file__).parents[2]
    typed = """men's shoes. a $100 bill."""
    programs = bench.fresh() / "bin"
    programs.mkdir()
    (programs / "glip").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    (programs / "glip").chmod(0o755)
    for name in (".ready", ".ready-small"):
        (programs.parent / name).touch()

    def make() -> None:
        settings = [f"{name}={typed}" for name in ("PROMPT", "IMAGE", "CKPT", "OUTPUT")]
        os.chdir(root)
        os.execvp("make", ["make", "-s", f"VENV={programs.parent}", "predict", *settings])

    ended = run(make)
    expect(ended.said.count(typed) == 4, ended.said)
    return "each reaches glip as typed"


@fault("a JSON nested 100,000 deep, ids of 2^63, and names that are not UTF-8")
def odd_json(bench: Bench) -> str:
    """Annotate in ways that break readers."""
    texts = {
        "nested": '{"images": ' + "[" * 100_000,
        "not UTF-8": None,
        "ids of 2^63": json.dumps({"images": [{"id": 2**63, "file_name": "0.png"}]}),
    }
    said = ""
    for text in texts.values():
        root = write_set(bench.fresh(), 4)
        if text is not None:
            write_splits(root, text)
        else:
            for path in (root / "annotations").iterdir():
                path.write_bytes(path.read_bytes().replace(b'"cat"', b'"c\xe9t"'))
        ended = bench.glip(*bench.fit(bench.fresh(), root))
        said = ended.refused()
    return said
