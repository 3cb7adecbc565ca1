"""Where the axis of a curve begins."""


def lower_end(bottom: float, top: float, below: float) -> float:
    """`below`, if an axis that begins there leaves half of itself to what lies between `bottom` and
    `top`; else `bottom`, so that a single point does not squeeze the others."""
    return min(below, bottom) if top - below <= 2 * (top - bottom) else bottom
