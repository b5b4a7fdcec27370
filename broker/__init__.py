"""How it travels: envelope, policy, admission, gateway, node, API, SDK and command line."""

import importlib

for _name in ("schemas", "keys"):
    if getattr(importlib.import_module(_name), "KENTONG_PACKAGE", None) != "kentong":
        raise ImportError(
            f"the installed package {_name!r} is not Kentong's: another distribution uses the same "
            "name. Install kentong in a virtual environment of its own, then run `kentong doctor`."
        )
