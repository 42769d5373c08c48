"""Programs: what joins the library (`rlmaml`) and the environments (`envs`)."""
