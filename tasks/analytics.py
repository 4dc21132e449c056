"""What happened: events are taken from the stream and kept."""
