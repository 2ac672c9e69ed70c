"""Windows in ONNX against the operator, at sizes that the exporter did not see."""

import onnxruntime
import pytest
import torch
from torch import nn
from torch.export import Dim, export

from glip_pl.export.graphs import Graph
from glip_pl.export.onnx_files import write_onnx
from glip_pl.layers.window_operator import UncutWindows


class TwoBlocks(nn.Module):
    """Usual windows, then shifted ones."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(6, 18)
        self.bias = nn.Parameter(torch.randn(1, 2, 16, 16))

    def forward(self, maps):
        x = maps.permute(0, 2, 3, 1)
        for shift in (0, 1):
            x = UncutWindows(4, shift).attend(x, self.qkv, self.bias)
        return x


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    torch.manual_seed(0)
    model, x = TwoBlocks().eval(), torch.randn(2, 6, 9, 11)
    dynamic = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    program = export(model, (x,), dynamic_shapes=dynamic)
    path = tmp_path_factory.mktemp("onnx") / "windows.onnx"
    write_onnx(Graph("windows", program, ("maps",), ("out",)), path)
    return model, onnxruntime.InferenceSession(path)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 4, 4), (3, 5, 12), (1, 3, 17)])
def test_windows_in_onnx_equal_the_operator(session, size):
    model, graph = session
    x = torch.randn(size[0], 6, *size[1:])

    (out,) = graph.run(None, {"maps": x.numpy()})

    assert torch.allclose(torch.from_numpy(out), model(x), atol=1e-5)
