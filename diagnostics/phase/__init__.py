"""Which phase of learning a run is in: change points of two series, and a joint verdict on them."""
