"""What a run writes, and what TensorBoard shows of it."""

from types import SimpleNamespace

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from glip_pl.system.screen import wrapped
from glip_pl.training.progress import Closing, Progress
from glip_pl.training.run_logger import RunLogger


def closing(capsys, metrics, data=("--data=shapes",), log_dir="runs/test-shapes/version_0"):
    """The lines that a test of a checkpoint ends with."""
    trainer = SimpleNamespace(
        is_global_zero=True,
        sanity_checking=False,
        callback_metrics=metrics,
        ckpt_path="runs/deep-tiny-shapes/version_0/checkpoints/best.ckpt",
        logger=SimpleNamespace(log_dir=log_dir, save_dir="runs"),
    )
    Closing(data).teardown(trainer, None, "test")
    return capsys.readouterr().out.splitlines()


def test_a_test_ends_with_rounded_scores_and_where_the_results_lie(capsys):
    lines = closing(capsys, {"test/score": 0.123456, "test/x/map_large": -1, "train/loss": 1})

    assert [line.split() for line in lines[1:3]] == [
        ["│", "test/score", "│", "0.123", "│"],
        ["│", "test/x/map_large", "│", "-", "│"],
    ]
    assert "results: runs/test-shapes/version_0" in lines


def test_a_logger_without_a_folder_of_the_run_is_told_by_that_of_all(capsys):
    assert "results: runs" in closing(capsys, {"test/score": 0.1}, log_dir=None)


def test_of_many_names_the_score_of_each_is_left_to_the_results(capsys):
    each = {f"test/x/class/{i}": 0.5 for i in range(21)}

    assert not any("class" in line for line in closing(capsys, {"test/score": 0.1, **each}))


def test_the_next_command_fits_into_eighty_columns(capsys):
    lines = closing(capsys, {"test/score": 0.1})

    assert lines[-3] == "next:    glip predict \\"
    assert max(map(len, lines)) <= 80


def test_an_epoch_without_a_step_of_this_run_has_no_line(caplog):
    trainer = SimpleNamespace(max_epochs=2, current_epoch=0, global_step=2, callback_metrics={})
    progress = Progress()
    progress.disable()

    with caplog.at_level("INFO"):
        progress.on_train_epoch_end(trainer, None)

    assert not caplog.records


def test_long_lines_are_wrapped_and_paths_stay_whole():
    text = "memory: " + "a b " * 40 + "\n" + "x" * 100

    assert max(map(len, wrapped(text).splitlines()[:-1])) <= 80
    assert wrapped(text).splitlines()[-1] == "x" * 100


def test_hyper_parameters_bring_no_score_that_nobody_measured(tmp_path):
    logger = RunLogger(str(tmp_path))
    logger.log_hyperparams({"optimizer": {"lr": 0.1}})
    logger.log_metrics({"val/score": 0.5, "epoch": 0}, 3)
    logger.finalize("success")

    events = EventAccumulator(logger.log_dir)
    events.Reload()
    assert [event.step for event in events.Scalars("val/score")] == [3]
    assert "train/epoch" in events.Tags()["scalars"]
    described = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"optimizer/lr" in described
    assert b"val/score" in events.summary_metadata["_hparams_/experiment"].plugin_data.content


def test_the_scores_have_room_beside_the_bar_of_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    narrow = Progress().configure_columns(None)
    monkeypatch.setenv("COLUMNS", "120")

    assert [column.bar_width for column in narrow if hasattr(column, "bar_width")] == [6]
    assert len(narrow) == len(Progress().configure_columns(None)) - 1
