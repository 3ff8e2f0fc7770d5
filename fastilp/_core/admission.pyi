from fastilp._core.output import Output

class Admission(Output):
    """Admit, route and convert."""
