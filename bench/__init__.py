"""Speed beside peers and scores on worlds and real sets; each module also runs alone."""
