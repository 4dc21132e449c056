"""What the days came to: roll-ups of days that changed, and their check."""
