"""What must hold on a GPU: parity, drift in half precision, training, processes, compiling, memory.

All of it runs on a CPU as well, with small models, but for what only CUDA has.
"""

import copy

import pytest
import torch
from small_models import built, inputs
from small_task import small_task
from tiny_run import fit, write_set
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from glip_pl.benchmark.baseline import written_out
from glip_pl.benchmark.equality import compare
from glip_pl.benchmark.published import describe, random_task
from glip_pl.benchmark.vocabulary import names_to_detect
from glip_pl.benchmark.workload import Detect, DetectOfficially, Train
from glip_pl.data import Pipeline
from glip_pl.layers.attention import BiAttention
from glip_pl.training.numbers import SkipNonFinite

pytestmark = pytest.mark.gpu
PLUGINS = pytest.mark.parametrize("plugin", ["late", "deep", "query"])


@pytest.fixture(autouse=True)
def full_digits(monkeypatch):
    """Convolutions on a GPU round to ten bits unless told otherwise."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def arrangements(task, size, names=80):
    """The task's model as it is, and as official GLIP is."""
    options = {"names": names_to_detect(names), "size": size}
    pair = (
        Detect(task, task.model, **options),
        DetectOfficially(task, written_out(task.model), **options),
    )
    for workload in pair:
        workload.prepare()
    return pair


def assert_same(found):
    assert found.values < 1e-4
    assert found.boxes < 0.01
    assert found.detections > 0
    assert found.unmatched == 0


def test_fp32_computes_what_official_glip_does(device):
    ours, official = arrangements(small_task().to(device), (96, 128), names=3)

    assert_same(compare(ours.result(), official.result()))


def test_so_does_glip_t_at_full_size(cuda):
    ours, official = arrangements(random_task(describe("glip_t")).to(cuda), (800, 1333))

    assert_same(compare(ours.result(), official.result()))


def moved(model, device):
    """A model and its inputs on a device."""
    images, mask, tokens = inputs(model)
    return model.to(device), (images.to(device), mask.to(device), tokens.to(device))


@PLUGINS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_moves_scores_and_boxes_little(device, plugin, dtype):
    model, given = moved(built(plugin), device)
    with torch.no_grad():
        exact = model(*given)
        with torch.autocast(device.type, dtype):
            rough = model(*given)

    assert (rough.logits.sigmoid() - exact.logits.sigmoid()).abs().max() < 0.05
    assert (rough.boxes - exact.boxes).abs().max() < 0.05 * 64


@PLUGINS
def test_a_cpu_computes_the_same(device, plugin):
    model = built(plugin)
    with torch.no_grad():
        expected = model(*inputs(model))
        model, given = moved(model, device)
        found = model(*given)

    torch.testing.assert_close(found.logits.cpu(), expected.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.boxes.cpu(), expected.boxes, atol=1e-2, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_training_steps_have_finite_losses_and_weights(device, precision, tmp_path):
    skip = SkipNonFinite()
    # On a CPU, oneDNN's gradient of a convolution in bf16 over a single cell is left to chance.
    larger = {"train_transform": Pipeline(short_sides=(160,), max_side=256)}

    trainer, _ = fit(
        write_set(tmp_path, count=2),
        tmp_path,
        skip,
        accelerator=device.type,
        precision=precision,
        task=small_task(),
        data=larger,
        limit_val_batches=0,
    )

    assert trainer.global_step == 2
    assert skip.skipped == 0
    assert all(torch.isfinite(p).all() for p in trainer.lightning_module.parameters())


def test_a_training_step_in_half_precision_has_gradients_as_in_full(device):
    def step(precision):
        task = small_task().to(device)
        work = Train(task, task.model, names=names_to_detect(3), size=(96, 128))
        work.prepare()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = work._loss()
        loss.backward()
        return loss.item(), task.model.fusion.tower[0].same.weight.grad.flatten()

    loss, exact = step("fp32")
    near, rough = step("bf16")

    assert near == pytest.approx(loss, rel=0.05)
    assert torch.nn.functional.cosine_similarity(exact, rough, dim=0) > 0.95


def test_a_process_group_of_one_trains_as_no_group_does(device, tmp_path):
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(
        backend, init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1
    )
    try:
        model, given = moved(built("deep"), device)
        alone = copy.deepcopy(model)
        together = DistributedDataParallel(model, find_unused_parameters=True)
        for network in (alone, together):
            network(*given).logits.sigmoid().sum().backward()
    finally:
        distributed.destroy_process_group()

    for one, other in zip(alone.parameters(), model.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_a_compiled_exchange_computes_the_same(device):
    block = BiAttention(32, 64, d_attention=64, num_heads=2).eval().to(device)
    image, text = torch.randn(2, 48, 32, device=device), torch.randn(2, 8, 64, device=device)
    mask = torch.ones(2, 8, dtype=torch.bool, device=device)
    backend = "inductor" if device.type == "cuda" else "aot_eager"
    with torch.no_grad():
        expected = block(image, text, mask)
        found = torch.compile(block, fullgraph=True, backend=backend)(image, text, mask)

    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_so_does_a_compiled_model(cuda):
    model, given = moved(built("deep"), cuda)
    with torch.no_grad():
        expected = model(*given).logits
        image, text = model.encode_image(*given[:2]), model.encode_text(given[2])
        found = torch.compile(model.ground, fullgraph=True)(image, text)

    torch.testing.assert_close(found.logits, expected, atol=1e-4, rtol=1e-4)


def test_the_exchange_needs_little_more_memory_than_the_image(cuda):
    block = BiAttention(256, 768).eval().to(cuda)
    image, text = torch.randn(1, 22_000, 256, device=cuda), torch.randn(1, 256, 768, device=cuda)
    mask = torch.ones(1, 256, dtype=torch.bool, device=cuda)
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        block(image, text, mask)
        before = torch.cuda.memory_allocated(cuda)
        torch.cuda.reset_peak_memory_stats(cuda)
        block(image, text, mask)

    # The image in fp32 takes 23 MB; the scores of all heads would take 90 in bf16.
    assert torch.cuda.max_memory_allocated(cuda) - before < 5 * 4 * image.numel()


@PLUGINS
def test_no_layer_makes_the_gpu_wait(cuda, plugin):
    model, given = moved(built(plugin), cuda)
    with torch.no_grad():
        model(*given)
        try:
            torch.cuda.set_sync_debug_mode("error")
            model(*given)
        finally:
            torch.cuda.set_sync_debug_mode("default")


@PLUGINS
def test_a_model_can_be_captured_as_a_graph(cuda, plugin):
    model, given = moved(built(plugin), cuda)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad():
        expected = model(*given).logits
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            captured = model(*given).logits
        graph.replay()
    torch.cuda.synchronize()

    torch.testing.assert_close(captured, expected, atol=1e-4, rtol=1e-4)
