"""The command line: ``glip fit|validate|test|predict|convert|compare``, by files and options.

`fit`, `validate` and `test` are LightningCLI's; `predict` works on image files and a prompt rather
than on a data set, `convert` on checkpoints and `compare` on test runs: see the modules of these
names.
"""

import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import NoReturn

from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI

import glip_pl
from glip_pl.commands.adapter import run_adapter
from glip_pl.commands.audit import run_audit
from glip_pl.commands.benchmark import run_benchmark
from glip_pl.commands.blend import run_blend
from glip_pl.commands.calibrate import run_calibrate
from glip_pl.commands.compare import run_compare
from glip_pl.commands.convert import run_convert
from glip_pl.commands.data import run_data
from glip_pl.commands.export import run_export
from glip_pl.commands.odinw import run_odinw
from glip_pl.commands.predict import run_predict
from glip_pl.data import GroundingDataModule
from glip_pl.plugins import fusion_plugins
from glip_pl.system.memory import keep_freed_memory
from glip_pl.training.task import GroundingTask
from glip_pl.weights import Weights, read_weights
from glip_pl.weights.class_paths import accept_moved_classes
from glip_pl.weights.run_checkpoint import read_checkpoint

DESCRIPTION = """Detect and ground anything that has a name.

fit, validate and test take configuration files and options; options that come later win.
`glip data check|convert|show` looks after data sets of many formats.
`glip predict --help` describes detection in image files of your own, and `glip convert --help` how
checkpoints of official GLIP come here and go back. `glip compare A B` tells whether two test runs
differ by more than chance.
"""

# What is no subcommand of Lightning's, since it trains or tests nothing.
COMMANDS = {
    "benchmark": run_benchmark,
    "predict": run_predict,
    "data": run_data,
    "convert": run_convert,
    "odinw": run_odinw,
    "compare": run_compare,
    "adapter": run_adapter,
    "calibrate": run_calibrate,
    "blend": run_blend,
    "audit": run_audit,
    "export": run_export,
}


class GroundingParser(LightningArgumentParser):
    """A parser whose errors are the error alone, without pages of usage before it."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print what is wrong, and the installed plugins where that may be the reason."""
        if not self.exit_on_error:
            super().error(message, ex)
        if "FusionPlugin" in message or "model.fusion" in message:
            names = ", ".join(plugin.__name__ for plugin in fusion_plugins().values())
            message += f"\nThe installed fusion plugins are {names}."
        raise SystemExit(_report(f"{message}\nglip --help and glip fit --help list the options."))


class GroundingCLI(LightningCLI):
    """LightningCLI that states each size once and lets a checkpoint describe its own model."""

    _weights: Weights | None = None

    def __init__(self, args: ArgsType = None, *, run: bool = True) -> None:
        fusion_plugins()  # Makes the plugins' class names known to the parser.
        accept_moved_classes()
        super().__init__(
            GroundingTask,
            GroundingDataModule,
            args=args,
            run=run,
            # Our optimizer settings replace the generic options.
            auto_configure_optimizers=False,
            save_config_kwargs={"overwrite": True},
            parser_class=GroundingParser,
            parser_kwargs={"prog": "glip", "description": DESCRIPTION},
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's subcommands that run on a data module."""
        all_of_them = LightningCLI.subcommands()
        return {name: all_of_them[name] for name in ("fit", "validate", "test")}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the weights, link the sizes, and let the tiny late model be the default."""
        parser.add_argument(
            "--weights",
            type=str | None,
            default=None,
            help="Start from these weights: a folder of `glip convert`, a file of official GLIP, "
            "or a published name such as glip_t. To resume a run of `glip fit`, use --ckpt_path.",
        )
        parser.link_arguments("model.d_text", "model.text.init_args.d_text")
        # A plugin takes those of them that its constructor has.
        for name in (
            *("d_model", "d_text", "num_layers", "dropout"),
            *("anchor_scale", "still_start", "checkpoint_layers"),
        ):
            parser.link_arguments(f"model.{name}", f"model.fusion.init_args.{name}")
        # Where a checkpoint is given, what it says of its model takes the place of these.
        parser.set_defaults(
            {
                "model.backbone": {"class_path": "glip_pl.backbones.TinyBackbone"},
                "model.text": {"class_path": "glip_pl.text.TinyBert"},
                "model.fusion": {"class_path": "fusion_plugins.late.LateFusion"},
                "model.d_model": 64,
                "model.d_text": 128,
                "model.num_layers": 2,
                "model.dropout": 0.0,
                "model.anchor_scale": 4.0,
                "model.extra_levels": 0,
            }
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and refuse a checkpoint that is not one or is of another model."""
        super().parse_arguments(parser, args)
        command = self.config.get("subcommand")
        path = self.config[command].get("ckpt_path") if command else None
        weights = self.config[command].get("weights") if command else None
        if weights is not None:
            if path is not None:
                raise ValueError("--weights and --ckpt_path exclude each other; pass one of them")
            self._take_weights(command, weights)
            return
        if path is None:
            if command in ("validate", "test"):
                raise ValueError(
                    f"glip {command} needs a trained model; pass --ckpt_path=PATH or --weights=PATH"
                )
            return
        if path in ("best", "last", "hpc", "registry"):
            return
        described = read_checkpoint(path)["hyper_parameters"]
        if command == "fit":
            asked, found = self.config.fit.model, described
            for part in ("backbone", "text", "fusion"):
                if (
                    asked[part].class_path.rpartition(".")[2]
                    != (found[part]["class_path"].rpartition(".")[2])
                ):
                    raise ValueError(
                        f"the checkpoint {path!r} has the {part} {found[part]['class_path']}, but "
                        f"the run asks for {asked[part].class_path}; resume with the model that "
                        "the checkpoint was trained with"
                    )

    def _parse_ckpt_path(self) -> None:
        """Let a checkpoint describe its model, by the class paths of today."""
        command = self.config.get("subcommand")
        path = self.config[command].get("ckpt_path") if command else None
        if path and Path(path).is_file():
            described = read_checkpoint(path)["hyper_parameters"]
            described = {key: value for key, value in described.items() if key != "_instantiator"}
            self.config = self.parser.parse_object({command: {"model": described}}, self.config)

    def _take_weights(self, command: str, source: str) -> None:
        """Let the weights describe the model, or in training its text encoder alone."""
        self._weights = read_weights(source)
        described = self._weights.hyper_parameters
        if command == "fit":
            # The rest is chosen by the run, which may freeze or drop more than the original did.
            described = {"text": described["text"]}
        self.config = self.parser.parse_object({command: {"model": described}}, self.config)

    def after_instantiate_classes(self) -> None:
        """Give the model its weights."""
        if self._weights is not None:
            self._weights.give(self.model.model)


def main(args: list[str] | None = None) -> None:
    """Run the command line; a user's mistake ends in one message and exit status 2."""
    arguments = list(sys.argv[1:] if args is None else args)
    # Tokenizers run in data loader workers; their own threads would only warn about the fork.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    _quieten_lightning()
    try:
        # The benchmark does it between the official arrangement and ours.
        if arguments[:1] != ["benchmark"]:
            keep_freed_memory()
        if arguments and arguments[0] in COMMANDS:
            COMMANDS[arguments[0]](arguments[1:])
        else:
            # None lets Lightning read sys.argv itself, from which it also starts further processes.
            GroundingCLI(args if arguments else ["--help"])
    except ValueError as error:
        if not _raised_by_us(error):
            raise
        raise SystemExit(_report(str(error))) from error


def _report(message: str) -> int:
    """Tell the user what went wrong; give the exit status for it."""
    sys.stderr.write(f"glip: error: {message}\n")
    return 2


def _quieten_lightning() -> None:
    """Leave out advertisements, and warnings about what is done on purpose."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(_is_no_advertisement)
    warnings.filterwarnings("ignore", message=r".*LeafSpec.*")
    # Frozen parts are in evaluation mode.
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
    # Averaged weights are whole in every process, as the model itself is.
    warnings.filterwarnings("ignore", message=r"You're using the WeightAveraging callback with a")


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return not any(product in record.getMessage() for product in ("litlogger", "litmodels"))


def _raised_by_us(error: BaseException) -> bool:
    """Whether an error is one of our messages to the user, and not a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = Path(glip_pl.__file__).parent
    return bool(frames) and Path(frames[-1].filename).is_relative_to(ours)
