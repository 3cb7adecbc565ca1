"""What a pod of a job's Ray cluster does before Kubernetes ends it: lets the job save.

    python -m manylabel.deploy.kubernetes.pre_stop head|worker SUBMISSION SECONDS

The head has its job stopped, which saves, and waits until it has. A worker only waits: if the whole
cluster ends, the head stops the job; if this worker alone is to go, the job works on until it does.
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping

_PORT = 8265  # Of Ray's dashboard, which has the Jobs API.
_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_BETWEEN = 1.0  # Seconds between two questions.
_ANSWER_WITHIN = 5.0  # Seconds.
_SILENT = 5  # Questions without an answer, after which the head is gone.

# A request's method and path -> the answer, {} where there is none such.
Ask = Callable[[str, str], Mapping[str, object]]


def pre_stop(
    role: str,
    submission: str,
    seconds: float,
    ask: Ask,
    sleep: Callable[[float], None],
    now: Callable[[], float],
) -> str:
    """Waits until the job has ended.

    Args:
        role: "head" or "worker".
        submission: the job's id in Ray.
        seconds: after which it is not waited for any longer.
        ask: raises OSError where nobody answers.

    Returns:
        Why it need not be waited for any longer.
    """
    path = f"/api/jobs/{submission}"
    end = now() + seconds
    silent = 0
    told = role != "head"
    while now() < end:
        try:
            if not told:
                ask("POST", f"{path}/stop")
                told = True
            state = ask("GET", path).get("status")
            silent = 0
        except OSError:
            silent += 1
            if silent == _SILENT:
                return "the head does not answer"
        else:
            if state is None or state in _ENDED:
                return f"the job is {str(state or 'unknown').lower()}"
        sleep(_BETWEEN)
    return f"the job has not ended within {seconds:g} s"


def _ask_ray(host: str, token: str) -> Ask:
    # No proxy: the head is a pod of this cluster, whatever http_proxy says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(method: str, path: str) -> Mapping[str, object]:
        request = urllib.request.Request(
            f"http://{host}:{_PORT}{path}",
            method=method,
            headers={"Authorization": f"Bearer {token}"},
        )
        try:
            with opener.open(request, timeout=_ANSWER_WITHIN) as answer:
                return dict(json.load(answer))
        except (http.client.HTTPException, ValueError, TypeError) as error:
            raise OSError(f"no answer of Ray's: {error}") from error  # the next may be one
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return {}
            raise  # An OSError: 401 or 500 tell nothing about the job.

    return ask


def main(arguments: list[str], environment: Mapping[str, str]) -> None:
    """Prints why it ends, which Kubernetes shows as an event where this fails."""
    role, submission, seconds = arguments
    # KubeRay names the head's service to the workers.
    host = "127.0.0.1" if role == "head" else environment["FQ_RAY_IP"]
    ask = _ask_ray(host, environment.get("RAY_AUTH_TOKEN", ""))
    print(pre_stop(role, submission, float(seconds), ask, time.sleep, time.monotonic))


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
