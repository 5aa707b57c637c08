"""The table in docs/IMAGES.md is what docker/table.py makes of the images."""

import re
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "docker"))
import table  # noqa: E402

SIZE = re.compile(r"(\d+\.\d) MB")
# Security updates of Debian's packages change sizes a little.
NOISE = 0.05
MOST = {"worker-ultramin": 40, "worker-minimal": 75, "parent": 150}


@pytest.fixture(scope="module")
def made(engine_host, build_images):
    build_images("--all")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine_host)
        yield table.text()


def test_the_document_says_what_the_images_hold(made):
    written = table.parts_of((ROOT / "docs/IMAGES.md").read_text())[1]
    assert SIZE.sub("SIZE", written) == SIZE.sub("SIZE", made), "run docker/table.py --update docs/IMAGES.md"
    for told, found in zip(SIZE.findall(written), SIZE.findall(made), strict=True):
        assert float(told) == pytest.approx(float(found), rel=NOISE, abs=1), "run docker/table.py --update docs/IMAGES.md"


def test_images_are_as_small_as_they_must_be(made):
    sizes = dict(re.findall(r"^\| `hal9000/([\w-]+)` \| [\d.]+ MB \| ([\d.]+) MB", made, re.M))
    assert set(sizes) == set(table.IMAGES)
    for name, most in MOST.items():
        assert float(sizes[name]) <= most, name
