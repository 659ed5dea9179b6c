"""How a step fails."""

from google.rpc import status_pb2

from asteros import errors


class StepFailed(Exception):
    """An attempt of a step has failed, with this."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


def failed(error: errors.AsterError) -> StepFailed:
    return StepFailed(error.status())
