"""What linters cannot hold: names that must meet, sizes, and what each table and setting is."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from models.outbox import queue_of
from models.webhooks import HANDLED
from schedules.beat import entries
from tasks import webhooks
from worker.app import app
from worker.queues import SUBJECTS

ROOT = Path(__file__).parents[1]
ROOMS = ("web", "tasks", "worker", "models", "schedules", "sandbox")
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
OURS: set[str] = set()


@pytest.fixture(scope="module", autouse=True)
def _tasks_are_registered(migrated):
    # Not when this module is read: the app would take its settings before the fixture sets them.
    app.loader.import_default_modules()
    OURS.update(n for n in app.tasks if not n.startswith(("celery.", "outbox.test_")))


def calls(path: Path, name: str):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == name:
            yield node


def enqueued() -> set[str]:
    return {
        argument.value
        for path in SOURCES
        for call in calls(path, "enqueue")
        for argument in call.args[1:2]
        if isinstance(argument, ast.Constant)
    }


def test_every_name_that_is_owed_is_a_registered_task():
    names = enqueued()
    assert "payments.charge" in names
    assert names <= OURS


def test_every_beat_entry_is_a_registered_task():
    assert set(entries(sweep_every_s=5)) <= OURS


def test_every_task_is_named_like_its_module_and_has_a_queue():
    for name in OURS:
        assert app.tasks[name].run.__module__.startswith(("tasks.", "worker.")), name
        assert queue_of(name) in SUBJECTS, name
        assert (ROOT / "tasks" / f"{queue_of(name)}.py").exists(), name


def test_every_task_says_why_running_twice_is_safe():
    for subject in SUBJECTS:
        tree = ast.parse((ROOT / "tasks" / f"{subject}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and any(
                re.match(r"(task|calling_task|draining_task|periodic)\(", ast.unparse(d))
                for d in node.decorator_list
            ):
                said = ast.get_docstring(node) or ""
                assert re.search(r"[Ss]afe (twice|in any)", said), f"{subject}.{node.name}"


# Who asks no breaker before it claims, and why.
UNASKED = {
    "endpoints.deliver": "an endpoint has its own slots and steps",
    "reports.run": "our own database is no provider",
    "exports.write": "files are no provider's",
    "exports.index": "a search engine is no provider: each batch waits as it wishes",
    "VERIFYING": "a certificate is no payment's business",
    "reviews.settle": "a person waits for it",
    "reviews.settle_refund": "a person waits for it",
}


def functions_of(path: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(path.read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def calls_in(name: str, functions: dict[str, ast.FunctionDef], seen: set[str]) -> set[str]:
    """What a function calls, and what those of its module that it calls do."""
    if name not in functions or name in seen:
        return set()
    seen.add(name)
    called = {
        ast.unparse(node.func).split(".")[-1]
        for node in ast.walk(functions[name])
        if isinstance(node, ast.Call)
    }
    return called.union(*(calls_in(each, functions, seen) for each in called))


def test_every_task_that_calls_a_provider_asks_its_breaker_before_it_claims():
    asking, silent = set(), set()
    for path in sorted((ROOT / "tasks").glob("*.py")):
        for call in calls(path, "calling_task"):
            claim = next(ast.unparse(each.value) for each in call.keywords if each.arg == "claim")
            # A claim of another module is the one of charges.
            home = path if claim in functions_of(path) else ROOT / "tasks" / "claims.py"
            called = calls_in(claim, functions_of(home), set())
            task = ast.unparse(call.args[0]).strip("'")
            (asking if "waits_for" in called else silent).add(task)
    assert "payments.charge" in asking
    assert silent == set(UNASKED)


def test_every_event_type_that_is_owed_has_a_handler():
    assert {name: set(kinds) for name, kinds in webhooks.HANDLERS.items()} == HANDLED


def test_every_queue_is_read_by_a_process_of_the_procfile():
    read = re.findall(r"-Q (\S+)", (ROOT / "Procfile").read_text())
    queues = [queue for line in read for queue in line.split(",")]
    assert sorted(queues) == sorted(SUBJECTS)


def test_only_the_clock_reads_the_clock():
    # The rate limiter's library keeps windows by the machine's own clock.
    allowed = {ROOT / "models" / "clock.py", ROOT / "web" / "limits.py"}
    for path in SOURCES:
        if path in allowed or "sandbox" in path.parts or "telemetry" in path.parts:
            continue
        text = path.read_text()
        found = re.findall(r"datetime\.(?:now|utcnow|today)\(|\btime\.time\(", text)
        assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_money_is_never_a_float():
    of_money = [p for p in SOURCES if p.relative_to(ROOT).parts[0] in ("models", "tasks")]
    assert ROOT / "models" / "money.py" in of_money
    makers = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in of_money
        for call in calls(path, "float")
    ]
    assert makers == []


@pytest.mark.parametrize(("folders", "most"), [(ROOMS, 400), (("tests", "benchmarks"), 600)])
def test_modules_keep_their_size(folders, most):
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            if "versions" not in path.parts:
                assert len(path.read_text().splitlines()) <= most, path.relative_to(ROOT)


def test_the_dependencies_are_locked_with_hashes_and_no_index():
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        pins = re.findall(r"^([a-z0-9][a-z0-9._-]*)==", text, re.MULTILINE)
        assert len(pins) > 50
        assert "://" not in text
        for block in re.split(r"\n(?=\S)", text.strip()):
            assert "--hash=sha256:" in block, block.splitlines()[0]


def test_lint_knows_a_reason_for_each_rule_it_leaves_out():
    text = (ROOT / "pyproject.toml").read_text()
    ignored = tomllib.loads(text)["tool"]["ruff"]["lint"]["ignore"]
    for rule in ignored:
        assert re.search(rf'"{rule}",?\s+# \S+', text), rule
