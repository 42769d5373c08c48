"""What turns tasks into data: rollouts of policies, or labelled examples."""
