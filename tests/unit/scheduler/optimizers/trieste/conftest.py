import warnings

import pytest


@pytest.fixture(scope="session")
def libraries() -> None:
    """TensorFlow, GPflow and Trieste, whose imports warn of their own making (deprecated distutils, SWIG types)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cnnbo.scheduler.optimizers.trieste.runtime import prepare

        prepare()
        import cnnbo.scheduler.optimizers.trieste.engine  # noqa: F401 - only for its imports
