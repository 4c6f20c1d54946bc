"""What JAX compiles while a block runs."""

import contextlib
import logging
import re

import jax


@contextlib.contextmanager
def compilations():
    """Yield a list of the names of functions, which grows as they are compiled, in any thread."""
    names = []

    class Listener(logging.Handler):
        def emit(self, record):
            if found := re.search(r"XLA compilation of jit\((.*)\)", record.getMessage()):
                names.append(found[1])

    logger, listener = logging.getLogger("jax._src.dispatch"), Listener()
    logger.addHandler(listener)
    before, logger.propagate = logger.propagate, False
    jax.config.update("jax_log_compiles", True)
    try:
        yield names
    finally:
        jax.config.update("jax_log_compiles", False)
        logger.removeHandler(listener)
        logger.propagate = before
