"""What the rewards that ask a judge share: how they ask, how answers are read, what is asked about."""
