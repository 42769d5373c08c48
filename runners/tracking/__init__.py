"""A run's metrics in trackers of experiments: while it trains, or afterwards."""
