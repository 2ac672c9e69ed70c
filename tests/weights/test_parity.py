"""This project against what official GLIP computed: numbers kept here, and the reference."""

from dataclasses import replace
from pathlib import Path

import check_parity
import pytest
import torch
from check_parity import cases, check
from helpers import REFERENCE
from parity.case import Case, compare
from parity.recipe import recipe_tensor

NUMBERS = Path(__file__).parent / "parity"
GOLDEN = REFERENCE / "golden"
LARGE = ("forward", "train_losses", "weights_check")


def param(case):
    marks = [pytest.mark.slow] if case.facts["kind"] in LARGE else []
    return pytest.param(case, id=case.path.stem, marks=marks)


@pytest.mark.parametrize("case", [param(case) for case in cases(NUMBERS)])
def test_the_numbers_kept_here_are_met(case):
    assert_met(case)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"the reference values {GOLDEN} are absent")
@pytest.mark.parametrize("case", [param(case) for case in cases(GOLDEN)])
def test_every_reference_value_is_met(case):
    assert_met(case)


def assert_met(case):
    stages = list(check(case))
    assert stages
    assert [stage for stage in stages if not stage.passed] == []


def test_a_wrong_value_is_found(tmp_path):
    (case,) = (case for case in cases(NUMBERS) if case.path.stem == "prompt_builder")
    text = case.path.read_text().replace("there are some holes", "there are many holes")
    (tmp_path / "prompt_builder.json").write_text(text)

    failed = [s.name for s in check(Case(tmp_path / "prompt_builder.json")) if not s.passed]

    assert failed == ["query 3"]


def run_script(monkeypatch, folder):
    monkeypatch.setattr("sys.argv", ["check_parity.py", str(folder)])
    return check_parity.main()


def test_the_script_fails_on_a_wrong_value_and_says_where(tmp_path, monkeypatch, capsys):
    (tmp_path / "odd.json").write_text('{"kind": "nothing known"}')

    status = run_script(monkeypatch, tmp_path)

    assert status == 1
    told = capsys.readouterr().out
    assert "no check for the kind 'nothing known'" in told
    assert "1 cases, 1 stages, 1 beyond tolerance" in told


def test_a_folder_without_cases_is_refused(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_script(monkeypatch, tmp_path)

    assert stopped.value.code == 2
    assert "there is no case in" in capsys.readouterr().err


def test_without_a_stated_tolerance_it_is_a_ten_thousandth_of_the_largest_value():
    stage = compare("x", torch.tensor([0.0, 7.9]), torch.tensor([0.0, 8.0]))

    assert stage.deviation == pytest.approx(0.1, abs=1e-6)
    assert stage.tolerance == pytest.approx(8e-4)
    assert not stage.passed
    assert replace(stage, deviation=7e-4).passed


def test_a_value_that_is_no_number_never_passes():
    assert not compare("x", torch.tensor([torch.nan]), torch.tensor([1.0])).passed


def test_the_weight_recipe_gives_its_published_numbers():
    key = "language_backbone.body.model.encoder.layer.3.attention.output.LayerNorm.weight"

    weight = recipe_tensor(key, (768,))

    assert weight[:3].tolist() == pytest.approx([1.124521, 0.942567, 1.198022], abs=1e-6)
    assert weight.sum().item() == pytest.approx(763.117851, abs=1e-3)
