"""The process that talks to NVML, `python -m agents.node.nvml_child`: a driver that hangs or crashes takes only it.

Each line on standard input is the number of a round; the answer is one line of JSON on standard output: `{"round",
"system": {…}, "gpus": [{"index", "identity", "facts", "processes", "xids", "failed", "lost", "hangs"}, …]}`. A thread
for each GPU asks it, and lists its processes every second, so that a call that never returns stops that GPU's thread
alone, and what ran between two rounds is told. Ends with its standard input.
"""

import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections import deque
from typing import Any

import pynvml

from agents.node.nvml_calls import GpuCalls, read_facts, read_identity, read_processes

STAND_IN_SYMBOL = "hourbook_simulated_nvml"
SAMPLE_S = 1.0
ROUND_S = 2.0
EVENT_WAIT_MS = 1000
EVENT_RETRY_S = 2.0
NO_GPU_YET_S = 0.05
XID_LAG_S = 0.25
XID_MAX = 2**16
CODES_OF_A_GONE_DRIVER = (
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
)


class GpuThread(threading.Thread):
    """Asks one GPU, for as long as that may take."""

    def __init__(self, index: int) -> None:
        super().__init__(daemon=True)
        self.index = index
        self.calls: GpuCalls | None = None
        self.lost = False
        self.xids: deque[int] = deque()
        self.done = threading.Condition()
        self.answer: dict[str, Any] | None = None
        self.answered_round = 0
        self._asked_round = 0
        self._errors: int | None = None
        self._wake = threading.Event()
        self._identity: dict[str, Any] = {}
        self._seen: dict[tuple[int, str], int | None] = {}
        self._handle_call = "nvmlDeviceGetHandleByIndex"
        self._handle_failure: tuple[int, str] | None = None

    @property
    def has_no_handle(self) -> bool:
        """Tells whether NVML refused to name the GPU."""
        return self._handle_failure is not None

    def request(self, number: int) -> bool:
        """Asks for an answer to a round; returns whether the thread still owes one, because it hangs in a call."""
        is_behind = self.answered_round < self._asked_round
        self._asked_round = number
        self._wake.set()
        return is_behind

    def take_xids(self) -> list[int]:
        """Returns the XIDs that came since the last call."""
        xids = []
        while self.xids:
            xids.append(self.xids.popleft())
        return xids

    def has_new_errors(self, answer: dict[str, Any]) -> bool:
        """Tells whether more uncorrectable errors are counted than in the answer before."""
        count = (answer.get("facts") or {}).get("ecc_uncorrected")
        before, self._errors = self._errors, self._errors if count is None else count
        return count is not None and before is not None and count > before

    def missing_answer(self) -> dict[str, Any]:
        """Returns what stands for the answer that did not come in time."""
        call = (self.calls.current if self.calls else self._handle_call) or ""
        return {
            "index": self.index,
            "identity": self._identity,
            "lost": False,
            "answered": False,
            "failed": {},
            "hangs": call,
        }

    def run(self) -> None:
        while True:
            if self.calls is None:
                self._open()
            asked = self._wake.wait(SAMPLE_S)
            self._wake.clear()
            number = self._asked_round
            processes = self._sample(with_graphics=asked)
            if asked:
                self._answer(number, processes)

    def _open(self) -> None:
        try:
            self.calls = GpuCalls(pynvml.nvmlDeviceGetHandleByIndex(self.index))
            self.lost, self._handle_failure = False, None
        except pynvml.NVMLError as error:
            self.lost = error.value == pynvml.NVML_ERROR_GPU_IS_LOST
            self._handle_failure = (error.value, type(error).__name__.removeprefix("NVMLError_"))

    def _sample(self, with_graphics: bool) -> list | None:
        if self.calls is None:
            return None
        processes = read_processes(self.calls, with_graphics)
        for pid, used, kind in processes or ():
            self._seen[pid, kind] = max(used or 0, self._seen.get((pid, kind)) or 0) if used is not None else None
        return processes

    def _answer(self, number: int, processes: list | None) -> None:
        answer: dict[str, Any] = {"index": self.index, "lost": self.lost, "identity": self._identity, "hangs": None}
        if self.calls is None:
            answer |= {"answered": False, "failed": {self._handle_call: self._handle_failure}}
        else:
            self.calls.begin()
            facts = read_facts(self.calls)
            answered = self.calls.answered
            if any(self._identity.get(name) is None for name in ("uuid", "name", "pci_address")):
                self._identity = read_identity(self.calls)
                answer["identity"] = self._identity
            seen = [(pid, used, kind) for (pid, kind), used in self._seen.items()]
            self._seen = {}
            answer |= {
                "lost": self.calls.lost,
                "answered": answered,
                "facts": facts,
                "processes": None if processes is None else seen,
                "failed": dict(self.calls.failed),
            }
        with self.done:
            self.answer, self.answered_round = answer, number
            self.done.notify_all()


class EventThread(threading.Thread):
    """Waits for XIDs; a library that cannot tell them is asked again now and then."""

    def __init__(self, gpus: list[GpuThread]) -> None:
        super().__init__(daemon=True)
        self._gpus = gpus
        self.failed: dict[str, tuple[int, str]] = {}
        self.ready = threading.Event()
        self._step = "nvmlEventSetCreate"

    def run(self) -> None:
        while True:
            try:
                self._follow()
            except pynvml.NVMLError as error:
                self._fail(self._step, error.value, type(error).__name__.removeprefix("NVMLError_"))
            except (AttributeError, TypeError, ValueError) as error:
                self._fail(self._step, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, type(error).__name__)
            time.sleep(EVENT_RETRY_S)

    def _fail(self, call: str, code: int, words: str) -> None:
        self.failed = {call: (code, words)}
        self.ready.set()

    def _follow(self) -> None:
        self._step = "nvmlEventSetCreate"
        events = pynvml.nvmlEventSetCreate()
        watched: dict[int, GpuThread] = {}
        refused = {}
        while True:
            for gpu in self._gpus:
                if gpu.calls is None or gpu.calls.lost or _address(gpu.calls.handle) in watched:
                    continue
                watched[_address(gpu.calls.handle)] = gpu
                try:
                    pynvml.nvmlDeviceRegisterEvents(gpu.calls.handle, pynvml.nvmlEventTypeXidCriticalError, events)
                except pynvml.NVMLError as error:
                    if error.value != pynvml.NVML_ERROR_NOT_SUPPORTED:
                        words = type(error).__name__.removeprefix("NVMLError_")
                        refused[f"nvmlDeviceRegisterEvents({gpu.index})"] = (error.value, words)
            if all(gpu.calls or gpu.has_no_handle for gpu in self._gpus):
                self.ready.set()
            self._step = "nvmlEventSetWait_v2"
            try:
                event = pynvml.nvmlEventSetWait_v2(events, EVENT_WAIT_MS if watched else 0)
            except pynvml.NVMLError_Timeout:
                self.failed = refused
                if not watched:
                    time.sleep(NO_GPU_YET_S)
                continue
            self.failed = refused
            gpu = watched.get(_address(event.device))
            if gpu is not None and 0 < event.eventData < XID_MAX:
                gpu.xids.append(event.eventData)


def _address(handle: object) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value


class Driver(threading.Thread):
    """Opens the library, and starts a thread for each GPU that it counts."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.gpus: list[GpuThread] = []
        self.events = EventThread(self.gpus)
        self.opened = threading.Event()
        self.failure: tuple[str, int, str] | None = None
        self.call = "nvmlInitWithFlags"
        self.version: str | None = None

    def run(self) -> None:
        try:
            pynvml.nvmlInit()
            self.call = "nvmlDeviceGetCount_v2"
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            self.failure = (self.call, error.value, type(error).__name__.removeprefix("NVMLError_"))
            self.opened.set()
            return
        self.version = self._version()
        self.gpus += [GpuThread(index) for index in range(min(count, 64))]
        for thread in (*self.gpus, self.events):
            thread.start()
        self.opened.set()

    def _version(self) -> str | None:
        try:
            return pynvml.nvmlSystemGetDriverVersion()
        except (pynvml.NVMLError, UnicodeDecodeError):
            return None

    def system(self) -> dict[str, Any]:
        """Returns what is known of the library."""
        library = pynvml.nvmlLib
        return {
            "failure": self.failure,
            "hangs": None if self.opened.is_set() else self.call,
            "version": self.version,
            "simulated": library is not None and hasattr(library, STAND_IN_SYMBOL),
            "library": _library_path(),
            "failed": self.events.failed,
        }


def _library_path() -> str | None:
    """Returns the file that the process has mapped under NVML's name, links resolved."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            if "libnvidia-ml.so" in line:
                return line.rstrip("\n").split(maxsplit=5)[5]
    return None


def answer_round(driver: Driver, number: int) -> dict[str, Any]:
    """Returns the answer to a round, with what each GPU said in time."""
    deadline = time.monotonic() + ROUND_S
    if not driver.opened.wait(ROUND_S):
        return {"round": number, "system": driver.system(), "gpus": []}
    gpus = list(driver.gpus)
    if number == 1:
        driver.events.ready.wait(ROUND_S)  # so that no XID is missed from the first answer on
    asked = [(gpu, gpu.request(number)) for gpu in gpus]
    answers = []
    for gpu, is_behind in asked:
        # A GPU that hung in the round before is not waited for again.
        wait_s = 0.0 if is_behind else max(deadline - time.monotonic(), 0.0)
        with gpu.done:
            in_time = gpu.done.wait_for(lambda gpu=gpu: gpu.answered_round == number, wait_s)
        answers.append((gpu, gpu.answer if in_time else gpu.missing_answer()))
    if sum(gpu.has_new_errors(answer) for gpu, answer in answers):
        time.sleep(XID_LAG_S)  # the counter may be a moment ahead of the event that explains it
    answers = [answer | {"xids": gpu.take_xids()} for gpu, answer in answers]
    codes = {failure[0] for answer in answers for failure in answer["failed"].values() if failure}
    system = driver.system()
    if codes & set(CODES_OF_A_GONE_DRIVER) and not any(answer["answered"] for answer in answers):
        code = min(codes & set(CODES_OF_A_GONE_DRIVER))
        system["failure"] = ("every call", code, "the driver is gone")
    return {"round": number, "system": system, "gpus": answers}


def main() -> None:
    """Answers rounds until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver = Driver()
    driver.start()
    for line in sys.stdin:
        answer = json.dumps(answer_round(driver, int(line)), separators=(",", ":"))
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()
    os._exit(0)  # a thread that hangs in the driver is not waited for


if __name__ == "__main__":
    main()
