"""rlmaml: meta-learn control policies with MAML."""
