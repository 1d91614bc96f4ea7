"""Markets in, trajectories out.

`data_tools.load` reads market files, `data_tools.repair` mends them, `data_tools.download` fetches
them from the exchange's public archive; `data_tools.collect` drives the trading environments with a
scripted policy and writes Tianshou's HDF5 layout, `data_tools.hdf5` reads it back without pickle,
`data_tools.describe` says what is inside either kind of file, and `data_tools.convert` goes between
that layout and other packages' formats.
"""

import data_tools.early_interrupts  # noqa: F401 - for ``python -m``
