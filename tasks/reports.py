"""What was asked of the figures: reports and their schedules."""
