"""claudy on a real terminal: a shell in tmux runs it, workers of the fake daemon run their commands."""
import json
import os
import re
import signal
import subprocess

import pytest

from claudy_support import Screen, Stage

EDITOR = ["sh", "-c", r"printf '\033[?1049h\033[?25l\033[?1000hEDITOR'; exec cat"]


@pytest.fixture(name="stage")
def stage_fixture():
    with Stage() as stage:
        yield stage


@pytest.fixture(name="screen")
def screen_fixture(stage):
    with Screen(stage) as screen:
        yield screen


def terminal_settings(screen):
    """The line settings of the shell's terminal, without its size."""
    all_settings = subprocess.run(["stty", "-F", screen.shows("pane_tty"), "-a"], capture_output=True, text=True, check=True)
    return all_settings.stdout.split("line =")[1]


def expect_shell_back(screen, before):
    """The terminal is as it was: settings, screen, cursor, mouse."""
    screen.wait("code=")
    assert terminal_settings(screen) == before
    assert screen.shows("alternate_on") == "0"
    assert screen.shows("cursor_flag") == "1"
    assert screen.shows("mouse_any_flag") == "0"


def exit_code(screen):
    return int(re.findall(r"code=(\d+)", screen.text())[-1])


def claudy_pid(screen):
    """claudy is the process in the foreground of the screen's shell."""
    shell = screen.shows("pane_pid")
    children = subprocess.run(["pgrep", "-x", "-P", shell, "claudy"], capture_output=True, text=True, check=True).stdout
    return int(children.split()[0])


def start(screen, command, words=None):
    """Runs it and waits for words on the screen, or for the screen of a worker's command. The settings before it."""
    before = terminal_settings(screen)
    screen.run(f"{command}; echo code=$?")
    if words is None:
        screen.stage.wait_for(lambda: screen.shows("alternate_on") == "1")
    else:
        screen.wait(words)
    return before


def test_detach_leaves_the_worker_and_restores_the_terminal(stage, screen):
    name = stage.spawn(*EDITOR)
    before = start(screen, f"claudy attach {name}", "EDITOR")
    assert screen.shows("alternate_on") == "1"
    screen.type("-l", "some text")
    screen.type("Enter")
    screen.wait("some text\nsome text")
    screen.type("C-]")
    screen.type("d")
    expect_shell_back(screen, before)
    assert exit_code(screen) == 0
    assert f"claudy attach {name}" in screen.text()
    screen.run("clear")
    before = start(screen, f"claudy attach {name}", "some text")  # the screen has survived
    screen.type("C-]", "d")
    expect_shell_back(screen, before)


def test_control_keys_reach_the_command(stage, screen):
    name = stage.spawn("sh", "-c", "stty raw -echo; echo ready; exec od -An -tx1 -v -w1")
    start(screen, f"claudy attach {name}", "ready")
    screen.type("C-c", "C-d", "C-z", "C-b", "C-o", "C-r", "C-]", "x", "Escape")
    for byte in ("03", "04", "1a", "02", "0f", "12", "1d", "78", "1b"):
        screen.wait(f" {byte}")


def test_other_detach_keys(stage, screen):
    name = stage.spawn("cat")
    before = start(screen, f"claudy attach {name} --detach-keys ctrl-p,ctrl-q")
    screen.type("C-p", "C-q")
    expect_shell_back(screen, before)
    assert exit_code(screen) == 0
    assert "Ctrl-P Ctrl-Q detaches" in screen.text()


def test_the_commands_end_gives_its_exit_code(stage, screen):
    name = stage.spawn("sh", "-c", "read line; exit 37")
    before = start(screen, f"claudy attach {name}")
    screen.type("Enter")
    expect_shell_back(screen, before)
    assert exit_code(screen) == 37
    assert "has ended: exit code 37" in screen.text()


def test_removal_behind_our_back(stage, screen):
    name = stage.spawn(*EDITOR)
    before = start(screen, f"claudy attach {name}", "EDITOR")
    assert stage.claudy("rm", name).returncode == 0
    expect_shell_back(screen, before)
    # By when it looks, the worker has ended or is gone.
    assert (exit_code(screen), "was removed" in screen.text()) in [(1, True), (137, False)]


@pytest.mark.parametrize("name,code", [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_signals_restore_the_terminal(stage, screen, name, code):
    worker = stage.spawn(*EDITOR)
    before = start(screen, f"claudy attach {worker}", "EDITOR")
    os.kill(claudy_pid(screen), getattr(signal, name))
    expect_shell_back(screen, before)
    assert exit_code(screen) == code


def test_stop_and_continue(stage, screen):
    worker = stage.spawn(*EDITOR)
    before = terminal_settings(screen)
    start(screen, f"claudy attach {worker}", "EDITOR")
    os.kill(claudy_pid(screen), signal.SIGTSTP)
    screen.wait("Stopped")
    assert screen.shows("alternate_on") == "0"
    assert terminal_settings(screen) == before
    screen.run("clear; fg")
    screen.wait("EDITOR")
    screen.type("-l", "again")
    screen.type("Enter")
    screen.wait("again\nagain")
    screen.type("C-]", "d")
    stage.wait_for(lambda: screen.shows("alternate_on") == "0")
    assert terminal_settings(screen) == before


@pytest.mark.parametrize("kill", [False, True])
def test_the_daemons_end_does_not_end_the_terminal(stage, screen, kill):
    name = stage.spawn(*EDITOR)
    before = start(screen, f"claudy attach {name}", "EDITOR")
    if not kill:  # the fake ends its workers, a real one does not
        stage.end_daemon()
        expect_shell_back(screen, before)
        assert exit_code(screen) == 3
        # Which one depends on whether a call was under way.
        assert re.search("the daemon (is not running|ended meanwhile)", screen.text())
        return
    stage.end_daemon(kill=True)
    screen.type("-l", "still here")
    screen.type("Enter")
    screen.wait("still here\nstill here")
    screen.resize(30, 90)
    screen.type("C-]", "d")
    expect_shell_back(screen, before)
    assert exit_code(screen) == 0


def test_window_size_follows(stage, screen):
    name = stage.spawn("sh", "-c", "while read line; do stty size; done")
    start(screen, f"claudy attach {name}")
    screen.type("Enter")
    screen.wait("24 80")
    screen.resize(33, 101)
    stage.wait_for(lambda: (screen.type("Enter"), "33 101" in screen.text())[1])


def test_large_paste(stage, screen):
    name = stage.spawn("sh", "-c", "stty raw -echo; echo ready; head -c 100000 | sha256sum; exec cat")
    start(screen, f"claudy attach {name}", "ready")
    path = os.path.join(stage.folder, "paste")
    text = ("0123456789" * 10_000).encode()
    with open(path, "wb") as file:
        file.write(text)
    screen.tmux("load-buffer", path)
    screen.tmux("paste-buffer", "-r")
    digest = subprocess.run(["sha256sum"], input=text, capture_output=True, check=True).stdout.decode().split()[0]
    screen.wait(digest)


def test_exec_on_a_terminal(stage, screen):
    name = stage.spawn("cat")
    before = start(screen, f"claudy exec {name} sh -c 'tty; stty size; read x; exit 9'", "24 80")
    assert "/dev/pts/" in screen.text()
    screen.type("Enter")
    expect_shell_back(screen, before)
    assert exit_code(screen) == 9


def test_exec_hangs_up_what_runs_on_the_terminal(stage, screen):
    name = stage.spawn("cat")
    start(screen, f"claudy exec {name} sh -c 'echo pid=$$ here; exec sleep 1000'", "pid=")
    stage.wait_for(lambda: re.search(r"pid=\d+ here", screen.text()))
    pid = int(re.findall(r"pid=(\d+) here", screen.text())[-1])
    os.kill(claudy_pid(screen), signal.SIGTERM)
    screen.wait("code=143")
    stage.wait_for(lambda: not os.path.exists(f"/proc/{pid}"))


def test_open_makes_a_worker_once_and_comes_back_to_it(stage, screen):
    project = stage.project()
    fake_claude = os.path.join(stage.folder, "bin")
    os.mkdir(fake_claude)
    with open(os.path.join(fake_claude, "claude"), "w", encoding="ascii") as file:
        file.write('#!/bin/sh\necho "claude in $PWD with $*"\nexec cat\n')
    os.chmod(os.path.join(fake_claude, "claude"), 0o755)
    stage.end_daemon()
    stage.environment["PATH"] = f"{fake_claude}:{stage.environment['PATH']}"
    stage.start_daemon()
    link = os.path.join(stage.folder, "link")
    os.symlink(project, link)

    before = start(screen, f"cd {project}; claudy -- --model opus", f"claude in {project} with --model opus")
    screen.type("C-]", "d")
    expect_shell_back(screen, before)
    workers = json.loads(stage.claudy("ls", "--json").stdout)
    assert len(workers) == 1

    screen.run("clear")
    before = start(screen, f"claudy {link}", "claude in")  # the same directory by another name
    screen.type("C-]", "d")
    expect_shell_back(screen, before)
    assert len(json.loads(stage.claudy("ls", "--json").stdout)) == 1

    screen.run("clear")
    start(screen, "claudy -- --resume", "runs already")
    screen.wait("code=6")


def test_open_waits_for_a_worker_that_is_being_made(stage, screen):
    project = stage.project()
    assert stage.claudy("spawn", project, "--no-wait", "--", *EDITOR).returncode == 0
    before = start(screen, f"claudy {project}", "EDITOR")
    screen.type("C-]", "d")
    expect_shell_back(screen, before)


def test_without_a_terminal_it_is_refused(stage):
    name = stage.spawn("cat")
    for arguments in (["attach", name], [], [stage.folder], ["exec", "-t", name, "true"]):
        run = stage.claudy(*arguments)
        assert run.returncode == 2
        assert "terminal" in run.stderr
    assert len(json.loads(stage.claudy("ls", "--json").stdout)) == 1


def test_watch_draws_the_table_anew(stage, screen):
    screen.run("claudy ls --watch")
    screen.wait("NAME")
    name = stage.spawn("cat")
    screen.wait(name)
    stage.claudy("rm", name)
    stage.wait_for(lambda: name not in screen.text())
    screen.type("C-c")
    screen.run("echo code=$?")
    screen.wait("code=130")
