"""The engines, the Ray pool that feeds them, weight versions and the parity gate."""
