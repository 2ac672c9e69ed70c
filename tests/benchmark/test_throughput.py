"""Images a second of a set."""

import pytest
from benchmarks.kept import read_kept

from glip_pl.cli import main


@pytest.mark.parametrize("train", ["false", pytest.param("true", marks=pytest.mark.slow)])
def test_a_set_is_timed_beside_the_model_alone_and_kept(train, shapes_root, tmp_path, capsys):
    main(
        [
            *("benchmark", "--model=tiny", "--fusion=late", "--data=shapes"),
            *(f"--root={shapes_root}", "--batch_size=2", "--images=3", "--num_workers=0"),
            *(f"--train={train}", f"--json_file={tmp_path}/found.json"),
        ]
    )

    shown, (run,) = capsys.readouterr().out, read_kept(tmp_path)
    assert "loader alone" in shown
    assert "with its loader" in shown
    assert run.report["images"] == 4
    assert run.what.endswith("shapes x 2, 0 workers, fp32, per image")
    assert run.seconds > 0


def test_a_set_has_no_baseline(capsys):
    with pytest.raises(SystemExit):
        main(["benchmark", "--model=tiny", "--data=shapes", "--baseline=true"])

    assert "leave --baseline and --compile out" in capsys.readouterr().err
