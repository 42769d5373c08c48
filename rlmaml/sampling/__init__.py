"""Samplers, which turn tasks into data: rollouts of policies, or labeled examples."""
