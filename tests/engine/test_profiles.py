"""The images of profiles: a whole turn of Claude Code in each, with the tools of its language; only the model is played."""

import json
import os
import uuid

import pytest
from conftest import run
from system import fresh_system, played_model

# How the program is built and run, a look at the other tools of the profile, and what must come of it.
PROFILES = {
    "python": ("hello.c", "gcc hello.c -o hello -lm && ./hello", "python3 -m venv .venv && .venv/bin/python -c 'import ssl, sqlite3; print(6 * 7)'", "42"),
    "node": ("hello.c", "g++ -x c++ hello.c -o hello -lm && ./hello", "npm --version && node -e 'console.log(6 * 7)'", "42"),
    "java": ("Hello.java", "javac Hello.java && java Hello", "mvn --version", "Apache Maven"),
}
HELLO = {
    "hello.c": '#include <math.h>\n#include <stdio.h>\nint main(int n, char **v) { printf("%s %.0f\\n", "GREETING", pow(n, 2) + 41); return v == 0; }\n',
    "Hello.java": 'public class Hello { public static void main(String[] a) { System.out.println("GREETING " + (a.length + 42)); } }\n',
}


@pytest.fixture(scope="module")
def system(engine_host, build_images):
    for profile in PROFILES:
        build_images("--only", f"worker-{profile}")
    with fresh_system(engine_host) as system:
        system.start()
        system.until_parent_runs()
        yield system


@pytest.fixture
def project(tmp_path):
    os.chmod(tmp_path, 0o755)
    for name, text in HELLO.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("profile", PROFILES)
def test_a_turn_edits_a_file_and_runs_git_and_a_compiler(system, project, tmp_path_factory, profile):
    greeting = f"hello-{uuid.uuid4().hex[:8]}"
    source, compilation, tools, expected = PROFILES[profile]
    git = "git init -q . && git add . && git -c user.name=a -c user.email=b commit -qm first && git log --format=%s"
    steps = [
        {"tool": "Read", "input": {"file_path": f"/workspace/{source}"}},
        {"tool": "Edit", "input": {"file_path": f"/workspace/{source}", "old_string": "GREETING", "new_string": greeting}},
        {"tool": "Bash", "input": {"command": compilation}},
        {"tool": "Bash", "input": {"command": tools}, "expect": f"{greeting} 42"},
        {"tool": "Bash", "input": {"command": git}, "expect": expected},
        {"text": "done", "expect": "first"},
    ]
    name = f"turn-{profile}"
    system.claudy("spawn", project, "--name", name, "--profile", profile, "--", "sleep", "infinity")
    try:
        with played_model(system, steps, tmp_path_factory.mktemp("model")) as environment:
            answer = system.claudy(
                "exec", *environment, name, "--", "claude", "-p", "do it", "--output-format", "json",
                "--allowedTools", "Read,Edit,Bash", timeout=180,
            )  # fmt: skip
        assert json.loads(answer)["result"] == "done", answer
        assert greeting in (project / source).read_text()
        assert run("git", "-c", "safe.directory=*", "-C", project, "log", "--format=%s").strip() == "first"
    finally:
        system.claudy("rm", name)


@pytest.mark.parametrize("profile", PROFILES)
def test_no_program_lacks_a_library(engine, profile):
    check = """find /usr -type f -perm -1 -size -100000k | xargs ldd 2>/dev/null | grep 'not found' | grep -v libjvm || echo complete"""
    assert engine.docker("run", "--rm", "--network=none", "--entrypoint=/bin/bash", f"hal9000/worker-{profile}", "-c", check) == "complete\n"


def test_java_trusts_whom_the_others_trust(engine):
    script = "grep -c BEGIN /etc/ssl/certs/ca-certificates.crt; keytool -list -cacerts -storepass changeit 2>/dev/null | grep -c trustedCertEntry"
    counts = engine.docker("run", "--rm", "--network=none", "--entrypoint=/bin/bash", "hal9000/worker-java", "-c", script).split()
    assert counts[0] == counts[1] and int(counts[0]) > 100
