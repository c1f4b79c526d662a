"""A campaign whose worker is killed, then its scheduler; then it goes on, until Ctrl-C.

One campaign, two starts: what each test asks is asked of the same store.
"""

import os
import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from gptq_fuzz.store.known import known
from gptq_fuzz.store.store import Store
from tests.campaign.cluster import Cluster, kill, start

pytestmark = [pytest.mark.slow, pytest.mark.turns(4, whole=True)]
MUSEUM = Path(__file__).parents[2] / "gptq_fuzz" / "museum"
FAULTY = ("all_zero", "zero_not_wrapped")
CORRECT = ("sequential",)
SPECS = [
    *(f"{MUSEUM}/faulty/{name}.py:f" for name in FAULTY),
    *(f"{MUSEUM}/correct/{name}.py:f" for name in CORRECT),
]
# Few values: pairs and triples are soon covered, and seeds are drawn
ONLY = "b8-gall-seq-zall-exact-randn"
PATIENCE = 180.0


def campaign(*words, specs=SPECS):
    kernels = [word for spec in specs for word in ("--kernel", spec)]
    return ["-m", "gptq_fuzz", "campaign", *kernels, "--only", ONLY, *words]


def batches(store):
    return list(store.documents("batch"))


def wait_until(is_so, process):
    """Until it is, or the campaign has ended, which no test wants."""
    ends = time.monotonic() + PATIENCE
    while not is_so() and process.poll() is None and time.monotonic() < ends:
        time.sleep(0.1)
    assert is_so()


def names(store):
    return {path.name for path in Path(store.address).rglob("*.json")}


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """Both deaths, and the start after them."""
    folder = tmp_path_factory.mktemp("campaign")
    store = Store(str(folder / "store"))
    told = SimpleNamespace(store=store)
    with Cluster(folder) as cluster:
        words = campaign("--scheduler", cluster.address, "--store", "store", "--minutes", "3")
        process = start(words, folder)

        def has_begun():
            judged = {one["kernel"]["name"] for one in batches(store)}
            found = {one["kernel"]["name"] for one in store.documents("finding")}
            return judged == set(SPECS) and found >= set(SPECS[: len(FAULTY)])

        wait_until(has_begun, process)
        kill(cluster.workers[0])
        told.at_first_death = names(store)
        count = len(batches(store))
        wait_until(lambda: len(batches(store)) > count + 1, process)
        kill(cluster.scheduler)
        told.at_second_death = names(store)
        told.status = process.wait(PATIENCE)
    told.output = (folder / "log.txt").read_text()
    told.in_store = batches(store)
    told.files = names(store)
    (folder / "log.txt").unlink()
    again = start(campaign("--store", "store", "--minutes", "3", specs=SPECS[1:]), folder)
    findings = len(list(store.documents("finding")))

    def goes_on():
        has_more = [one for one in batches(store) if one["kernel"]["name"] == SPECS[2]]
        before = [one for one in told.in_store if one["kernel"]["name"] == SPECS[2]]
        has_found = len(list(store.documents("finding"))) > findings
        return len(has_more) > len(before) + 1 and has_found

    wait_until(goes_on, again)
    os.killpg(again.pid, signal.SIGINT)  # as a terminal does: to its workers too
    told.again_status = again.wait(PATIENCE)
    told.again = (folder / "log.txt").read_text()
    return told


def test_what_is_wrong_is_found_and_what_is_right_is_not(story):
    found = {one["kernel"]["name"] for one in story.store.documents("finding")}
    assert found == set(SPECS[: len(FAULTY)])
    assert story.status == 1


def test_a_killed_worker_costs_nothing_that_was_judged(story):
    assert story.at_first_death < story.at_second_death
    assert "not judged" not in story.output


def test_without_a_scheduler_all_that_was_counted_is_kept(story):
    assert "the scheduler was lost" in story.output
    assert story.at_second_death <= story.files
    summary = re.findall(r"campaign: (\d+) cases", story.output)[-1]
    assert int(summary) == sum(one["cases"] for one in story.in_store)


def test_another_start_goes_on(story):
    """No seed is drawn twice, no history asked twice; what was found is asked again first."""
    assert story.again_status == 1
    assert story.files < names(story.store)
    drawn = [
        (one["kernel"]["name"], one["task"], seed)
        for one in batches(story.store)
        for seed in one["seeds"]
    ]
    assert len(drawn) == len(set(drawn))
    asked = [
        (one["kernel"]["name"], one["task"])
        for one in batches(story.store)
        if one["task"].startswith("canned")
    ]
    assert len(asked) == len(set(asked))
    again = [one for one in known(story.store.documents()) if one.kernel == SPECS[1]]
    assert any(one.first < one.last for one in again)


def test_ctrl_c_waits_for_what_is_being_judged_and_tells_all(story):
    assert "interrupted; another start goes on" in story.again
    count = sum(one["cases"] for one in batches(story.store))
    before = sum(one["cases"] for one in story.in_store)
    summary = re.findall(r"campaign: (\d+) cases", story.again)[-1]
    assert int(summary) == count - before
    assert "Traceback" not in story.again


def test_each_result_names_its_machine(story):
    for one in story.store.documents():
        assert one["device"]["device"]
        assert one["device"]["torch"]
