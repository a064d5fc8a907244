"""Other libraries' Python interfaces on Kiln's operations.

``kiln.compat.deep_gemm`` has the names of the module ``deep_gemm``. It never takes that name by
itself: import it under the name you want, or call ``install_deep_gemm()``.
"""

from __future__ import annotations

import importlib
import sys


def install_deep_gemm() -> None:
    """Lets ``import deep_gemm`` in this process give ``kiln.compat.deep_gemm``.

    To be called before code that imports ``deep_gemm`` is. Where another ``deep_gemm`` has been
    imported already this raises RuntimeError, since some of the process would go on using that.
    """
    ours = importlib.import_module("kiln.compat.deep_gemm")
    if sys.modules.get("deep_gemm", ours) is not ours:
        raise RuntimeError("deep_gemm has been imported already, and is not Kiln's")
    for name, module in list(sys.modules.items()):
        if name == ours.__name__ or name.startswith(ours.__name__ + "."):
            sys.modules["deep_gemm" + name.removeprefix(ours.__name__)] = module
