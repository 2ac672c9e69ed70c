"""What libraries say that helps nobody: advertisements, and warnings about what is on purpose."""

import logging
import warnings

from glip_pl.commands.processes import name_the_failed

# Beginnings or parts of messages of Lightning.
_NOISE = (
    *("litlogger", "litmodels", "Tip:"),
    *("GPU available:", "TPU available:", "HPU available:"),
    # Of limits that were typed.
    "was configured so",
    "to estimate number of stepping batches",
    # Checkpoints are read safely before Lightning reads them.
    "`weights_only` was not set",
    # `Closing` says what came out.
    "stopped: `max_epochs=",
    "stopped: `max_steps=",
    *("Restoring states from the checkpoint", "Restored all states from the checkpoint"),
    "Loaded model weights from the checkpoint",
    "Seed set to",
)
_EXPECTED = (
    r".*LeafSpec.*",
    # Frozen parts are in evaluation mode.
    r"Found \d+ module\(s\) in eval mode",
    # Averaged weights are whole in every process, as the model itself is.
    r"You're using the WeightAveraging callback with a",
    r".*smaller than the logging interval",
    # Metrics are computed over all processes, and so the same in each.
    r"It is recommended to use `self.log\(.*sync_dist=True",
    # A choice of the user, to which the default is the quickest start.
    r".*does not have many workers",
    # Every worker of a stream reads lanes of its own.
    r"Your `IterableDataset` has `__len__` defined",
    r".*resuming from a checkpoint that ended before the epoch ended",
    r"Checkpoint directory .* exists and is not empty",
    r"The dirpath has changed from",
    # Several processes copy some gradients once more, and get the same.
    r"Grad strides do not match bucket view strides",
    # Images a second are what is wanted, not operations.
    r"When using the `ThroughputMonitor`",
)
# What watched the training, or ended it, has nothing to do in a test.
_EXPECTED_IN_TESTS = r".*callbacks used to create the checkpoint need to be provided"


def quieten_lightning(command: str) -> None:
    """Leave these messages out of a command: fit, validate or test."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning"):
        for logger in (f"{name}.utilities.rank_zero", f"{name}.utilities.seed", name):
            logging.getLogger(logger).addFilter(_is_of_use)
    connector = "pytorch_lightning.trainer.connectors.checkpoint_connector"
    logging.getLogger(connector).addFilter(_is_of_use)
    launcher = "lightning_fabric.strategies.launchers.subprocess_script"
    logging.getLogger(launcher).addFilter(_in_our_words)
    for message in _EXPECTED:
        warnings.filterwarnings("ignore", message=message)
    if command != "fit":
        warnings.filterwarnings("ignore", message=_EXPECTED_IN_TESTS)


def _in_our_words(record: logging.LogRecord) -> bool:
    ours = name_the_failed(record.getMessage())
    if ours is not None:
        record.msg, record.args = ours, ()
    return True


def _is_of_use(record: logging.LogRecord) -> bool:
    return not any(part in record.getMessage() for part in _NOISE)
