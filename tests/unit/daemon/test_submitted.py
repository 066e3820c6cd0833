"""Whose folders a trial works with."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.daemon.test_shell import SPEC, scene

from cnnbo.daemon.api import requests
from cnnbo.daemon.handler import Handler
from cnnbo.daemon.submitted import Peer
from cnnbo.scheduler.codec import encode_value
from cnnbo.scheduler.spec import Origin


async def test_what_root_submits_to_a_service_does_not_work_in_roots_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials of a service run as its own user, whom /root is closed to: caches there end every training."""
    monkeypatch.setenv("HOME", "/var/lib/cnnbo")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    of_root = Origin("/srv", {"HOME": "/root", "XDG_CACHE_HOME": "/root/fast", "DATA": "/srv/data"}, "/usr/bin/python3")
    async with scene(tmp_path) as at:
        handler = Handler(at.shell, lambda: {"daemon": None, "mqtt": None}, iter(range(10**6, 10**7)).__next__)
        await handler.handle(requests.Limit(devices=0), Peer("root", True, True))
        spec = encode_value(replace(SPEC, origin=of_root))
        await handler.handle(requests.SubmitSpec(spec=spec), Peer("root", True, True))
        environment = at.shell.study("s").spec.origin.environment
    assert environment["HOME"] == "/var/lib/cnnbo" and environment["DATA"] == "/srv/data"
    assert "XDG_CACHE_HOME" not in environment
