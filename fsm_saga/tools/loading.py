"""Tools out of a module or a file: what ``--tools MODULE_OR_FILE`` means."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from fsm_saga.errors import FsmSagaError, ToolsError
from fsm_saga.tools.python import Tool
from fsm_saga.tools.wording import error_line

# Frames of our own between the user's line and the error say nothing to the user.
_OWN_FOLDER = os.path.dirname(__file__)


def load_tools(spec: str) -> list[Tool[..., Any]]:
    """Return every tool of a module, in the order in which the module names them.

    A ``.py`` file is run as it would be by ``python FILE``: the modules next to it can be
    imported. A file inside a package is imported as part of it, so that its relative imports
    work. A dotted name is looked for in the working directory as well. A tool that the module
    imported counts as its own; a tool under two names comes once.

    Args:
        spec: A dotted module name, or the path of a ``.py`` file.

    Raises:
        ToolsError: If there is no such module or file, it cannot be imported, or has no tool.
    """
    path = _path_of(spec)
    module = _import_module(spec) if path is None else _import_file(path)
    tools = tools_of_module(module)
    if not tools:
        raise ToolsError(
            f"{spec} was refused: it has no tool. Nothing was registered; decorate with @tool what "
            "plans may call."
        )
    return tools


def tools_of_module(module: ModuleType) -> list[Tool[..., Any]]:
    """Return each tool that the module's namespace holds, once."""
    found = (value for value in vars(module).values() if isinstance(value, Tool))
    return list({id(tool): tool for tool in found}.values())


def _path_of(spec: str) -> Path | None:
    """Return the file that is meant, or None for a dotted name."""
    looks_like_path = spec.endswith(".py") or os.sep in spec or "/" in spec
    if not looks_like_path:
        if all(part.isidentifier() for part in spec.split(".")):
            return None
        raise ToolsError(
            f"{spec!r} was refused: it is neither a module's name nor the path of a .py file. "
            "Nothing was registered."
        )
    path = Path(spec).expanduser()
    if path.is_dir():
        raise ToolsError(
            f"{spec} was refused: it is a folder. Nothing was registered; name a file."
        )
    if not path.is_file():
        raise ToolsError(
            f"{spec} was refused: there is no such file. Nothing was registered; a path is "
            f"relative to {Path.cwd()}."
        )
    if path.suffix != ".py":
        raise ToolsError(f"{spec} was refused: it is no .py file. Nothing was registered.")
    return path.resolve()


def _import_module(name: str) -> ModuleType:
    _make_importable(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ToolsError(
                f"Module {name!r} was refused: no module is called {error.name!r}, here or among "
                "what is installed. Nothing was registered; a file is named by its path."
            ) from error
        raise _import_failed(name, None, error) from error
    except (Exception, SystemExit) as error:  # boundary: the module is the user's own code
        raise _import_failed(name, None, error) from error


def _import_file(path: Path) -> ModuleType:
    for module in list(sys.modules.values()):
        if _is_of(module, path) and module.__name__ != "__main__":
            return module
    folder, name = path.parent, path.stem
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        folder, name = folder.parent, f"{folder.name}.{name}"
    _make_importable(path.parent)
    try:
        if folder != path.parent:
            _make_importable(folder)
            if _finds_package(name.partition(".")[0], folder):
                return importlib.import_module(name)
        return _run_file(path)
    except (Exception, SystemExit) as error:  # boundary: the file is the user's own code
        raise _import_failed(str(path), path, error) from error


def _finds_package(name: str, folder: Path) -> bool:
    """Return whether an import of this name reaches the package in the folder, and no other."""
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec is not None else None
    return any(Path(place).resolve() == folder / name for place in places or ())


def _is_of(module: ModuleType, path: Path) -> bool:
    file = getattr(module, "__dict__", {}).get("__file__")
    if not isinstance(file, str) or os.path.basename(file) != path.name:
        return False
    return Path(file).resolve() == path


def _run_file(path: Path) -> ModuleType:
    # Under its own name, so that a module beside it that imports it gets the same tools; unless
    # that name is taken, by a library of the same name for example.
    name = path.stem
    if name in sys.modules or not name.isidentifier():
        name = f"{name}_{hashlib.blake2b(str(path).encode(), digest_size=6).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} cannot be loaded as a module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:  # boundary: half a module must not stay importable
        del sys.modules[name]
        raise
    return module


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()


def _import_failed(spec: str, path: Path | None, error: BaseException) -> ToolsError:
    what = error.message if isinstance(error, FsmSagaError) else error_line(error)
    return ToolsError(
        f"{spec} was refused: its import failed{_where(path, error)}: {what.rstrip('.')}. Nothing "
        "was registered."
    )


def _where(path: Path | None, error: BaseException) -> str:
    """Return the line of the user's own file that led to the error, and where that led to."""
    places = [
        (frame.filename, frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and not frame.filename.startswith(_OWN_FOLDER)
    ]
    if isinstance(error, SyntaxError) and error.filename is not None:
        places.append((error.filename, error.lineno))
    own = [line for filename, line in places if path is not None and filename == str(path)]
    where = f" in line {own[-1]}" if own else ""
    if places and places[-1][0] != str(path):
        filename, line = places[-1]
        where += f" ({os.path.basename(filename)}, line {line})"
    return where
