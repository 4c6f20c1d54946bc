"""The public packages of the library, by name: a new one is among them by itself."""

import importlib
import pkgutil

import jaxopt_course

PACKAGES = {
    module.name: importlib.import_module(f"jaxopt_course.{module.name}")
    for module in pkgutil.iter_modules(jaxopt_course.__path__)
    if module.ispkg and not module.name.startswith("_")
}
