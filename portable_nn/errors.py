"""The errors a user meets. Each message says what was given, what was wanted, what to do."""


class PortableNNError(Exception):
    """Base of every error this library raises on purpose."""


class ShapeError(PortableNNError, ValueError):
    """Sizes that do not fit together."""


class DataError(PortableNNError, ValueError):
    """Data or labels that cannot be learned from as they are."""


class NetworkError(PortableNNError, ValueError):
    """Layers, loss and optimizer that do not make a network."""


class NotFittedError(PortableNNError, RuntimeError):
    """A result was asked of a network that has no parameters yet."""


class BackendError(PortableNNError, RuntimeError):
    """A backend that does not exist, is not installed, or cannot do what was asked."""


class NonFiniteError(PortableNNError, ArithmeticError):
    """The loss became infinite or NaN; the message names epoch, step and layer."""


class FileError(PortableNNError, ValueError):
    """A file that is not, or cannot become, what it should be."""
