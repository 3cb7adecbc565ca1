"""Charts as SVG text, drawn from numbers."""
