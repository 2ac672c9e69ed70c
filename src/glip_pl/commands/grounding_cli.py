"""LightningCLI for the grounding task: what ``glip fit``, ``validate`` and ``test`` share."""

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities import rank_zero_info

from glip_pl.commands.grounding_parser import (
    GroundingParser,
    add_options,
    with_plugin_options,
)
from glip_pl.commands.messages import in_short
from glip_pl.commands.plugin_options import plugin_options
from glip_pl.commands.resume import WORDS, keep_postprocess, newest, overridden
from glip_pl.commands.said import said
from glip_pl.configs.class_paths import accept_moved_classes
from glip_pl.configs.moved import current_options
from glip_pl.configs.names import expand
from glip_pl.data import GroundingDataModule
from glip_pl.plugins import fusion_plugins
from glip_pl.system.screen import wrapped
from glip_pl.training.callbacks import last_of_each
from glip_pl.training.progress import Closing
from glip_pl.training.run_logger import discard_unused
from glip_pl.training.task import GroundingTask
from glip_pl.weights import Weights, read_weights
from glip_pl.weights.run_checkpoint import read_checkpoint

# Libraries that look at options when they build what these describe.
_REFUSING = ("pytorch_lightning", "lightning_fabric", "jsonargparse")


class GroundingCLI(LightningCLI):
    """LightningCLI that states each size once and lets a checkpoint describe its own model."""

    _weights: Weights | None = None

    def __init__(self, args: list[str], *, data: Sequence[str] = ()) -> None:
        """Parse and run.

        Args:
            args: The command and its options, names expanded.
            data: Options of the data as they were typed, for the command to type next.
        """
        self._command, self._typed_data = args[0], data
        fusion_plugins()  # Makes the plugins' class names known to the parser.
        accept_moved_classes()
        super().__init__(
            GroundingTask,
            GroundingDataModule,
            args=args,
            # Our optimizer settings replace the generic options.
            auto_configure_optimizers=False,
            save_config_kwargs={"overwrite": True},
            parser_class=GroundingParser,
            parser_kwargs={"prog": "glip"},
        )

    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand != "fit":
            # `Closing` writes a table of its own.
            parser.set_defaults({"verbose": False})
        return parser

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Describe the command that is run alone: the options of each take half a second."""
        return {self._command: LightningCLI.subcommands()[self._command]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the weights, link the sizes, and set the model of defaults.yaml."""
        add_options(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and refuse a checkpoint that is not one or is of another model."""
        # Not by Lightning's method, which warns that sys.argv has arguments, too. From there,
        # Lightning starts further processes.
        assert isinstance(args, list)
        command, *given = args
        given = self._given = current_options(expand(command, given))
        self.config = parser.parse_args([command, *given])
        options = plugin_options(self.config[command], given)
        if options:
            model = self.config[command].model
            model.fusion = with_plugin_options(command, model.fusion, options)
        command = self.config.get("subcommand")
        path = self._name_checkpoint(command) if command else None
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
        if path == "hpc" and command == "fit":  # What SLURM's warning saved.
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

    def _name_checkpoint(self, command: str) -> str | None:
        """Put the path in the place of "last" and "best"."""
        options = self.config[command]
        path: str | None = options.get("ckpt_path")
        if path not in WORDS:
            return path
        if command == "fit" and path == "best":
            raise ValueError("a run is resumed from its last state; pass --ckpt_path=last")
        options.ckpt_path = newest(command, path, options.trainer)
        rank_zero_info(f"--ckpt_path={path} is {options.ckpt_path}")
        return str(options.ckpt_path)

    def _parse_ckpt_path(self) -> None:
        """Let a checkpoint describe its model, by the class paths of today; say what it decides."""
        command = self.config.get("subcommand")
        path = self.config[command].get("ckpt_path") if command else None
        if not path or not Path(path).is_file():
            return
        checkpoint = read_checkpoint(path)
        described = checkpoint["hyper_parameters"]
        unused = self._describe(command, described)
        if command != "fit":
            self._tell(f"the model is that of {path}, so these have no effect:", unused)
            return
        seed = self.config[command].get("seed_everything")
        if checkpoint.get("seed", seed) != seed:
            unused.append(f"--seed_everything={seed} (it has {checkpoint['seed']})")
        self._tell(
            "the resumed run goes on as its checkpoint says, so these have no effect; to use them, "
            f"start a new run by --weights={path}:",
            unused,
        )

    def _describe(self, command: str, described: Mapping[str, Any]) -> list[str]:
        """Put a description in the place of the model that was asked for.

        Returns:
            What was asked for in vain; no evaluation asks for what defaults say.
        """
        described = {key: value for key, value in described.items() if key != "_instantiator"}
        asked = self.config[command].model.clone()
        self.config = self.parser.parse_object({command: {"model": described}}, self.config)
        decided = self.config[command].model
        if command == "fit":
            return overridden(asked, decided)
        names = list(said(self._given, "model"))
        keep_postprocess(asked, decided, names)
        return overridden(asked, decided, names)

    def _tell(self, what: str, options: Sequence[str]) -> None:
        if options:
            rank_zero_info("\n  ".join([wrapped(what), *options]))

    def _take_weights(self, command: str, source: str) -> None:
        """Let the weights describe the model, or in training its text encoder alone."""
        self._weights = read_weights(source, trust=self.config[command].trust)
        described = self._weights.hyper_parameters
        if command == "fit":
            # The rest is chosen by the run, which may freeze or drop more than the original did.
            text = {command: {"model": {"text": described["text"]}}}
            self.config = self.parser.parse_object(text, self.config)
            return
        unused = self._describe(command, described)
        self._tell(f"the model is that of {source}, so these have no effect:", unused)

    def instantiate_classes(self) -> None:
        """Build trainer, model and data; what a library refuses is the user's choice.

        Raises:
            ValueError: The trainer or the parser refuses an option.
        """
        try:
            super().instantiate_classes()
        except (ValueError, TypeError) as error:
            place = traceback.extract_tb(error.__traceback__)[-1].filename
            if not any(package in Path(place).parts for package in _REFUSING):
                raise
            raise ValueError(in_short(str(error))) from error

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        given = config["callbacks"]
        if isinstance(given, list):
            config["callbacks"] = last_of_each(given)
        return super()._instantiate_trainer(config, callbacks)

    def after_instantiate_classes(self) -> None:
        """Load the weights of the model, and add a table at the end of the run."""
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        callbacks.append(Closing(self._typed_data))
        new = self.config[self.config.subcommand].new
        self.model.takes_new_names = "vocabulary" in new
        if self._weights is not None:
            self._weights.give(self.model.model, new=[part for part in new if part != "vocabulary"])

    def _run_subcommand(self, subcommand: str) -> None:
        """Run, and leave no folder behind of a run that never began."""
        logger = self.trainer.logger
        folder = Path(logger.log_dir) if logger is not None and logger.log_dir else None
        is_new = folder is not None and self.trainer.is_global_zero and not folder.exists()
        made = [place for place in folder.parents if not place.exists()] if folder else []
        try:
            super()._run_subcommand(subcommand)
        except BaseException:
            if logger is not None and folder is not None and is_new and folder.is_dir():
                logger.finalize("failed")
                discard_unused(folder, made)
            raise
