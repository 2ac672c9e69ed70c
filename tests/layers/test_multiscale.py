import pytest
import torch
from transformers import GroundingDinoConfig
from transformers.models.grounding_dino import modeling_grounding_dino as oracle

from glip_pl.layers.map_sampling import Maps
from glip_pl.layers.multiscale import CellGrid, DeformableAttention
from glip_pl.layers.table_layout import Layout
from glip_pl.layers.table_sampling import Table

SIZES, STRIDES = ((4, 6), (2, 3), (1, 2)), (8, 16, 32)


def grid(real=((32, 48), (32, 24))):
    """Three levels over 32x48 pixels; the second image has columns of padding."""
    pixels = torch.zeros(len(real), 32, 48, dtype=torch.bool)
    for b, (height, width) in enumerate(real):
        pixels[b, :height, :width] = True
    levels = [torch.zeros(len(real), 1, *size) for size in SIZES]
    return CellGrid.of(pixels, levels, STRIDES)


def attention():
    torch.manual_seed(0)
    module = DeformableAttention(16, 4, num_levels=3, num_points=2)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def oracle_attention(module):
    """The attention of transformers with the same weights."""
    config = GroundingDinoConfig(d_model=16, num_feature_levels=3)
    theirs = oracle.GroundingDinoMultiscaleDeformableAttention(config, num_heads=4, n_points=2)
    names = {"sampling_offsets": "offsets", "attention_weights": "weights"}
    names |= {"value_proj": "value", "output_proj": "out"}
    for name, own in names.items():
        getattr(theirs, name).load_state_dict(getattr(module, own).state_dict())
    return theirs


@pytest.mark.parametrize("coordinates", [2, 4])
@pytest.mark.parametrize("grad", [False, True])
def test_attention_is_that_of_transformers(coordinates, grad):
    module, lattice = attention(), grid()
    query, cells = torch.randn(2, 5, 16), torch.randn(2, 32, 16)
    reference = torch.rand(2, 5, coordinates) * 1.2 - 0.1
    sizes = torch.tensor(SIZES)
    ratios = lattice.extent / sizes.flip(-1)
    starts = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])

    with torch.set_grad_enabled(grad):
        found = module(query, reference, cells, lattice)

    expected, _ = oracle_attention(module)(
        query,
        attention_mask=lattice.mask,
        encoder_hidden_states=cells,
        reference_points=reference[:, :, None] * ratios.repeat(1, 1, coordinates // 2)[:, None],
        spatial_shapes=sizes,
        spatial_shapes_list=list(SIZES),
        level_start_index=starts,
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_place_between_two_cells_reads_the_mean_of_both():
    values = torch.tensor([1.0, 3.0]).view(1, 2, 1)
    x, y, weight = torch.tensor([0.5, 0.0, 1.0]).view(3, 1, 1, 1)

    assert Table.of(values, Layout.of([(1, 2)], 1, 1)).sample(x, y, weight).item() == 2.0


def test_half_a_cell_outside_a_place_reads_half_of_the_cell():
    values = torch.tensor([1.0, 3.0]).view(1, 2, 1)
    x, y, weight = torch.tensor([-0.5, 0.0, 1.0]).view(3, 1, 1, 1)

    assert Table.of(values, Layout.of([(1, 2)], 1, 1)).sample(x, y, weight).item() == 0.5


LAYOUT = Layout.of(SIZES, heads=4, points=2)


def inputs():
    torch.manual_seed(1)
    values = torch.randn(2, 32, 8, dtype=torch.float64, requires_grad=True)
    places = [
        (torch.rand(2, 5, 24, dtype=torch.float64) * 9 - 2).requires_grad_() for _ in range(2)
    ]
    weights = torch.randn(2, 5, 24, dtype=torch.float64, requires_grad=True)
    return values, *places, weights


@pytest.mark.parametrize("block", [2**17, 50])
def test_values_and_gradients_are_those_of_grid_sample(block, monkeypatch):
    monkeypatch.setattr("glip_pl.layers.table_sampling._BLOCK", block)
    values, *looks = inputs()
    lattice = grid()
    direction = torch.randn(2, 5, 8, dtype=torch.float64)

    found = Table.of(values, LAYOUT, lattice.real_sizes()).sample(*looks)

    expected = Maps(lattice.without_padding(values), SIZES, 4).sample(*looks)
    torch.testing.assert_close(found, expected)
    for got, wanted in zip(
        *(torch.autograd.grad((x * direction).sum(), (values, *looks)) for x in (found, expected)),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted)


def test_many_blocks_give_what_one_gives(monkeypatch):
    values, *looks = (x.detach().float() for x in inputs())
    table = Table.of(values, LAYOUT)
    with torch.no_grad():
        whole = table.sample(*looks)

        monkeypatch.setattr("glip_pl.layers.table_sampling._BLOCK", 50)

        torch.testing.assert_close(table.sample(*looks), whole)


def test_a_place_that_is_no_number_reads_no_foreign_memory():
    values, x, y, weights = (x.detach().float() for x in inputs())
    x[0, 0] = torch.nan

    with torch.no_grad():
        read = Table.of(values, LAYOUT).sample(x, y, weights)

    assert read[0, 0].isnan().all()
    assert read[0, 1:].isfinite().all()


def test_places_at_and_beyond_every_edge_read_what_grid_sample_reads():
    values, *_ = (x.detach() for x in inputs())
    edges = torch.tensor([-9.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0]).double()
    x, y = (
        e.flatten()[None, :, None].repeat(2, 1, 24)
        for e in torch.meshgrid(edges, edges, indexing="ij")
    )

    with torch.no_grad():
        read = Table.of(values, LAYOUT).sample(x, y, torch.ones_like(x))

    torch.testing.assert_close(read, Maps(values, SIZES, 4).sample(x, y, torch.ones_like(x)))


def test_padding_changes_no_place():
    module = attention()
    query, reference = torch.randn(1, 5, 16), torch.rand(1, 5, 4)
    maps = [torch.randn(1, 16, *size) for size in SIZES]
    wider = [
        torch.nn.functional.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]), value=9.0)
        for x, (height, width) in zip(maps, ((8, 12), (4, 6), (2, 3)), strict=True)
    ]
    pixels = torch.zeros(1, 64, 96, dtype=torch.bool)
    pixels[:, :32, :48] = True

    def read(levels, lattice):
        cells = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        return module(query, reference, cells, lattice)

    wide = CellGrid.of(pixels, wider, STRIDES)
    alone = read(maps, grid([(32, 48)]))

    torch.testing.assert_close(read(wider, wide), alone, atol=1e-5, rtol=1e-5)


def test_bf16_stays_near():
    module, lattice = attention(), grid()
    query, cells, reference = torch.randn(2, 5, 16), torch.randn(2, 32, 16), torch.rand(2, 5, 2)
    expected = module(query, reference, cells, lattice)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = module(query, reference, cells, lattice)

    assert (rough - expected).abs().max() < 0.03 * expected.abs().max()


def test_at_first_each_head_looks_its_own_way():
    module = DeformableAttention(16, 4, num_levels=1, num_points=2)

    moves = module.offsets(torch.randn(1, 16)).view(4, 2, 2)

    expected = [[[1, 0], [2, 0]], [[0, 1], [0, 2]], [[-1, 0], [-2, 0]], [[0, -1], [0, -2]]]
    torch.testing.assert_close(moves, torch.tensor(expected).float(), atol=1e-6, rtol=0)


def test_heads_of_unequal_size_are_refused():
    with pytest.raises(ValueError, match="d_model is 16, which 3 heads"):
        DeformableAttention(16, 3, num_levels=1)
