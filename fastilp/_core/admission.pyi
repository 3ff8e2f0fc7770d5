from typing_extensions import disjoint_base

from fastilp._core.output import Output

@disjoint_base
class Admission(Output):
    """Admit, route and convert."""
