import subprocess

import pytest
import torch

from glip_pl.system.machine import choose_device, commit_of, matrix_units


@pytest.mark.parametrize("name", ["gpu7", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(ValueError, match=rf"there is no device '{name}' here .*--device=cpu"):
        choose_device(name)


def test_a_processor_is_always_there():
    assert choose_device("cpu").type == "cpu"


def test_a_processor_names_its_vector_units():
    units = matrix_units(torch.device("cpu"))

    assert units.split(", ")[0] == torch.backends.cpu.get_cpu_capability()


def test_a_checkout_has_a_commit_and_another_folder_none(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    assert commit_of(tmp_path) == ""
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "file").write_text("one")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)

    clean = commit_of(tmp_path / "file")
    (tmp_path / "file").write_text("two")

    assert len(clean) == 10
    assert commit_of(tmp_path / "file") == f"{clean}+"
