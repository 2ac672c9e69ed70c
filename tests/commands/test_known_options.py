"""Wrong options are told before anything slow is imported."""

import subprocess
import sys

import pytest

from glip_pl.commands.known_options import refuse_unknown
from glip_pl.training.run_logger import discard_unused


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--trainer.max_epoch=3", "--trainer.max_epochs"),
        ("--model.fusin=x", "--model.fusion"),
        ("--data.rot=x", "--data.root"),
        ("--ckpt_pat=x", "--ckpt_path"),
        ("--data.sampling.weight=[1]", "--data.sampling.weights"),
        ("--model.tuning.mod=lora", "--model.tuning.mode"),
        # The nearest is of before.
        ("--model.tun=lora", "--model.tuning.mode"),
        ("--data.group_by_aspct=true", "--data.sampling.group_by_aspect"),
    ],
)
def test_a_wrong_option_is_told_with_the_nearest_name(typed, meant):
    with pytest.raises(ValueError, match=rf"no option {typed.partition('=')[0]}; .*{meant}\?"):
        refuse_unknown("fit", [typed])


def test_right_options_pass():
    typed = [
        *("--data=shapes", "--trainer.callbacks+=x", "--trainer.callbacks.decay=1", "--new=[x]"),
        *("--model.fusion.init_args.num_layers=2", "--model.optimizer.lr=1", "--trainer.help"),
    ]

    refuse_unknown("fit", typed)


def test_a_wrong_option_does_without_torch_and_lightning():
    code = (
        "import sys\nfrom glip_pl.cli import main\n"
        "try: main(['fit', '--data=shapes', '--trainer.max_epoch=3'])\n"
        "except SystemExit as end: print(end.code, {'torch', 'pytorch_lightning'} & {*sys.modules})"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "2 set()\n"


def test_the_folder_of_a_run_that_never_began_is_removed(tmp_path):
    folder = tmp_path / "runs/deep-tiny-shapes/version_0"
    for name in ("config.yaml", "hparams.yaml", "events.out.tfevents.1"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()

    discard_unused(folder, [folder.parent, folder.parent.parent])

    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_other_runs_stays_when_one_never_began(tmp_path):
    for version in ("version_0", "version_1"):
        (tmp_path / f"runs/{version}").mkdir(parents=True)

    discard_unused(tmp_path / "runs/version_1", [tmp_path / "runs"])

    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["version_0"]


def test_a_folder_with_a_checkpoint_stays(tmp_path):
    path = tmp_path / "version_0/checkpoints/last.ckpt"
    path.parent.mkdir(parents=True)
    path.touch()

    discard_unused(tmp_path / "version_0")

    assert path.exists()
