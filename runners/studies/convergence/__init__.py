"""The convergence analysis of MAML, measured: `rlmaml theory`."""
