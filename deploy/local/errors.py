"""What a person who types `make up` is told when it cannot go on."""

from warehouse.base.errors import InferhouseError


class LocalError(InferhouseError):
    """A step of the local runtime failed. The message names the step's cause and what to do about it."""

    code = "local_error"


class PreflightFailed(LocalError):
    """This machine lacks something that is needed. Nothing was started."""

    code = "preflight_failed"


class StepFailed(LocalError):
    """A command or a service did not do what the step needs; what this run had started is stopped again."""

    code = "step_failed"
