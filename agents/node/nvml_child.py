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
from importlib import import_module
from typing import Any

import pynvml

from agents.node.nvml_calls import ODD, GpuCalls, read_facts, read_identity, read_processes

STAND_IN_SYMBOL = "hourbook_simulated_nvml"
SAMPLE_S = 1.0
ROUND_S = 2.0
EVENT_WAIT_MS = 1000
EVENT_RETRY_S = 2.0
NO_GPU_YET_S = 0.05
# So long a GPU's first answer waits until XIDs can be heard, and a call that is no GPU's own may take.
EVENTS_WAIT_S = 0.5
HANGS_AFTER_S = 3.0
XID_LAG_S = 0.25
XID_MAX = 2**16
GPUS_MAX = 64
TEXT_MAX = 200
VERSION_WAIT_S = 0.5
CODES_OF_A_GONE_DRIVER = (
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
)


class GpuThread(threading.Thread):
    """Asks one GPU, for as long as that may take."""

    def __init__(self, index: int, events: "EventThread") -> None:
        super().__init__(daemon=True)
        self.index = index
        self._events = events
        self.is_watched = False
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

    def request(self, number: int) -> bool:
        """Asks for an answer to a round; returns whether the thread still owes one, because it hangs in a call."""
        is_behind = self.answered_round < self._asked_round
        self._asked_round = number
        self._wake.set()
        return is_behind

    def drain_xids(self) -> list[int]:
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
            try:
                self._ask_all(number if asked else None)
            except Exception as error:
                # An answer that no rule foresaw is this GPU's own; the thread must be there for the next round.
                if asked:
                    failed = {"the agent's reading of it": (ODD, f"{type(error).__name__}: {error}"[:TEXT_MAX])}
                    self._give(self.missing_answer() | {"hangs": None, "failed": failed}, number)

    def _ask_all(self, number: int | None) -> None:
        """Asks the GPU for its processes, and for all else where a round wants to know."""
        if self.calls is not None:
            self._watch(self.calls)
        processes = self._sample(with_graphics=number is not None)
        if number is not None:
            self._answer(number, processes)

    def _open(self) -> None:
        try:
            self.calls = GpuCalls(pynvml.nvmlDeviceGetHandleByIndex(self.index))
            self.lost, self._handle_failure = False, None
        except pynvml.NVMLError as error:
            self.lost = error.value == pynvml.NVML_ERROR_GPU_IS_LOST
            self._handle_failure = (error.value, type(error).__name__.removeprefix("NVMLError_"))

    def _watch(self, calls: GpuCalls) -> None:
        """Has the GPU's XIDs told; in its own thread, so that a driver that hangs in this hangs for it alone."""
        if not self.answered_round:
            self._events.ready.wait(EVENTS_WAIT_S)  # so that no XID is missed from the first answer on
        if calls.lost:
            self.is_watched = False  # one that comes back is registered again
        elif self._events.events is not None and not self.is_watched:
            call = "nvmlDeviceRegisterEvents"
            calls.ask(call, pynvml.nvmlEventTypeXidCriticalError, self._events.events)
            if calls.failed.get(call, (0, ""))[0] == pynvml.NVML_ERROR_NOT_SUPPORTED:
                del calls.failed[call]
            self.is_watched = call not in calls.failed

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
        self._give(answer, number)

    def _give(self, answer: dict[str, Any], number: int) -> None:
        with self.done:
            self.answer, self.answered_round = answer, number
            self.done.notify_all()


class Step:
    """The call that is under way outside of the GPUs' own threads, and whether it hangs."""

    def __init__(self) -> None:
        self.call = ""
        self._began: float | None = None

    def begin(self, call: str) -> None:
        """Notes that a call begins."""
        self.call, self._began = call, time.monotonic()

    def end(self) -> None:
        """Notes that it has returned."""
        self._began = None

    def hanging(self) -> dict[str, tuple[int, str]]:
        """Returns the call where it has been under way for too long."""
        began = self._began
        is_late = began is not None and time.monotonic() - began > HANGS_AFTER_S
        return {self.call: (0, "does not return")} if is_late else {}


class EventThread(threading.Thread):
    """Waits for XIDs; a library that cannot tell them is asked again now and then."""

    def __init__(self, gpus: list[GpuThread]) -> None:
        super().__init__(daemon=True)
        self._gpus = gpus
        self._failed: dict[str, tuple[int, str]] = {}
        self._step = Step()
        self.events: object = None
        self.ready = threading.Event()

    @property
    def failed(self) -> dict[str, tuple[int, str]]:
        """The call that fails now, or does not return."""
        return self._step.hanging() or self._failed

    def run(self) -> None:
        while True:
            try:
                self._follow()
            except pynvml.NVMLError as error:
                self._fail(error.value, type(error).__name__.removeprefix("NVMLError_"))
            except (AttributeError, TypeError, ValueError) as error:
                self._fail(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, type(error).__name__)
            self._step.end()
            time.sleep(EVENT_RETRY_S)

    def _fail(self, code: int, words: str) -> None:
        self._failed = {self._step.call: (code, words)}
        self.ready.set()

    def _follow(self) -> None:
        if self.events is None:
            self._step.begin("nvmlEventSetCreate")
            self.events = pynvml.nvmlEventSetCreate()
        self.ready.set()
        while True:
            is_watching = any(gpu.is_watched for gpu in self._gpus)
            self._step.begin("nvmlEventSetWait_v2")
            try:
                event = pynvml.nvmlEventSetWait_v2(self.events, EVENT_WAIT_MS if is_watching else 0)
            except pynvml.NVMLError_Timeout:
                self._failed = {}
                if not is_watching:
                    time.sleep(NO_GPU_YET_S)
                continue
            self._failed = {}
            for gpu in self._gpus:
                is_its = gpu.calls is not None and _address(gpu.calls.handle) == _address(event.device)
                if is_its and 0 < event.eventData < XID_MAX:
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
        self.library_sha256: str | None = None
        self.library_path: str | None = None
        self.version_known = threading.Event()
        self._step = Step()
        self._count_failure: dict[str, tuple[int, str]] = {}
        self._version_failure: dict[str, tuple[int, str]] = {}

    def run(self) -> None:
        try:
            pynvml.nvmlInit()
            self.call = "nvmlDeviceGetCount_v2"
            self.library_path, self.library_sha256 = _library()
            count = self._count()
        except pynvml.NVMLError as error:
            self.failure = (self.call, error.value, type(error).__name__.removeprefix("NVMLError_"))
            self.opened.set()
            return
        self.gpus += [GpuThread(index, self.events) for index in range(count)]
        for thread in (*self.gpus, self.events):
            thread.start()
        self.opened.set()
        self._read_version()

    def _count(self) -> int:
        """Returns how many GPUs there are; a count that cannot be is noted, and they are counted by their places."""
        count = pynvml.nvmlDeviceGetCount()
        if count <= GPUS_MAX:
            return count
        self._count_failure = {self.call: (ODD, f"{count} GPUs, which cannot be")}
        self.call = "nvmlDeviceGetHandleByIndex_v2"
        for index in range(GPUS_MAX):
            try:
                pynvml.nvmlDeviceGetHandleByIndex(index)
            except pynvml.NVMLError_InvalidArgument:
                return index
            except pynvml.NVMLError:
                continue  # there, and not well: its own thread finds out
        return GPUS_MAX

    def _read_version(self) -> None:
        """Asks for the driver's version last: nothing else waits for it."""
        call = "nvmlSystemGetDriverVersion"
        self._step.begin(call)
        try:
            self.version = pynvml.nvmlSystemGetDriverVersion()
        except pynvml.NVMLError as error:
            self._version_failure = {call: (error.value, type(error).__name__.removeprefix("NVMLError_"))}
        except UnicodeDecodeError:
            self._version_failure = {call: (ODD, "UnicodeDecodeError")}
        self._step.end()
        self.version_known.set()

    def system(self) -> dict[str, Any]:
        """Returns what is known of the library."""
        library = pynvml.nvmlLib
        return {
            "failure": self.failure,
            "hangs": None if self.opened.is_set() else self.call,
            "version": self.version,
            "simulated": library is not None and hasattr(library, STAND_IN_SYMBOL),
            "library_sha256": self.library_sha256,
            "library_path": self.library_path,
            "failed": self._count_failure | self.events.failed | (self._step.hanging() or self._version_failure),
        }


def _sha256(content: bytes) -> Any:
    """Returns SHA-256 of some bytes without OpenSSL, which hashlib would bring: 4 MB on every node."""
    for name in ("_sha2", "_sha256", "hashlib"):  # Python's own since 3.12, before, and where it was built without
        try:
            return import_module(name).sha256(content)
        except ImportError:
            continue
    raise ImportError("this Python has no SHA-256")


def _library() -> tuple[str | None, str | None]:
    """Returns path and SHA-256 of the library that the process has mapped under NVML's name.

    No digest where there is none any more to be read: an upgrade has replaced the file since it was mapped.
    """
    with open("/proc/self/maps") as maps:
        line = next((line for line in maps if "libnvidia-ml.so" in line), None)
    if line is None:
        return None, None
    *_, inode, path = line.rstrip("\n").split(maxsplit=5)
    try:
        with open(path, "rb") as library:
            is_the_same = os.fstat(library.fileno()).st_ino == int(inode)
            return path, _sha256(library.read()).hexdigest() if is_the_same else None
    except OSError:
        return path, None


def answer_round(driver: Driver, number: int) -> dict[str, Any]:
    """Returns the answer to a round, with what each GPU said in time."""
    deadline = time.monotonic() + ROUND_S
    if not driver.opened.wait(ROUND_S):
        return {"round": number, "system": driver.system(), "gpus": []}
    gpus = list(driver.gpus)
    if number == 1:
        driver.version_known.wait(VERSION_WAIT_S)
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
    answers = [answer | {"xids": gpu.drain_xids()} for gpu, answer in answers]
    codes = {failure[0] for answer in answers for failure in answer["failed"].values() if failure}
    system = driver.system()
    if codes & set(CODES_OF_A_GONE_DRIVER) and not any(answer["answered"] for answer in answers):
        code = min(codes & set(CODES_OF_A_GONE_DRIVER))
        system["failure"] = ("every call", code, "the driver is gone")
    return {"round": number, "system": system, "gpus": answers}


def main() -> None:
    """Answers rounds until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the library prints is for the log, not among the answers
    driver = Driver()
    driver.start()
    try:
        for line in sys.stdin:
            answers.write(json.dumps(answer_round(driver, int(line)), separators=(",", ":")) + "\n")
            answers.flush()
    except BrokenPipeError:
        pass  # the agent has ended before it heard the answer
    os._exit(0)  # a thread that hangs in the driver is not waited for


if __name__ == "__main__":
    main()
