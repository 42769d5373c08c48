"""Programs: what joins the library (`rlmaml`) and the worlds (`envs`)."""
