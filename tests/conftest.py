"""Fixtures that several test files share."""

import shutil
import signal
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


# Ctrl-C is tried too, and the children of a shell's background job ignore it where nobody asks for it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty directory with a sound config, `small.yaml`."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump(SMALL))
    return tmp_path


# Files that start Ray, vLLM, a browser or whole runs go first, so that two workers end together: a long file that is
# begun last would keep one of them waiting.
SLOWEST_FIRST = (
    "test_run_twin.py", "test_actions.py", "test_run_curricula.py", "test_misbehaviour.py", "test_kill.py",
    "test_distributed.py", "test_parity.py", "test_install.py", "test_run_engines.py", "test_transport.py",
    "test_browser.py", "test_bwt.py", "test_browser_dashboard.py", "test_sandbox.py", "test_phase_callback.py",
    "test_augment.py", "test_judge.py", "test_lending.py", "test_diagnose.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Slow files first; the order inside a file stays."""
    place = {name: i for i, name in enumerate(SLOWEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


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
