"""Fixtures that several test files share."""

import pytest


@pytest.fixture(scope="session")
def ray_session():
    """One small Ray for the whole test session."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield ray
    ray.shutdown()
