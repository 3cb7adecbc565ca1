"""manylabel trains image classifiers with many labels per image and shows whether they got better.

The packages are folders at the root of the repository; the links beside this file give them their
import names, `manylabel.trainer` and so on, so that a `trainer.py` of someone else is never ours.
"""
