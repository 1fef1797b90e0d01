"""The faults, the requests at which they strike, and what must hold after each."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.hub import Fault, Request
from tests.hub.accounts import TOKENS
from tests.publishing.faults_world import OPTIONS, QUICK_SECONDS, SECRETS, TOKEN, Case, Said, State, World

FAULTS: dict[str, dict[str, Any]] = {
    "401": {"status": 401, "times": None},
    "403": {"status": 403, "times": None},
    "404": {"status": 404, "times": None},
    "409": {"status": 409, "times": None},
    "412": {"status": 412, "times": None},
    "429 with Retry-After": {"status": 429, "headers": {"Retry-After": "1"}},
    "429 twice": {"status": 429, "times": 2},
    "500": {"status": 500},
    "502 after the work": {"status": 502, "after": True},
    "503 twice": {"status": 503, "times": 2},
    "503 for ever": {"status": 503, "times": None},
    "dropped": {"drop": True},
    "dropped after the work": {"drop": True, "after": True},
    "dropped for ever": {"drop": True, "times": None},
    "stalled": {"stall": 1.5},
    "stalled after the work": {"stall": 1.5, "after": True},
    "slow": {"rate": 60_000},
    "cut": {"cut": 20},
}
TOLD = (  # what a message says of the Hub, and when it is true: (text, state before, state) -> bool
    (r"whether .* landed is not known", lambda now, case: True),
    (r"holds the release at COMMIT", lambda now, case: now.main == "new"),
    (r"is merged into main", lambda now, case: now.main == "new"),
    (r"pull request \d+ holds the release", lambda now, case: now.main in ("old", "empty") and bool(now.held)),
    (r"is made and empty", lambda now, case: now.main == "empty"),
    (r"nothing was pushed", lambda now, case: now.main == ("old" if case.before else now.main) and now.main != "new"),
)


@dataclass(frozen=True)
class Point:
    """One request of an undisturbed push: the `number`-th of its kind."""

    origin: str
    method: str
    pattern: str
    number: int

    @property
    def name(self) -> str:
        """As a reader calls it."""
        path = (
            self.pattern.replace("\\", "").replace("[0-9a-f]{40,64}", "SHA").replace("alice/(?:f-d+|template)", "REPO")
        )
        return f"{self.origin} {self.method} {path.strip('^$')}" + (f" #{self.number + 1}" if self.number else "")

    @property
    def is_read_back(self) -> bool:
        """Whether the process that reads the release back sends it, or may."""
        words = ("resolve", "agent-harnesses", "tree", "xet-read", "reconstructions", "/xorbs/[", "telemetry")
        return self.origin == "cdn" or any(word in self.pattern for word in words)

    def fault(self, **what: Any) -> Fault:
        """A fault at this request."""
        return Fault(self.method, self.pattern, self.origin, skip=self.number, **what)

    def watch(self, act: Callable[[], Any]) -> "Watcher":
        """Something else that happens when this request begins."""
        return Watcher(self.method, self.pattern, self.origin, skip=self.number, act=act)


@dataclass
class Watcher(Fault):
    """Never a fault: calls `act` once when the request at which it is put begins."""

    act: Callable[[], Any] = lambda: None

    def matches(self, origin: str, method: str, target: str) -> bool:
        if super().matches(origin, method, target):
            self.seen += 1
            if self.seen > self.skip and not self.fired:
                self.fired = 1
                self.act()
        return False


@dataclass(frozen=True)
class Scenario:
    """What goes wrong: faults at points, or something else that `begin` sets up before the push."""

    name: str
    new_repository: bool = False
    faults: tuple[tuple[Point, str], ...] = ()
    begin: Callable[[World, Case], "Watcher"] | None = None
    options: tuple[str, ...] = OPTIONS


ONCE = "/api/agent-harnesses"  # asked once a process and kept, so a fault at it strikes one push at most


def learn(world: World, new_repository: bool = False, options: tuple[str, ...] = OPTIONS) -> list[Point]:
    """The requests of an undisturbed push. The files that the reader fetches stand for each other, but the weights do not."""
    case = world.case(new_repository)
    world.hub.requests.clear()
    said = world.push(case, filled(options, case))
    assert said.status == 0, said.output
    points: list[Point] = []
    for request in list(world.hub.requests):
        if request.path == ONCE:
            continue
        pattern = pattern_of(request)
        number = sum((p.origin, p.method, p.pattern) == (request.origin, request.method, pattern) for p in points)
        if not (number and "resolve" in pattern):
            points.append(Point(request.origin, request.method, pattern, number))
    return points


def pattern_of(request: Request) -> str:
    """The kind of a request, as a pattern."""
    path = re.escape(request.path)
    path = re.sub(r"alice/(f\\-\d+|template)", r"alice/(?:f-\\d+|template)", path)
    path = re.sub(r"\b[0-9a-f]{40,64}\b", "[0-9a-f]{40,64}", path)
    path = re.sub(r"collections/alice/[^/]+", r"collections/alice/[^/]+", path)
    path = re.sub(r"discussions/\d+", r"discussions/\\d+", path)
    path = re.sub(r"(resolve/[^/]+/)(?!model)\S+", r"\1(?!model)", path)
    query = r"\?include_prs" if "include_prs" in request.query else ""
    return f"^{path}" + (query or ("" if path.endswith("(?!model)") else r"(?![\w/]|\?include_prs)"))


def play(world: World, scenario: Scenario) -> dict[str, Any]:
    """Push among the faults, look, push again without them, look again; a row of the table."""
    case = world.case(scenario.new_repository)
    world.hub.leaks.clear()
    faults = [world.hub.fault(point.fault(**slower(point, FAULTS[name]))) for point, name in scenario.faults]
    if scenario.begin:
        faults += [world.hub.fault(scenario.begin(world, case))]
    stalls = any("stalled" in name for _, name in scenario.faults)
    options = filled(scenario.options, case)
    read = any(point.is_read_back for point, _ in scenario.faults) or scenario.begin is not None
    said = world.push(case, options, QUICK_SECONDS if stalls else 20.0, read)
    world.hub.clear_faults()
    world.hub.accounts.tokens.update(TOKENS)
    struck = sum(fault.fired > 0 for fault in faults)
    return judge(world, case, scenario.name, said, options) | {"struck": struck}


def filled(options: tuple[str, ...], case: Case) -> tuple[str, ...]:
    """The options with the repository's name where they have a place for it."""
    return tuple(option.format(case.repo_id.split("/")[1]) for option in options)


def expiring(point: Point) -> Callable[[World, Case], Watcher]:
    """The token is no longer valid from a request on."""
    return lambda world, _: point.watch(lambda: world.hub.accounts.tokens.pop(TOKEN))


def somebody(point: Point, path: str) -> Callable[[World, Case], Watcher]:
    """Somebody else commits to main before a request."""
    return lambda world, case: point.watch(lambda: world.commit_of_somebody(case, path))


def slower(point: Point, what: dict[str, Any]) -> dict[str, Any]:
    """Xet's client gives up a silent connection after two seconds."""
    return what | {"stall": 2.5} if "stall" in what and point.origin == "cas" else what


def judge(world: World, case: Case, name: str, said: Said, options: tuple[str, ...] = OPTIONS) -> dict[str, Any]:
    """What came of a push (`said`), and of the same command once more; `wrong` lists what may not be."""
    first = world.state(case)
    wrong = wrong_after(first, said, case)
    somebody = len(case.changed)
    if said.status != 0:
        case.changed.clear()  # what is ours comes back, whoever changed it
    again = world.push(case, options, reader_process=False) if said.status != 0 else None
    last = world.state(case)
    wrong += wrong_after(last, again, case, 1 + somebody) if again else []
    if again and again.status != 0:
        wrong.append(f"the rerun ended with {again.status}: {again.message}")
    wrong += [f"a token in {path}" for path in world.secrets(case)]
    wrong += [f"a token went to {leak.origin}" for leak in world.hub.leaks]
    return {
        "scenario": name,
        "xet": world.xet,
        "status": said.status,
        "message": said.message,
        "remote": first.main,
        "rerun": again.status if again else None,
        "remote_after_rerun": last.main,
        "commits": last.commits,
        "open_pull_requests": len(last.open),
        "token_in_output": any(SECRETS.search(s.output) is not None for s in (said, again) if s),
        "wrong": wrong,
    }


def wrong_after(now: State, said: Said, case: Case, commits: int = 1) -> list[str]:
    """What may not be after a push: half a release, a commit too many, a wrong tag, an untrue or missing word, a token."""
    wrong = [] if now.main != "other" else ["main holds neither the old nor the new release"]
    wrong += [f"{now.commits} commits of one release on main"] if now.commits > commits else []
    wrong += [f"the tag holds {now.tag}"] if now.tag not in (None, "new") else []
    wrong += ["a token in the output"] if SECRETS.search(said.output) else []
    if "Traceback (most recent call last):\n" in said.output:
        lines = said.output.split("Traceback (most recent call last):\n")[1].splitlines()
        end = next((number for number, line in enumerate(lines) if not line.startswith(" ")), len(lines) - 1)
        wrong.append("a traceback: " + " / ".join(line.strip() for line in lines[max(0, end - 4) : end + 1]))
    if said.status == 0:
        wrong += [] if now.main == "new" and now.tag else [f"success, but main holds {now.main}, tag {now.tag}"]
        wrong += [f"pull requests left open: {now.open}"] if now.open else []
    elif said.status is not None:
        wrong += untrue(said.message, now, case)
    return wrong


def untrue(message: str, now: State, case: Case) -> list[str]:
    """Whether the message says what the Hub holds, and truly."""
    for text, true in TOLD:
        if re.search(text, message):
            return [] if true(now, case) else [f"not so: {text!r} ({now.main}, open {now.open})"]
    return ["it does not say what the Hub holds"]


def single(
    points: list[Point], way: str = "", new_repository: bool = False, options: tuple[str, ...] = OPTIONS
) -> list[Scenario]:
    """Every fault at every request; `way` names the kind of push."""
    before = f"{way}: " if way else ""
    return [
        Scenario(f"{before}{name} at {point.name}", new_repository, ((point, name),), options=options)
        for point in points
        for name in FAULTS
    ]


def is_xet(point: Point) -> bool:
    """Whether a request is one of Xet's, or announces the weights to it."""
    return point.origin == "cas" or any(word in point.pattern for word in ("xet", "preupload", "/commit/"))


def without(points: list[Point], others: list[Point]) -> list[Point]:
    """The points of a kind that the others do not have."""
    kinds = {(p.origin, p.method, p.pattern, p.number) for p in others}
    return [p for p in points if (p.origin, p.method, p.pattern, p.number) not in kinds]
