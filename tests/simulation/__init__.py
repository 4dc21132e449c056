"""Random histories over real servers, each replayed by its seed. See `history`."""
