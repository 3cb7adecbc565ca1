"""A convolution over segments of its channels: what lies between an ordinary convolution and
Xception's depthwise one (sections 1.2 and 5 of the paper)."""

from typing import Any

import keras
from keras import layers, ops

from manylabel.trainer.networks.config import InitialScale

# Channels of a segment from which a convolution for each segment is faster on CPUs than one
# depthwise convolution of as many filters for each channel.
_SPLIT_FROM = 8


@keras.saving.register_keras_serializable(package="manylabel")
class SegmentedConv2D(layers.Layer):
    """A k x k convolution, `same`, without bias, that keeps the channels C in separate segments.

    The C channels are cut into g segments that differ by one channel at most, the larger ones
    first; an output channel sees the inputs of its own segment. It equals
    `keras.layers.Conv2D(C, k, padding="same", groups=g, use_bias=False)`, which needs g to divide C
    and on CPUs goes through XLA at each call: 170 times slower at C = 256, g = 16.

    float [B, H, W, C] to float [B, H, W, C]. The kernels are those of two such convolutions:
    `kernel` [k, k, c, n * c] for n segments of c = C // g channels, and `larger_kernel`
    [k, k, c + 1, m * (c + 1)] for m = C % g segments of one more, where m > 0.

    Args:
        segments: g; each channel is its own segment where there are fewer than g.
        initial_scale: keras: Glorot's uniform distribution as Conv2D(groups=g) has it, of variance
            2 / (k^2 c + k^2 C); fan_in: variance 1 / (k^2 c), so that outputs are as far spread
            as inputs.
    """

    def __init__(
        self,
        segments: int,
        kernel_size: int = 3,
        initial_scale: str = InitialScale.KERAS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if segments < 1:
            raise ValueError(f"expected at least 1 segment, received segments={segments}")
        self.segments = segments
        self.kernel_size = kernel_size
        self.initial_scale = InitialScale(initial_scale)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the kernels for inputs [B, H, W, C]."""
        channels = input_shape[-1]
        assert channels is not None
        segments = min(self.segments, channels)
        size, self._larger = divmod(channels, segments)
        self._smaller = segments - self._larger
        self.kernel = self._new_kernel("kernel", size, self._smaller, channels)
        self.larger_kernel = (
            self._new_kernel("larger_kernel", size + 1, self._larger, channels)
            if self._larger
            else None
        )

    def _new_kernel(self, name: str, size: int, segments: int, channels: int) -> Any:
        inputs = self.kernel_size**2 * size
        if self.initial_scale is InitialScale.KERAS:
            variance = 2 / (inputs + self.kernel_size**2 * channels)
        else:
            variance = 1 / inputs
        limit = (3 * variance) ** 0.5  # A uniform distribution's.
        return self.add_weight(
            name=name,
            shape=(self.kernel_size, self.kernel_size, size, segments * size),
            initializer=keras.initializers.RandomUniform(-limit, limit),
        )

    def call(self, inputs: Any) -> Any:
        """The convolution of float [B, H, W, C]."""
        if self.larger_kernel is None:
            return _convolve(inputs, self.kernel, self._smaller)
        larger = self.larger_kernel.shape[-1]
        first, second = ops.split(inputs, [larger], axis=-1)
        return ops.concatenate(
            [
                _convolve(first, self.larger_kernel, self._larger),
                _convolve(second, self.kernel, self._smaller),
            ],
            axis=-1,
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As the input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments, for Keras to save."""
        return {
            **super().get_config(),
            "segments": self.segments,
            "kernel_size": self.kernel_size,
            "initial_scale": self.initial_scale.value,
        }


def _convolve(x: Any, kernel: Any, segments: int) -> Any:
    """Over segments of equal size: x [B, H, W, n * c], kernel [k, k, c, n * c]."""
    kernel = ops.convert_to_tensor(kernel, dtype=x.dtype)
    size = kernel.shape[2]
    if segments == 1:
        return ops.conv(x, kernel, padding="same")
    if size >= _SPLIT_FROM:
        pairs = zip(
            ops.split(x, segments, axis=-1), ops.split(kernel, segments, axis=-1), strict=True
        )
        return ops.concatenate([ops.conv(x, kernel, padding="same") for x, kernel in pairs], -1)
    return _convolve_by_channel(x, kernel, segments)


def _convolve_by_channel(x: Any, kernel: Any, segments: int) -> Any:
    """As _convolve, with every product of an input channel and a filter by itself, then summed."""
    side, _, size, channels = kernel.shape
    by_segment = ops.reshape(kernel, (side, side, size, segments, size))
    by_channel = ops.reshape(
        ops.transpose(by_segment, (0, 1, 3, 2, 4)), (side, side, channels, size)
    )
    products = ops.depthwise_conv(x, by_channel, padding="same")
    if size == 1:
        return products
    height, width = ops.shape(x)[1:3]
    products = ops.reshape(products, (-1, height, width, segments, size, size))
    return ops.reshape(ops.sum(products, axis=4), (-1, height, width, channels))
