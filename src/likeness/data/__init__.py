"""Data: sources of rows, readers of files and frames, named sets, worlds whose truth is known."""
