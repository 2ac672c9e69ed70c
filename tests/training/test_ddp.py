import pytest
import torch
from helpers import CONFIGS, ROOT
from processes import run_apart


def train(arguments, tmp_path, name, *, processes, batch_size):
    """Run two steps on captions, whose prompts are not sampled; return the weights."""
    data = ROOT / "data/shapes_referring.yaml"
    options = [
        f"--config={data}",
        *arguments,
        "--data.train_transform.flip=0",
        f"--data.batch_size={batch_size}",
        "--trainer.max_steps=2",
        "--trainer.limit_val_batches=0",
        "--trainer.accelerator=cpu",
        f"--trainer.devices={processes}",
        f"--trainer.logger.init_args.name={name}",
    ]
    if processes > 1:
        options += [
            f"--config={CONFIGS}/recipe/ddp.yaml",
            "--trainer.strategy.process_group_backend=gloo",
        ]
    run_apart("fit", *options)
    (path,) = tmp_path.glob(f"runs/{name}/**/last.ckpt")
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_doubled_batch(shapes_arguments, tmp_path):
    data = [a for a in shapes_arguments if not a.endswith("data/shapes.yaml")]

    one = train(data, tmp_path, "one", processes=1, batch_size=4)
    two = train(data, tmp_path, "two", processes=2, batch_size=2)

    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=2e-5, rtol=1e-3, msg=name)
