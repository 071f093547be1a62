"""The engines that tests drive: the reference always, the Cython engine wherever it is built."""

import importlib.util

from matching_engine.rules import Engine as ReferenceEngine

ENGINES = {"reference": ReferenceEngine}

if importlib.util.find_spec("matching_engine.engine"):
    from matching_engine.engine import Engine as CythonEngine

    ENGINES["cython"] = CythonEngine
