"""Time: the retry ladder, billing periods, beat entries. Pure: no I/O."""
