"""What turns tasks into data: rollouts of policies, or labeled examples."""
