from helpers import CONFIGS
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from glip_pl.cli import main


def test_a_monitored_run_logs_how_many_images_it_sees(shapes_arguments, tmp_path):
    options = [
        f"--config={CONFIGS}/recipe/monitor.yaml",
        "--trainer.callbacks.init_args.window_size=2",
        "--trainer.limit_val_batches=0",
    ]
    main(["fit", *shapes_arguments, *options])  # Two steps of four images.

    events = EventAccumulator(str(tmp_path / "runs/run/version_0"))
    events.Reload()
    assert [event.value for event in events.Scalars("train/samples")] == [4, 8]
    (rate,) = events.Scalars("train/device/samples_per_sec")
    (first, last) = events.Scalars("train/time")
    assert abs(rate.value * (last.value - first.value) - 4) < 0.01
