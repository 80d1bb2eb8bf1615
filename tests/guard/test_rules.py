from pathlib import Path
from typing import Any

import pytest
from guard_parts import FETCH, MOVE, READ, SPECS, WRITE, context, step

from shuntyard.guard import PolicyGate, Rule, default_rules, rules_from
from shuntyard.settings import RuleSettings, Settings
from shuntyard.steps import Bound, Label, Node, Plan, ToolSpec, Verdict

pytestmark = pytest.mark.anyio


async def judge(workspace: Path, spec: ToolSpec, *rules: RuleSettings, **args: Any) -> Verdict:
    gate = PolicyGate(rules_from(Settings(rules=rules)))
    return await gate.judge(step(spec.name, **args), spec, context(workspace))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    inside = tmp_path / "work"
    (inside / "reports").mkdir(parents=True)
    (inside / ".git").mkdir()
    (tmp_path / "secret.txt").write_text("s")
    (inside / "way_out").symlink_to(tmp_path)
    (inside / "to_git").symlink_to(inside / ".git")
    return inside


@pytest.mark.parametrize(
    ("spec", "args", "decision", "rule"),
    [
        (READ, {"path": "reports/a.txt"}, "allow", "read"),
        (READ, {}, "allow", "read"),
        (READ, {"path": None}, "allow", "read"),
        (READ, {"path": "reports/../../secret.txt"}, "deny", "outside-workspace"),
        (READ, {"path": "/etc/passwd"}, "deny", "outside-workspace"),
        (READ, {"path": "way_out/secret.txt"}, "deny", "outside-workspace"),
        (READ, {"path": "way_out/not/there"}, "deny", "outside-workspace"),
        (READ, {"path": 3}, "deny", "fails-closed"),
        (READ, {"path": "a\0b"}, "deny", "fails-closed"),
        (READ, {"path": Bound("$1", {"$1": "x"})}, "deny", "fails-closed"),
        (WRITE, {"path": "reports/new/a.txt"}, "ask", "write"),
        (WRITE, {"path": ".git/config"}, "deny", "hidden-write"),
        (WRITE, {"path": "reports/../.git/config"}, "deny", "hidden-write"),
        (WRITE, {"path": "to_git/config"}, "deny", "hidden-write"),
        (WRITE, {"path": "reports/.env"}, "deny", "hidden-write"),
        (WRITE, {"path": "shuntyard.toml"}, "deny", "settings-write"),
        (WRITE, {"path": "reports/../shuntyard.toml"}, "deny", "settings-write"),
        (WRITE, {"path": "way_out/new.txt"}, "deny", "outside-workspace"),
        (MOVE, {"paths": ["reports/a", "reports/b"], "to": "reports/c"}, "ask", "write"),
        (MOVE, {"paths": ["reports/a", "../secret.txt"], "to": "reports/c"}, "deny", "outside-workspace"),
        (MOVE, {"paths": ["reports/a"], "to": ".git"}, "deny", "hidden-write"),
        (FETCH, {"url": "https://example.com"}, "ask", "external"),
    ],
)
async def test_the_default_policy(
    workspace: Path, spec: ToolSpec, args: dict[str, Any], decision: str, rule: str
) -> None:
    verdict = await judge(workspace, spec, **args)
    assert (verdict.decision, verdict.rule) == (decision, rule)
    assert verdict.reason and (verdict.args_digest or rule == "fails-closed")


async def test_an_absolute_path_inside_is_inside(workspace: Path) -> None:
    assert (await judge(workspace, WRITE, path=str(workspace / "reports" / "a.txt"))).decision == "ask"
    assert (await judge(workspace, WRITE, path=str(workspace / ".git" / "a.txt"))).rule == "hidden-write"


async def test_a_workspace_in_a_hidden_folder_is_not_hidden_itself(tmp_path: Path) -> None:
    hidden = tmp_path / ".cache" / "work"
    hidden.mkdir(parents=True)
    assert (await judge(hidden, WRITE, path="a.txt")).decision == "ask"


async def test_the_first_matching_rule_decides_and_settings_come_first(workspace: Path) -> None:
    rules = (
        RuleSettings(tool="write_file", args={"path": "reports/*"}, decision="allow", name="reports"),
        RuleSettings(effect="write", decision="deny", reason="nothing else."),
    )
    assert (await judge(workspace, WRITE, *rules, path="reports/a.txt")).rule == "reports"
    verdict = await judge(workspace, WRITE, *rules, path="a.txt")
    assert (verdict.decision, verdict.rule, verdict.reason) == ("deny", "rule-2", "nothing else.")
    assert (await judge(workspace, FETCH, *rules, url="x")).rule == "external"


@pytest.mark.parametrize("path", ["reports/../.git/config", "reports/../a.txt", "to_git/reports/x", "xreports/a.txt"])
async def test_a_path_glob_sees_where_the_path_leads(workspace: Path, path: str) -> None:
    rule = RuleSettings(args={"path": "./reports/*"}, decision="allow", name="reports")
    assert (await judge(workspace, WRITE, rule, path=path)).rule != "reports"
    assert (await judge(workspace, WRITE, rule, path="./reports//./b.txt")).rule == "reports"


async def test_globs_are_anchored_and_an_absent_argument_never_matches(workspace: Path) -> None:
    rule = RuleSettings(tool="http_get", args={"url": "https://corp.example/*"}, decision="allow", name="corp")
    assert (await judge(workspace, FETCH, rule, url="https://corp.example/a/b")).rule == "corp"
    for url in (
        "https://evil.example/?r=https://corp.example/x",
        "https://corp.example.evil/",
        "HTTPS://corp.example/",
    ):
        assert (await judge(workspace, FETCH, rule, url=url)).rule == "external"
    everything = rule.model_copy(update={"args": {"url": "*"}})
    assert (await judge(workspace, FETCH, everything)).rule == "external"


async def test_of_a_list_all_must_be_allowed_and_one_is_enough_to_deny(workspace: Path) -> None:
    allow = RuleSettings(args={"paths": "reports/*"}, decision="allow", name="allow")
    deny = RuleSettings(args={"paths": "*.key"}, decision="deny", name="deny")
    assert (await judge(workspace, MOVE, allow, paths=["reports/a", "reports/b"], to="x")).rule == "allow"
    assert (await judge(workspace, MOVE, allow, paths=["reports/a", "b"], to="x")).rule == "write"
    assert (await judge(workspace, MOVE, allow, paths=[], to="x")).rule == "write"
    assert (await judge(workspace, MOVE, deny, paths=["a", "b.key"], to="x")).rule == "deny"


async def test_without_a_matching_rule_a_call_is_denied(workspace: Path) -> None:
    verdict = await PolicyGate([]).judge(step("read_file", path="a"), READ, context(workspace))
    assert (verdict.decision, verdict.rule) == ("deny", "unmatched")


async def test_a_rule_that_raises_denies(workspace: Path) -> None:
    class Broken(Rule):
        def matches(self, call: object) -> bool:
            raise RuntimeError("boom")

    gate = PolicyGate([Broken("broken", "allow", ""), *default_rules()])
    verdict = await gate.judge(step("read_file", path="a"), READ, context(workspace))
    assert (verdict.decision, verdict.rule) == ("deny", "fails-closed") and "boom" in verdict.reason
    plan = Plan(task="t", nodes=(Node(id="n1", tool="read_file", args={"path": "a"}),))
    assert (await gate.review(plan, SPECS, context(workspace)))["n1"].rule == "fails-closed"


async def test_the_person_is_told_what_flows_into_an_effect(workspace: Path) -> None:
    labels = {
        "text": Label(sources=("tool",), tools=("read_file",)),
        "path": Label(sources=("task",)),
        "note": Label(sources=("memory",)),
    }
    call = step("write_file", path="a.txt", text="hi", labels=labels)
    verdict = await PolicyGate(default_rules()).judge(call, WRITE, context(workspace))
    assert "'text' carries content from read_file" in verdict.reason
    assert "'note' carries content from memory" in verdict.reason and "'path'" not in verdict.reason


async def test_a_review_decides_as_far_as_literals_tell(workspace: Path) -> None:
    ref = {"$ref": "n1.path"}
    plan = Plan(
        task="t",
        nodes=(
            Node(id="n1", tool="read_file", args={"path": "../x"}),
            Node(id="n2", tool="write_file", args={"path": ".git/x", "text": ref}),
            Node(id="n3", tool="write_file", args={"path": ref}),
            Node(id="n4", tool="write_file", args={"path": {"$text": ["reports/", ref]}}),
            Node(id="n5", tool="write_file", args={"path": "a", "text": [{"deep": ref}]}),
            Node(id="n6", tool="nobody"),
            Node(id="n7", tool="read_file", args={"path": ref}),
        ),
    )
    verdicts = await PolicyGate(default_rules()).review(plan, SPECS, context(workspace))
    assert [verdicts[f"n{n}"].decision for n in range(1, 8)] == ["deny", "deny", "ask", "ask", "ask", "deny", "allow"]
    assert "judged again" in verdicts["n3"].reason and "judged again" not in verdicts["n5"].reason
    assert "nobody" in verdicts["n6"].reason


async def test_a_plan_is_not_refused_for_what_a_value_could_still_mend(workspace: Path) -> None:
    rules = (
        RuleSettings(args={"path": "reports/*"}, decision="allow"),
        RuleSettings(tool="write_file", decision="deny"),
    )
    plan = Plan(
        task="t",
        nodes=(
            Node(id="n1", tool="write_file", args={"path": {"$ref": "n9"}}),
            Node(id="n2", tool="write_file", args={"path": "other"}),
        ),
    )
    verdicts = await PolicyGate(rules_from(Settings(rules=rules))).review(plan, SPECS, context(workspace))
    assert verdicts["n1"].decision == "ask" and verdicts["n2"].decision == "deny"
    # And when it runs, its value decides.
    assert (await judge(workspace, WRITE, *rules, path="other")).decision == "deny"
