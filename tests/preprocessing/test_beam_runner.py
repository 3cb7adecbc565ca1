"""That Beam still has the private names that beam_runner.py replaces or uses."""

import inspect

from manylabel.preprocessing import beam_runner
from manylabel.preprocessing.beam_runner import local_job_service, worker_handlers


def test_beam_has_the_names_that_are_replaced():
    connection = worker_handlers.ControlConnection()
    assert connection._futures_by_id == {}
    assert worker_handlers.BeamFnControlServicer._DONE_MARKER is not None
    handler = worker_handlers.SubprocessSdkWorkerHandler
    assert "_worker_command_line" in inspect.getsource(handler.__init__)
    assert "self.worker_thread.join()" in inspect.getsource(handler.stop_worker)
    parameters = inspect.signature(local_job_service.SubprocessSdkWorker).parameters
    assert list(parameters) == [
        "worker_command_line",
        "control_address",
        "provision_info",
        "worker_id",
    ]


def test_requests_to_an_ended_worker_are_answered():
    """Whether the worker ends before or after the request; it never connected here."""
    connection = worker_handlers.ControlConnection()
    request = beam_runner.beam_fn_api_pb2.InstructionRequest
    before = connection.push(request(instruction_id="before"))
    assert not before.is_done()
    beam_runner._mark_as_ended(connection, "it ended")
    after = connection.push(request(instruction_id="after"))
    assert [future.get(timeout=0).error for future in (before, after)] == ["it ended"] * 2
