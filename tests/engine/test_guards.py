"""What Claude Code is held to in workers: the guards against accidents, and the MCP servers of each worker. The model is played."""

import json
import os
import uuid

import pytest
from conftest import run
from system import fresh_system, home_of, played_model

GUARD = "HAL-9000 guards against accidents"
UNGUARDED = """
[profile.unguarded]
image = "hal9000/worker-minimal"
command = ["claude"]
guards = []
"""
FOR_ALL = ["--allowedTools", "Read,Edit,Bash", "--output-format", "json"]


@pytest.fixture(scope="module")
def system(engine_host, build_images, mcp_servers):
    with fresh_system(engine_host, {name: mcp_servers[name] for name in ("memory-bank", "sequential-thinking")}) as system:
        (system.config / "conf.d/unguarded.toml").write_text(UNGUARDED)
        system.start()
        system.until_parent_runs()
        yield system


@pytest.fixture
def spawn(system, tmp_path):
    """Spawns workers on a git project with a commit, an uncommitted change and secrets."""
    project = tmp_path / "project"
    project.mkdir()
    os.chmod(tmp_path, 0o755)
    (project / "kept").write_text("committed\n")
    (project / ".env").write_text("KEY=secret-of-the-project\n")
    run("sh", "-c", "git init -q && git add kept && git -c user.name=a -c user.email=b commit -qm first", cwd=project)
    (project / "kept").write_text("not committed\n")
    names = []

    def spawn(*options):
        names.append(f"g-{uuid.uuid4().hex[:8]}")
        system.claudy("spawn", project, "--name", names[-1], *options, "--", "sleep", "infinity")
        return names[-1], project

    yield spawn
    system.claudy("rm", *names, check=False)


def turn(system, worker, steps, folder):
    with played_model(system, steps, folder) as environment:
        answer = json.loads(system.claudy("exec", *environment, worker, "--", "claude", "-p", "do it", *FOR_ALL, timeout=180))
    assert answer["result"] == "done", answer
    return answer


def test_what_would_do_damage_is_refused_with_the_reason(system, spawn, tmp_path_factory):
    worker, project = spawn()
    steps = [
        {"tool": "Bash", "input": {"command": "cd /workspace && git -C . push --force origin main"}},
        {"tool": "Bash", "input": {"command": "git reset --hard"}, "expect": f"{GUARD}: git push --force"},
        {"tool": "Bash", "input": {"command": "rm -rf /"}, "expect": f"{GUARD}: git reset --hard"},
        {"tool": "Read", "input": {"file_path": "/workspace/.env"}, "expect": f"{GUARD}: rm -r of /"},
        {"tool": "Bash", "input": {"command": "cat .env"}, "expect": f"{GUARD}: /workspace/.env holds secrets"},
        {"tool": "Bash", "input": {"command": "git status --short && rm -rf build"}, "expect": f"{GUARD}: .env holds secrets"},
        {"text": "done", "expect": "M kept"},
    ]
    denials = turn(system, worker, steps, tmp_path_factory.mktemp("model"))["permission_denials"]
    assert len(denials) == 5, denials
    assert (project / "kept").read_text() == "not committed\n"


def test_a_profile_may_do_without(system, spawn, tmp_path_factory):
    worker, project = spawn("--profile", "unguarded")
    steps = [
        {"tool": "Bash", "input": {"command": "git reset -q --hard; cat .env"}},
        {"text": "done", "expect": "secret-of-the-project"},
    ]
    turn(system, worker, steps, tmp_path_factory.mktemp("model"))
    assert (project / "kept").read_text() == "committed\n"


def test_a_users_own_settings_do_not_take_them_away(system, spawn, tmp_path_factory):
    worker, project = spawn()
    (project / ".claude").mkdir()
    (project / ".claude/settings.json").write_text(json.dumps({"disableAllHooks": True, "hooks": {"PreToolUse": []}}))
    steps = [{"tool": "Bash", "input": {"command": "git reset --hard"}}, {"text": "done", "expect": f"{GUARD}: git reset --hard"}]
    turn(system, worker, steps, tmp_path_factory.mktemp("model"))
    assert (project / "kept").read_text() == "not committed\n"


def listed(system, worker):
    answer = system.claudy("exec", worker, "--", "claude", "mcp", "list")
    return {line.split(":")[0] for line in answer.splitlines() if ": " in line}


def test_each_worker_of_an_owner_has_its_own_servers(system, spawn):
    first, _ = spawn("--server", "memory-bank")
    second, _ = spawn("--server", "sequential-thinking")
    both, _ = spawn()
    assert listed(system, first) == {"memory-bank"}, "though the claims after it wrote into the same ~/.claude.json"
    assert listed(system, second) == {"sequential-thinking"}
    assert listed(system, both) == {"memory-bank", "sequential-thinking"}
    # The user's own are everybody's.
    system.claudy("exec", first, "--", "claude", "mcp", "add", "--scope", "user", "mine", "--", "/bin/cat")
    assert all("mine" in listed(system, worker) for worker in (first, second, both))
    config = home_of(system) / ".claude.json"
    assert set(json.loads(config.read_text())["mcpServers"]) == {"memory-bank", "sequential-thinking", "mine"}
