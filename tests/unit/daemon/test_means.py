"""What a study needs here is looked for before it begins."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.daemon.test_handler import ME, MODEL, Desk
from tests.unit.daemon.test_shell import scene

from cnnbo.daemon.api import requests
from cnnbo.models import registry
from cnnbo.scheduler.codec import encode_value
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.spec import Budget


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with scene(tmp_path) as at:
        yield Desk(at)


async def test_a_model_without_its_packages_is_refused_with_everything_else(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three trials that crash on an import would be a worse way to learn it."""
    monkeypatch.setattr(registry, "find_spec", lambda package: None)
    study = replace(MODEL, model="svhn-forest", budget=Budget(energy_kwh=1.0))
    with pytest.raises(ConfigurationError) as caught:
        await desk.ask(requests.SubmitSpec(spec=encode_value(study)), ME)
    about_model, about_energy = caught.value.problems
    assert "pip install 'cnnbo[compare]'" in about_model
    assert "budget.energy_kwh" in about_energy
    assert desk.at.shell.studies == ()
