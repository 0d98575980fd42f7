"""One job played: its server started, loaded, provoked, and each part kept as a cell.

A failure of any part is a cell that says why; the parts after it go on as far as the server
lives. Every wait has a limit, and the run's own end is one.

Long because the parts of one job share its server, its limit and what it left.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
import traceback
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from triage.dump.known_errors import WRONG_ADDRESS
from triage.lab.blind import kernels
from triage.lab.server import inject, kernel_mistakes, ledger_defects, load, oracle, server_log
from triage.lab.server.flags import CHUNKED_PREFILL
from triage.lab.server.process import ServerDied
from triage.lab.server.result import explained
from triage.lab.server.smoke.job_server import JobServer
from triage.lab.server.smoke.results import Cell

CHECKOUT = Path(__file__).resolve().parents[4]
VOCAB = 4096
PLAIN: dict[str, Any] = {
    "requests": 96,
    "concurrency": 32,
    "input_tokens": 1024,
    "output_tokens": 96,
}
PROVOKED: dict[str, Any] = {
    "requests": 24,
    "concurrency": 8,
    "input_tokens": 1400,
    "output_tokens": 64,
}
START_S, PLAIN_S, MIXED_S, DEATH_S = 270.0, 150.0, 240.0, 60.0
VALIDATED_S, WARM_S = 180.0, 240.0
_STEP = re.compile(r"step (\d+)")
"""In a dump's `where`: the step of its launch."""
GRACE_S = 20.0


Outcome = tuple[bool | None, str, dict[str, Any]]
"""Whether a part held (None: no verdict), why not, and its figures."""


class Rig(JobServer):
    """Plays one job's parts in order and keeps what they came to."""

    # -- the job -----------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        if self.job.parts == ("refused",):
            return ["refused"]
        return ["start", *(part.partition(":")[0] for part in self.job.parts)]

    @property
    def done(self) -> bool:
        return all(self.results.done(self.job.name, name) for name in self.names)

    def play(self) -> None:
        """Start the server, play what is not done yet, stop it. Never raises."""
        try:
            shutil.rmtree(self.folder, ignore_errors=True)  # an earlier run's, that was cut off
            self.folder.mkdir(parents=True)
            self.server = self.make_server(
                self.model,
                self.port,
                self.folder / "server.log",
                env=self.environment(),
                flags=self.flags,
                plugin_paths=self.plugins(),
            )
            if self.names == ["refused"]:
                self.cell("refused", self.refused)
                return
            started = self.cell("start", self.start)
            for part in self.job.parts:
                name, _, argument = part.partition(":")
                if self.results.done(self.job.name, name):
                    continue
                if started is not True:
                    self.not_played(name, "the server did not start")
                elif self.clock.over:
                    self.not_played(name, "the budget was spent")
                elif self.fell():
                    self.not_played(name, f"the server was dead: {self.death()}")
                else:
                    method = getattr(self, name)
                    self.cell(name, partial(method, *([argument] if argument else [])))
        except Exception as error:
            self.not_played("start", f"{type(error).__name__}: {error}")
        finally:
            self.stop()

    def stop(self) -> None:
        if self.server is not None:
            try:
                self.server.stop()
            except Exception as error:
                self.not_played("stop", f"{type(error).__name__}: {error}")

    def cell(self, name: str, play: Callable[[], Outcome]) -> bool | None:
        """Play one part and keep what it came to; an exception is a cell that did not hold."""
        began = time.time()
        held: bool | None
        try:
            held, why, figures = play()
        except Exception as error:
            held, why = False, f"{type(error).__name__}: {error}"[:600]
            figures = {"trace": _trace(), "death": self.death()}
        if self.clock.over and not held:
            held, why = None, f"cut off by the budget; {why}"
        figures = {**figures, "since": round(began, 3), "until": round(time.time(), 3)}
        self.results.add(
            Cell(self.job.name, name, held, why, round(time.time() - began, 2), figures)
        )
        return held

    def not_played(self, name: str, why: str) -> None:
        self.results.add(Cell(self.job.name, name, None, why[:600]))

    # -- parts -------------------------------------------------------------------------

    def start(self) -> Outcome:
        seconds = self.server.start(timeout_s=max(1.0, min(START_S, self.clock.left)))
        log = self.log()
        observers = sorted(set(re.findall(r"lab observer: (.*)", log)))
        return True, "", {"start_s": round(seconds, 2), "observers": observers[:8]}

    def plain(self, suffix: str = "") -> Outcome:
        """The repeatable load: every request answered; what it answered is compared later."""
        before = len(self.log())
        found = self.within(
            PLAIN_S,
            lambda: load.plain(
                self.port,
                vocab_size=VOCAB,
                temperature=self.job.temperature,
                alive=self.alive,
                **PLAIN,
            ),
        )
        figures = self.loaded(found)
        figures["outputs"] = {
            str(index): zlib.crc32(" ".join(map(str, ids)).encode())
            for index, ids in found.outputs.items()
        }
        figures["batches"] = server_log.prompt_batches(self.log()[before:])
        if self.sound is None:
            self.sound = found
        else:
            equal, compared, before = found.same_as(self.sound)
            figures["as the first load"] = {
                "equal": equal,
                "of": compared,
                "share of tokens before a difference": round(before, 4),
            }
        held = found.ok == found.requests and not self.fell()
        return held, "" if held else self.unhappy(found), figures

    plain_again = plain

    def plain_wrong(self) -> Outcome:
        """The same load after the defect has begun, with nobody to stop it."""
        self.control.touch()
        return self.plain()

    def plain_mistaken(self) -> Outcome:
        """The same load with the job's kernel mistake: do the answers show it, as they should?"""
        mistake = kernel_mistakes.find(self.job.mistake)
        self.control.touch()
        held, why, figures = self.plain()
        seen = figures["kernel"] = kernel_mistakes.read(self.mistaken_path)
        if not seen["calls"]:
            return False, f"the server never computed with the mistake; {why}", figures
        before = figures.get("as the first load", {"equal": 0, "of": 0})
        if mistake.shows and not (seen["unlike"] and before["equal"] < before["of"]):
            return False, f"nothing shows it: {before['equal']} of {before['of']} equal", figures
        if not mistake.shows and seen["unlike"]:
            return False, f"{seen['unlike']} elements differ, and none should here", figures
        return held, why, figures

    def validated(self, name: str) -> Outcome:
        """The mistake must be found by the checks of its op, on this device, and only it."""
        device = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
        kernel_mistakes.write_folder(name, self.folder / "mistakes")
        limit = max(1.0, min(VALIDATED_S, self.clock.left))
        (row,) = kernels.play(self.folder / "mistakes", device=device, seconds=limit)
        complaints = [] if row["result"] == kernels.CAUGHT else [f"{row['result']}: {row['why']}"]
        if row["false_alarm"]:
            complaints.append(f"said of the correct kernel: {row['false_alarm']}")
        return not complaints, "; ".join(complaints), {"device": device, **row}

    def plain_injected(self) -> Outcome:
        """The same load while an error is raised at each call that a hook of ours makes."""
        self.control.touch()
        held, why, figures = self.plain()
        seen = figures["injected"] = inject.read(self.injected_path)
        if not seen["errors"]:
            return False, f"no error was raised; {why}", figures
        if seen["else"]:
            return False, f"not told once: {', '.join(seen['else'])}; {why}", figures
        return held, why, figures

    def warm(self) -> Outcome:
        """A few short requests, so that what is compiled at the first one is there."""

        def play() -> load.LoadResult:
            return load.plain(
                self.port,
                requests=4,
                output_tokens=4,
                vocab_size=VOCAB,
                temperature=self.job.temperature,
                alive=self.alive,
            )

        found = self.within(WARM_S, play)
        held = found.ok == found.requests and not self.fell()
        return held, "" if held else self.unhappy(found), self.loaded(found)

    def refused(self) -> Outcome:
        """A combination that SGLang cannot serve: held where it ends with an error of its own."""
        said = ""
        try:
            self.start()
        except ServerDied as error:  # anything else is no word of SGLang's
            said = str(error)[:600]
        else:
            try:
                self.plain()
            except Exception as error:  # a load breaks off in many ways where its server dies
                if isinstance(error, TimeoutError) or not self.fell():
                    raise
                said = f"{type(error).__name__}: {error}"[:600]
        death = self.death()
        lines = self.log().strip().splitlines()[-12:]
        figures = {"said": said, "death": death, "log": [line[:300] for line in lines]}
        if not (death or said):
            return False, "SGLang serves it: it is no longer refused", figures
        return True, "", figures

    def logged(self, cause: str = "") -> Outcome:
        """Mode `log`: the defect begins, the server answers on and dumps the first wrong step."""
        _, why, figures = self.plain_wrong()
        figures["oracle"] = self.account()
        dumps = figures["dumps"] = [explained(path).json() for path in self.dump_files()]
        seen = oracle.read_account(self.oracle_path)
        complaints = [why] if why else []
        if not dumps:
            complaints.append("no dump")
        steps = [found[1] for one in dumps if (found := _STEP.search(one["where"]))]
        if seen.first_wrong is None:
            complaints.append("the oracle saw nothing wrong")
        elif str(seen.first_wrong) not in steps:
            complaints.append(f"first wrong in step {seen.first_wrong}, dumps of {steps or 'none'}")
        named = [name for one in dumps for name in one["keys"]]
        if cause not in named:
            complaints.append(f"explained as {named or 'unknown'}, expected {cause}")
        return not complaints, "; ".join(complaints), figures

    def mixed(self, requests: str = "500") -> Outcome:
        """Aborts, shared prefixes, edges: nobody may raise an alarm, and every request is answered.

        Requests that the server itself aborts are counted apart, as are chunked prefills and
        retractions in its log. A load that is cut off is no verdict, but what was answered
        until then is kept.
        """
        before = len(self.log())
        found, cut_off = self.mixed_load(int(requests))
        figures = self.loaded(found)
        told = [explained(each).json() for each in self.dump_files()]
        figures["dumps"] = [each for each in told if not self.as_released(each)]
        figures["oracle"] = self.account()
        figures["log"] = server_log.activity(self.log()[before:], CHUNKED_PREFILL).json()
        if figures["dumps"] or not self.server.alive or found.failed:
            return False, self.unhappy(found), figures
        if cut_off or found.unsent:
            return None, f"{cut_off}; {found.unsent} were not sent", figures
        return True, "", figures

    def as_released(self, dump: dict[str, Any]) -> bool:
        return bool(dump["keys"]) and set(dump["keys"]) <= set(self.job.released)

    def alarm(self, cause: str = "") -> Outcome:
        """The defect begins: the server must stop itself in the oracle's first wrong step."""
        self.provoke()
        figures: dict[str, Any] = {"oracle": self.account(), "death": self.death()}
        dumps = figures["dumps"] = [explained(path).json() for path in self.dump_files()]
        seen = oracle.read_account(self.oracle_path)
        complaints = []
        if not self.fell():
            complaints.append("the server lives: no alarm")
        if not dumps:
            complaints.append("no dump")
        if seen.first_wrong is None:
            complaints.append("the oracle saw nothing wrong")
        elif seen.raised != seen.first_wrong:
            complaints.append(f"first wrong in step {seen.first_wrong}, alarm in {seen.raised}")
        named = [name for one in dumps for name in one["keys"]]
        if cause and cause not in named:
            complaints.append(f"explained as {named or 'unknown'}, expected {cause}")
        return not complaints, "; ".join(complaints), figures

    def mixed_load(self, requests: int) -> tuple[load.LoadResult, str]:
        """What was answered, and why it was cut off, "" if it was not."""
        path = self.folder / "mixed.jsonl"

        def play() -> load.LoadResult:
            return load.mixed(
                self.port,
                requests=requests,
                vocab_size=VOCAB,
                page_size=self.page_size,
                temperature=self.job.temperature,
                alive=self.alive,
                results_path=path,
            )

        try:
            return self.within(MIXED_S, play), ""
        except TimeoutError as error:
            return load.read(path), str(error)

    def mixed_alarm(self, cause: str, requests: str = "300") -> Outcome:
        """A defect that the release has and a mixed load meets: the server must stop itself.

        Right on a release with the defect alone; the dump has to be explained as `cause`.
        """
        found, _ = self.mixed_load(int(requests))
        self.await_end()
        figures = self.loaded(found) | {"death": self.death()}
        dumps = figures["dumps"] = [explained(each).json() for each in self.dump_files()]
        complaints = []
        if not self.fell():
            complaints.append(
                f"the server lives after {found.requests} requests: `triage fixes` says whether "
                "this release has the defect"
            )
        named = [name for one in dumps for name in one["keys"]]
        if cause not in named:
            complaints.append(f"explained as {named or 'nothing'}, expected {cause}")
        return not complaints, "; ".join(complaints), figures

    def hand(self, defect: str) -> Outcome:
        """A ledger defect begins: the dump must name the line that gave the page back."""
        self.provoke()
        planted = ledger_defects.PLANTED[defect]
        found = [explained(path) for path in self.dump_files()]
        found.sort(key=lambda each: not each.hands)  # counts are logged first, and name no page
        figures = {"death": self.death(), "dumps": [each.json() for each in found]}
        complaints = [] if self.fell() else ["the server lives: no alarm"]
        if not found:
            complaints.append("no dump")
            return False, "; ".join(complaints), figures
        if planted.cause not in found[0].keys:
            complaints.append(f"explained as {found[0].keys or 'unknown'}, not {planted.cause}")
        frames = [hand.rpartition(" by ")[2] for hand in found[0].hands]
        if not any(planted.is_in(frame) for frame in frames):
            complaints.append(f"named {frames or 'nobody'}, not {planted.function.__name__}")
        return not complaints, "; ".join(complaints), figures

    def crash(self) -> Outcome:
        """The same without sglang-triage: SGLang's own log must say that an address was wrong."""
        self.provoke()
        illegal = [
            line.strip()[:300]
            for line in self.log().splitlines()
            if any(each in line for each in WRONG_ADDRESS)
        ]
        figures = {
            "lines": illegal[:3],
            "death": self.death(),
            "map": self.map(),
            "oracle": self.account(),
        }
        held = bool(illegal) and self.fell()
        return held, "" if held else "no fault of an address in the server's log", figures

    def provoke(self) -> None:
        """Let the defect begin, load the server, and wait for its end or for the load's."""
        self.control.touch()
        over = threading.Event()

        def play() -> None:
            try:
                load.plain(
                    self.port,
                    vocab_size=VOCAB,
                    seed=7,
                    temperature=self.job.temperature,
                    alive=self.alive,
                    **PROVOKED,
                )
            except Exception:  # the server is expected to die under it
                pass
            finally:
                over.set()

        threading.Thread(target=play, daemon=True).start()
        end = time.monotonic() + min(DEATH_S, self.clock.left)
        while time.monotonic() < end and not self.fell() and not over.is_set():
            time.sleep(0.25)
        self.await_end()

    def await_end(self) -> None:
        """A scheduler that raised takes its parent down a little later."""
        grace = time.monotonic() + min(GRACE_S, self.clock.left)
        while time.monotonic() < grace and not self.fell():
            time.sleep(0.25)


def _trace() -> str:
    """The end of the exception at hand, its files by their place in this checkout."""
    return traceback.format_exc().replace(f"{CHECKOUT}/", "")[-1500:]
