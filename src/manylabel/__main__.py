"""`python -m manylabel`: the command, where its script is not on the PATH."""

from manylabel.pipeline.cli import main

main()
