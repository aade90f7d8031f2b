"""Fixtures that several test files share."""

import shutil
from pathlib import Path

import pytest
import yaml

SMALL = {
    "run": {"console": False},
    "model": {"path": "tiny", "dtype": "float32"},
    "tasks": [{"use": "reasoning_gym", "args": {"generator": "chain_sum", "size": 60}}],
    "rewards": [{"use": "numeric"}],
    "rollouts": {"engine": "transformers"},
    "training": {"steps": 2, "prompts_per_step": 2, "micro_batch_size": 4},
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty directory with a sound config, `small.yaml`."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump(SMALL))
    return tmp_path


@pytest.fixture(scope="session")
def ray_session():
    """One small Ray for the whole test session."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")  # no longer: playwright's event loop runs until it is closed, and others want their own
def chromium():
    """A real browser without a window. Fails where there is none: these tests are not to be passed over in silence."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail("no chromium here; `make system` installs it (as root, on Debian or Ubuntu)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True)
        yield browser
        browser.close()
