"""What a refusal is documented to hold."""

import pytest
from tests.api import ASYNCAPI, faults

from cnnbo.daemon.handler import refusal
from cnnbo.scheduler.errors import CnnboError, ConfigurationError, RequestError


@pytest.mark.parametrize(
    ("error", "is_configuration"), [(RequestError("no."), False), (ConfigurationError(["seed: no."]), True)]
)
def test_the_data_of_a_refusal_are_those_of_the_document(error: CnnboError, is_configuration: bool) -> None:
    """A client tells by it whether to mend a file or to ask again."""
    data = refusal(1, error)["data"]
    schema = ASYNCAPI["components"]["schemas"]["RefusalObject"]
    assert faults(data, schema) == [] and data == {"configuration": is_configuration}
    assert set(schema["properties"]) == {"configuration"}
    assert {"$ref": "#/components/schemas/RefusalObject"} in ASYNCAPI["components"]["schemas"]["pauseResponse"][
        "properties"
    ]["data"]["anyOf"]
