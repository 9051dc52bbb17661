"""`make bench`: ratios against the hand-written limit and dlt, side by side in one run."""
