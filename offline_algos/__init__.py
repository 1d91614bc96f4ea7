"""Offline reinforcement learning on recorded trajectories, with Tianshou.

One script a method, one page each; what the scripts share is plain functions in the other modules.
`offline_algos.checkpoint.load_policy` opens what they save.
"""

import data_tools.early_interrupts  # noqa: F401 - for ``python -m``
