"""Algorithms on plain arrays: no files, no types of ours. The stages wrap them with units and checks."""
