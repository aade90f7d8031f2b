"""For those who write rewards: `rltrain new reward`, `rltrain plugin check`, `rltrain try`."""
