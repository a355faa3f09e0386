"""Learning: one Run for every family, stepped, watched, stopped and resumed; families know no loop."""
