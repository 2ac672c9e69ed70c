"""The runtime: prompt to boxes by exported graphs, with NumPy, onnxruntime and tokenizers alone.

Nothing here imports PyTorch. A folder that `glip export` wrote is all that is needed::

    from glip_pl.runtime import Runtime

    model = Runtime("exported")
    found = model.predict(pixels, "cat. dog.")  # uint8 [H, W, 3], RGB
"""

from glip_pl.runtime.model import Runtime
from glip_pl.runtime.postprocess import Found
from glip_pl.runtime.vocabulary import Vocabulary

__all__ = ["Found", "Runtime", "Vocabulary"]
