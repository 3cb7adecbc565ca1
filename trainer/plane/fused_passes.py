"""The passes over memory of the optimizers' updates, compiled."""

import numba
import numpy as np

from manylabel.storage.compiled import compiled

# The passes work on slices of a block, `for i in range(len(w))`. Indexing whole arrays from
# bounds[block, 0] to bounds[block, 1] gives the same bits and takes 3.5 times as long: those could
# be negative, which counts from an array's end, and handling that keeps the loop from becoming SIMD
# code. So do checks for division by zero, which error_model="numpy" leaves out. No fastmath: it
# would let the number of threads and the processor decide the last bits. benchmarks/apply_pass.py
# holds the passes to the speed of a loop without blocks.


@compiled(parallel=True)
def rmsprop(  # type: ignore[no-untyped-def]
    bounds,
    l2,
    weights,
    average,
    mean_square,
    buffer,
    gradient,
    learning_rate,
    rho,
    one_minus_rho,
    momentum,
    epsilon,
    one_minus_decay,
):
    for block in numba.prange(len(bounds)):
        start, stop = bounds[block, 0], bounds[block, 1]
        w, a = weights[start:stop], average[start:stop]
        s, b = mean_square[start:stop], buffer[start:stop]
        slopes = gradient[start:stop]
        twice_l2 = np.float32(2) * l2[block]
        for i in range(len(w)):
            g = slopes[i] + twice_l2 * w[i]
            square = rho * s[i] + one_minus_rho * (g * g)
            step = momentum * b[i] + learning_rate * g / np.sqrt(square + epsilon)
            weight = w[i] - step
            s[i] = square
            b[i] = step
            w[i] = weight
            a[i] += one_minus_decay * (weight - a[i])


@compiled(parallel=True)
def sgd(  # type: ignore[no-untyped-def]
    bounds, l2, weights, average, buffer, gradient, learning_rate, momentum, one_minus_decay
):
    for block in numba.prange(len(bounds)):
        start, stop = bounds[block, 0], bounds[block, 1]
        w, a, b = weights[start:stop], average[start:stop], buffer[start:stop]
        slopes = gradient[start:stop]
        twice_l2 = np.float32(2) * l2[block]
        for i in range(len(w)):
            g = slopes[i] + twice_l2 * w[i]
            step = momentum * b[i] - learning_rate * g
            weight = w[i] + step
            b[i] = step
            w[i] = weight
            a[i] += one_minus_decay * (weight - a[i])


@compiled(parallel=True)
def add_scaled(bounds, total, gradient, weight):  # type: ignore[no-untyped-def]
    for block in numba.prange(len(bounds)):
        start, stop = bounds[block, 0], bounds[block, 1]
        t, slopes = total[start:stop], gradient[start:stop]
        for i in range(len(t)):
            t[i] += weight * slopes[i]


@compiled(parallel=True)
def delay_compensation(  # type: ignore[no-untyped-def]
    bounds, out, gradient, weights, pulled, scale, strength
):
    for block in numba.prange(len(bounds)):
        start, stop = bounds[block, 0], bounds[block, 1]
        o, slopes = out[start:stop], gradient[start:stop]
        w, p = weights[start:stop], pulled[start:stop]
        for i in range(len(o)):
            g = scale * slopes[i]
            o[i] = g + strength * (g * g) * (w[i] - p[i])


@compiled(parallel=True)
def adaptive_delay_compensation(  # type: ignore[no-untyped-def]
    bounds,
    out,
    gradient,
    weights,
    pulled,
    mean_square,
    scale,
    strength,
    decay,
    one_minus_decay,
    epsilon,
):
    for block in numba.prange(len(bounds)):
        start, stop = bounds[block, 0], bounds[block, 1]
        o, slopes = out[start:stop], gradient[start:stop]
        w, p, s = weights[start:stop], pulled[start:stop], mean_square[start:stop]
        for i in range(len(o)):
            g = scale * slopes[i]
            square = decay * s[i] + one_minus_decay * (g * g)
            s[i] = square
            o[i] = g + strength / np.sqrt(square + epsilon) * (g * g) * (w[i] - p[i])
