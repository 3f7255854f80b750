from __future__ import annotations

import shutil

import pytest


@pytest.fixture(scope="module")
def chromium():
    """Debian's Chromium, driven by Playwright."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is in the dependency group browser"
    )
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium here: Debian's package of that name has it")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=quiet)
        yield browser
        browser.close()
