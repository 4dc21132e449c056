"""The collector: events are put into a stream, and taken from it into the table in batches."""
