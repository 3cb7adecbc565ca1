"""The commands: each takes parsed arguments, calls its stage and shows what it returns.

Each imports its stage when it is called: `--help` loads no TensorFlow, Beam or Ray.
"""
