"""Other packages' dataset formats: each module reads one as `Trajectories` and writes it."""
