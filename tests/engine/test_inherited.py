"""The owner's Claude settings on the host reach the real Claude Code in a worker, and nothing else of them does. The model is played."""

import json
import os
import uuid

import pytest
from conftest import run
from system import CLAUDY, fresh_system, home_of, played_model


@pytest.fixture(scope="module")
def host_home(tmp_path_factory):
    """A home for the owner, who is root here, with a ~/.claude as people have it."""
    home = tmp_path_factory.mktemp("home")
    claude = home / ".claude"
    for folder in "agents", "commands", "skills/tea", "projects/-home-me":
        (claude / folder).mkdir(parents=True)
    settings = {"model": "opus", "env": {"OF_THE_HOST": "inherited-value", "MY_API_KEY": "never-seen"}, "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "/nowhere"}]}]}}
    (claude / "settings.json").write_text(json.dumps(settings))
    (claude / "CLAUDE.md").write_text("Always answer in rhymes.\n")
    (claude / "agents/poet.md").write_text("---\nname: poet\ndescription: writes a rhyme for a word\n---\nRhyme.\n")
    (claude / "skills/tea/SKILL.md").write_text("---\nname: tea\ndescription: how to make tea\n---\nBoil water.\n")
    for name in ".credentials.json", "history.jsonl", "projects/-home-me/1.jsonl":
        (claude / name).write_text("never-seen")
    os.mkfifo(claude / "commands/pipe.md")
    return home


@pytest.fixture(scope="module")
def system(engine_host, build_images, host_home):
    with fresh_system(engine_host) as system:
        # The daemon sees that home in the place of root's own.
        system.wrapper = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /root && exec "$@"', host_home]
        system.start()
        system.until_parent_runs()
        yield system


@pytest.fixture
def worker(system, tmp_path):
    os.chmod(tmp_path, 0o755)
    name = f"i-{uuid.uuid4().hex[:8]}"
    # A directory that is open in another mount namespace is none for the daemon.
    within = ("nsenter", "--mount", "--target", system.daemon.pid)
    run(*within, CLAUDY, "spawn", tmp_path, "--name", name, "--", "sleep", "infinity", env=system.environment)
    yield name
    system.claudy("rm", name)


def test_a_turn_is_under_the_owners_settings(system, worker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    steps = [{"tool": "Bash", "input": {"command": "echo $OF_THE_HOST $MY_API_KEY"}}, {"text": "done", "expect": "inherited-value"}]
    with played_model(system, steps, folder) as environment:
        answer = json.loads(system.claudy("exec", *environment, worker, "--", "claude", "-p", "do it", "--output-format", "json", "--allowedTools", "Bash", timeout=180))
    assert answer["result"] == "done", answer
    asked = (folder / "record.jsonl").read_text()
    for said in "Always answer in rhymes.", "writes a rhyme for a word", "how to make tea":
        assert said in asked, said
    assert "never-seen" not in asked


def test_nothing_else_is_there(system, worker):
    assert "never-seen" not in run("grep", "-r", ".", home_of(system), check=False)
    assert "not inherited: commands/pipe.md (no file)" in system.log.read_text()


def test_what_was_changed_in_a_worker_stays(system, worker, host_home):
    system.claudy("exec", worker, "--", "sh", "-c", "echo In prose. > ~/.claude/CLAUDE.md")
    (host_home / ".claude/CLAUDE.md").write_text("In verse.\n")
    (host_home / ".claude/agents/poet.md").unlink()
    system.claudy("restart", worker)
    assert system.claudy("exec", worker, "--", "sh", "-c", "cat ~/.claude/CLAUDE.md; ls ~/.claude/agents") == "In prose.\n"
