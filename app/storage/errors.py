"""What the store may refuse, as typed exceptions."""


class KeyReusedError(Exception):
    """The name of a request stands for another one already."""
