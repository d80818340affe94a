"Jobs: the same answers wherever they run, after a killed worker, and after a killed run."

import json
import os
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from pg import new_database
from sqlalchemy import event

from perps_kit.backtest.jobs import JobsFailed, cluster, cores, forget, kept, packed, resolved, run_jobs, unpacked
from perps_kit.backtest.ledger import Ledger

SQUARED = [dict(n=n) for n in range(12)]


def right(n: int) -> float: return (n + 0.1) ** 2 / 3


@pytest.fixture(scope="module")
def two():
    "Two local workers, shared by the tests that do not kill them."
    with cluster(2) as client: yield client


def test_answers_come_in_the_order_of_the_jobs_whatever_ends_first(two):
    jobs = [dict(n=n, wait=0.02 * (7 - n)) for n in range(8)]
    ended = []

    def over(ending, total):
        for one in ending:
            ended.append(json.loads(one.result)["n"])
            yield one
    found = run_jobs("job_work:squared", jobs, dict(add=0.1), client=two, over=over)
    assert [x["n"] for x in found] == list(range(8)) and [x["y"] for x in found] == [right(n) for n in range(8)]
    assert sorted(ended) == list(range(8))
    assert found == run_jobs("job_work:squared", jobs, dict(add=0.1), workers=1)


def test_the_work_is_done_elsewhere_by_both(two):
    found = run_jobs("job_work:squared", [dict(n=n, wait=0.05) for n in range(8)], dict(add=0, pid=True), client=two)
    assert len({x["pid"] for x in found}) == 2 and os.getpid() not in {x["pid"] for x in found}


def test_a_cluster_listens_on_this_machine_alone(two):
    me = psutil.Process()
    sockets = [c for p in (me, *me.children(recursive=True)) for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert sockets and {c.laddr.ip for c in sockets} == {"127.0.0.1"}


def test_a_cluster_by_its_address(two):
    address = two.scheduler.address
    assert run_jobs("job_work:squared", SQUARED[:3], dict(add=0.1), scheduler=address)[2]["y"] == right(2)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense"])
def test_a_scheduler_that_does_not_answer_is_told(address, monkeypatch):
    monkeypatch.setattr("perps_kit.backtest.jobs.WITHIN", "1s")
    with pytest.raises(ValueError, match="no dask scheduler answers"): run_jobs("job_work:squared", SQUARED, scheduler=address)


@pytest.mark.parametrize("here", [True, False])
def test_one_job_that_fails_takes_no_other_with_it(here, two, tmp_path):
    store = Ledger(tmp_path / "x.db")
    with pytest.raises(JobsFailed) as end:
        run_jobs("job_work:picky", [1, 2, 3, 4], run="r", store=store, **(dict(workers=1) if here else dict(client=two)))
    assert end.value.results == [1.0, 0.5, None, 0.25] and list(end.value.failures) == [2]
    assert "job 2: ValueError: three is not wanted" in str(end.value) and len(kept(store, "r")) == 3
    with pytest.raises(JobsFailed): run_jobs("job_work:picky", [0, 3], workers=1)


def test_a_killed_worker_costs_its_job_only_and_a_deadly_job_only_itself(tmp_path):
    jobs = [dict(n=n, kills=1 if n == 2 else 0) for n in range(6)]
    assert run_jobs("job_work:deadly", jobs, dict(folder=str(tmp_path)), workers=2) == list(range(6))
    assert len(list(tmp_path.iterdir())) == 1
    jobs = [dict(n=n, kills=99 if n == 11 else 0) for n in range(10, 16)]
    with pytest.raises(JobsFailed, match="job 1: 2 workers died of it") as end:
        run_jobs("job_work:deadly", jobs, dict(folder=str(tmp_path)), workers=2, retries=1)
    assert end.value.results == [10, None, 12, 13, 14, 15]


RUN = """if __name__ == "__main__":
    import json, sys
    sys.path.insert(0, "tests")
    from perps_kit.backtest.jobs import run_jobs
    from perps_kit.backtest.ledger import Ledger
    jobs = [dict(n=n, wait=0.06) for n in range(30)]
    found = run_jobs("job_work:squared", jobs, dict(add=0.1, log=sys.argv[2]), run="night", workers=2, store=Ledger(sys.argv[1]))
    print(json.dumps(found))
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_run_that_was_killed_goes_on_where_it_was(kind, tmp_path):
    url, log = f"sqlite:///{tmp_path}/x.db" if kind == "sqlite" else new_database(), tmp_path / "log"
    (tmp_path / "night.py").write_text(RUN)
    command = [sys.executable, str(tmp_path / "night.py"), url, str(log)]
    environ = os.environ | dict(PYTHONPATH=os.pathsep.join([os.getcwd(), os.path.join(os.getcwd(), "tests")]))
    first = subprocess.Popen(command, stdout=subprocess.PIPE, env=environ)
    children = []
    for _ in range(600):
        time.sleep(0.02)
        if len(kept(Ledger(url), "night")) >= 6: break
    children = psutil.Process(first.pid).children(recursive=True)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not psutil.wait_procs(children, timeout=20)[1]         # its workers end with it
    known = {json.loads(text)["n"] for text in kept(Ledger(url), "night").values()}
    before = log.read_text().split()
    assert 6 <= len(known) < 30
    again = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60)
    assert again.returncode == 0, again.stderr
    found, after = json.loads(again.stdout), log.read_text().split()[len(before):]
    assert sorted(map(int, after)) == sorted(set(range(30)) - known)            # only what was missing
    assert [x["y"] for x in found] == [right(n) for n in range(30)]


def test_another_run_or_job_is_computed_anew(tmp_path):
    store, log = Ledger(tmp_path / "x.db"), tmp_path / "log"
    shared, count = dict(add=0.1, log=str(log)), lambda: len(log.read_text().split())
    first = run_jobs("job_work:squared", SQUARED, shared, run="a", workers=1, store=store)
    assert run_jobs("job_work:squared", SQUARED[::-1], shared, run="a", workers=1, store=store) == first[::-1] and count() == 12
    run_jobs("job_work:squared", SQUARED, shared, run="b", workers=1, store=store)
    assert count() == 24
    run_jobs("job_work:squared", [*SQUARED, dict(n=99), dict(n=99)], shared, run="a", workers=1, store=store)
    assert count() == 25
    forget(store, "a")
    assert not kept(store, "a") and len(kept(store, "b")) == 12
    run_jobs("job_work:squared", SQUARED, shared, run="a", workers=1, store=Ledger("off"))
    assert count() == 37


def test_a_full_disk_costs_the_memory_and_not_the_answers(tmp_path):
    store = Ledger(tmp_path / "x.db")

    @event.listens_for(store.engine, "connect")
    def small(connection, _): connection.execute("PRAGMA max_page_count=8")
    jobs = [dict(n=n, note="x" * 50) for n in range(300)]
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        found = run_jobs("job_work:squared", jobs, dict(add=0.1), run="a", workers=1, store=store)
    assert [x["y"] for x in found] == [right(n) for n in range(300)]
    assert len(heard) == 1 and "no longer kept" in str(heard[0].message) and 0 < len(kept(store, "a")) < 300


def test_wrong_calls_are_told_at_once():
    for name in ("no_such_module:f", "math:no_such_thing", "math", ":x", ""):
        with pytest.raises(ValueError, match="module:name"): resolved(name)
    with pytest.raises(ValueError, match="at least one"): run_jobs("math:dist", [[1]], workers=0)
    with pytest.raises(ValueError, match="kept as JSON"): run_jobs("math:dist", [object()], workers=1)
    with pytest.raises(JobsFailed, match="no JSON"): run_jobs("builtins:complex", [1], 2, workers=1)
    assert run_jobs("math:dist", []) == [] and 1 <= cores() <= (os.cpu_count() or 1)


@given(stn.arrays(st.sampled_from([np.float64, np.int64, np.bool_, np.dtype("<i4")]), stn.array_shapes(min_dims=1, max_dims=3, min_side=0)))
def test_arrays_travel_bit_for_bit(x):
    back = unpacked(json.loads(json.dumps(packed(x))))
    assert back.dtype == x.dtype and back.shape == x.shape and back.tobytes() == x.tobytes()
    if back.size: back.flat[0] = back.flat[0]       # may be written to
