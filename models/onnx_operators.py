"""Which operators of ONNX a generator may use, and which of their inputs set a size.

A list of what is allowed, so an operator that a later version of ONNX adds is refused until
somebody has read what it does. https://onnx.ai/onnx/operators/

Left out on purpose:

* If, Loop, Scan, SequenceMap: no bound on the work, and a graph inside the graph.
* Bernoulli, Multinomial, RandomNormal, RandomUniform and their ...Like forms: an image is a
  function of latent and label, or no sample could be drawn again. Noise is an input.
* NonZero, Unique, Compress, NonMaxSuppression: the size of the output depends on values.
* sequences, optionals, strings, image decoders, signal windows: no generator's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


def _named(text: str) -> frozenset[str]:
    return frozenset(text.split())


ELEMENTWISE: Final = _named(
    """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr
    BitwiseXor Cast CastLike Ceil Celu Clip Cos Cosh CumSum Div Dropout Elu Equal Erf Exp Floor
    Gelu Greater GreaterOrEqual HardSigmoid HardSwish Hardmax Identity IsInf IsNaN LeakyRelu Less
    LessOrEqual Log LogSoftmax Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu
    Round Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Sub Sum Swish Tan Tanh
    ThresholdedRelu Where Xor
    """
)
LAYERS: Final = _named(
    """
    Attention AveragePool BatchNormalization Conv ConvInteger ConvTranspose DeformConv Einsum
    Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool GRU GridSample GroupNormalization
    InstanceNormalization LayerNormalization LpNormalization LpPool LRN LSTM MatMul MatMulInteger
    MaxPool MeanVarianceNormalization RMSNormalization RNN
    """
)
QUANTISED: Final = _named(
    """
    DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul QuantizeLinear
    """
)
REDUCTIONS: Final = _named(
    """
    ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare TopK
    """
)
SHAPES: Final = _named(
    """
    Concat Constant ConstantOfShape DepthToSpace Expand EyeLike Flatten Gather GatherElements
    GatherND OneHot Pad Range Reshape Resize ScatterElements ScatterND Shape Size Slice
    SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze Upsample
    """
)
ALLOWED: Final = ELEMENTWISE | LAYERS | QUANTISED | REDUCTIONS | SHAPES

SIZE_INPUTS: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "ConstantOfShape": (0,),
        "Expand": (1,),
        "OneHot": (1,),
        "Pad": (1,),
        "Range": (0, 1, 2),
        "Resize": (1, 2, 3),
        "Tile": (1,),
        "Upsample": (1,),
    }
)
"""Inputs whose values decide how large the output is, for operators that can enlarge."""

MEASURES: Final = frozenset(("Shape", "Size"))
"""Operators whose output depends on the size of their input, never on its values."""
