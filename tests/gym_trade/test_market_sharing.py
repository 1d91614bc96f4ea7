"""Pickled markets: another process maps the same memory, which goes when its maker does."""

from __future__ import annotations

import gc
import multiprocessing
import operator
import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from gym_trade import Market, SequentialConfig, VectorTradeEnv, parse_time_frame
from tests import markets, slow_market
from tests.extended_market import FRAMES, SIZES, TABLE_ARRAYS, WINDOWS, extended, tables_of


def shared_path(market):
    """Where a pickled market's memory lies."""
    return market.__reduce__()[1][0].path


def python(program, data=b"", **arguments):
    """Run a program in a process of its own, which gets `data` on its standard input."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        input=data, capture_output=True, timeout=60, check=True, **arguments,
    ).stdout  # fmt: skip


CHILD = f"""
import pickle, sys, os
market = pickle.load(sys.stdin.buffer)
def build(*arguments):
    raise AssertionError("the tables came with the market")
import gym_trade.market
gym_trade.market.build_tables = build
from gym_trade import VectorTradeEnv, parse_time_frame
frames = tuple(parse_time_frame(name) for name in {FRAMES})
tables = market.tables(frames, {SIZES}, parse_time_frame("5min"))
arrays = dict(open_ns=market.open_ns, bars=market.bars, volume=market.volume, **market.extras)
arrays |= {{name: getattr(tables, name) for name in {TABLE_ARRAYS}}}
writeable = [name for name, array in arrays.items() if array.flags.writeable]
mapped = sorted(line.split()[-1] for line in open("/proc/self/maps") if "gym_trade-" in line)
env = VectorTradeEnv(df=market, num_envs=3, time_frames={FRAMES}, window_sizes={SIZES})
observation, _ = env.reset(seed=5)
steps = [env.step([2, 1, 0])[:2] for _ in range(4)]
result = dict(arrays=arrays, writeable=writeable, mapped=mapped, steps=steps,
              first=tables.first_decision, widths=tables.widths, hash=market.content_hash,
              again=pickle.loads(pickle.dumps(market)) is market,
              facts=(market.stamp, market.has_volume, market.interval_ns, market.offset_ns),
              pid=os.getpid())
sys.stdout.buffer.write(pickle.dumps(result))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs Linux's /proc")
def test_another_process_maps_the_same_memory():
    frame = extended().set_axis(extended().index + pd.Timedelta("1min"))
    market = Market(frame, stamp="close", offset="5min")
    tables = tables_of(market)
    result = pickle.loads(python(CHILD, pickle.dumps(market)))
    assert result["pid"] != os.getpid()
    assert result["mapped"] and set(result["mapped"]) == {shared_path(market)}
    assert result["writeable"] == []
    expected = {"open_ns": market.open_ns, "bars": market.bars, "volume": market.volume}
    expected |= market.extras | {name: getattr(tables, name) for name in TABLE_ARRAYS}
    assert result["arrays"].keys() == expected.keys()
    for name, array in expected.items():
        assert result["arrays"][name].dtype == array.dtype
        np.testing.assert_array_equal(result["arrays"][name], array, err_msg=name)
    assert (result["first"], result["widths"]) == (tables.first_decision, tables.widths)
    assert result["hash"] == market.content_hash
    assert result["again"]
    assert result["facts"] == ("close", True, market.interval_ns, market.offset_ns)
    env = VectorTradeEnv(df=market, num_envs=3, **WINDOWS)
    env.reset(seed=5)
    for observation, rewards in result["steps"]:
        here, rewards_here = env.step([2, 1, 0])[:2]
        np.testing.assert_array_equal(rewards, rewards_here)
        for key, value in here.items():
            np.testing.assert_array_equal(observation[key], value)


def test_a_spawned_process_gets_the_market():
    market = Market(extended(seed=3))
    tables_of(market)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(operator.attrgetter("content_hash"), (market,)) == market.content_hash
        bars = pool.apply(operator.attrgetter("bars"), (market,))
        assert pool.apply(os.getpid) != os.getpid()
    np.testing.assert_array_equal(bars, market.bars)


def test_a_pickle_is_small_and_its_memory_is_written_once():
    market = Market(extended(count=5000))
    tables_of(market)
    data = pickle.dumps(market)
    assert len(data) < 4000 < market.bars.nbytes
    path = shared_path(market)
    assert os.path.getsize(path) >= market.bars.nbytes
    pickle.dumps([market, SequentialConfig(df=market)])
    assert shared_path(market) == path
    assert pickle.loads(data) is market
    assert pickle.loads(pickle.dumps(SequentialConfig(df=market))).df is market


def test_tables_made_after_the_first_pickle_are_in_the_next():
    market = Market(extended(count=300))
    pickle.dumps(market)
    tables_of(market)
    result = pickle.loads(python(CHILD, pickle.dumps(market)))
    assert result["first"] == tables_of(market).first_decision


def test_tables_of_a_feature_function_travel_too():
    market = Market(extended(count=300))
    tables = tables_of(market, slow_market.raw_features)
    program = """
import pickle, sys
from tests import slow_market
market = pickle.load(sys.stdin.buffer)
(key, table), = market._tables.items()
assert key[-1] is slow_market.raw_features
sys.stdout.buffer.write(pickle.dumps(table.features))
"""
    root = os.path.dirname(os.path.dirname(slow_market.__file__))
    features = pickle.loads(python(program, pickle.dumps(market), cwd=root))
    np.testing.assert_array_equal(features, tables.features)


MAKER = """
import os, pickle, sys, pandas as pd
from gym_trade import Market
index = pd.date_range("2023-01-02", periods=50, freq="1min")
columns = dict.fromkeys(("open", "high", "low", "close", "volume"), 100.0)
market = Market(pd.DataFrame(columns, index=index))
data = pickle.dumps(market)
path = market.__reduce__()[1][0].path
assert os.path.exists(path)
"""


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "del market"])
def test_the_file_goes_with_its_maker_and_the_error_says_so(end):
    program = f"{MAKER}\nsys.stdout.buffer.write(pickle.dumps((path, data)))\n{end}"
    path, data = pickle.loads(python(program))
    assert not os.path.exists(path)
    with pytest.raises(FileNotFoundError) as caught:
        pickle.loads(data)
    text = str(caught.value)
    assert path in text
    assert "gone with the process that pickled this market" in text
    assert "save Market.to_frame()" in text


def test_the_file_goes_when_its_maker_fails():
    program = MAKER + "\nprint(path)\nraise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    path = done.stdout.decode().strip()
    assert done.returncode != 0
    assert path and not os.path.exists(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_leaves_the_file_alone():
    program = (
        MAKER
        + """
if os.fork() == 0:
    sys.exit(0)  # runs the child's finalisers
os.wait()
print(os.path.exists(path))
"""
    )
    assert python(program).decode().split() == ["True"]


def test_the_file_goes_with_the_market():
    market = Market(extended(seed=7))
    env = VectorTradeEnv(df=market, num_envs=2, **WINDOWS)
    data = pickle.dumps(market)
    path = shared_path(market)
    assert os.path.exists(path)
    del env, market
    gc.collect()
    assert not os.path.exists(path)
    with pytest.raises(FileNotFoundError, match="shared memory"):
        pickle.loads(data)


def test_a_mapped_market_outlives_the_file(tmp_path):
    """Who has mapped it keeps it, also after its maker is gone."""
    program = """
import pickle, sys, os
data = sys.stdin.buffer.readline()
market = pickle.loads(bytes.fromhex(data.decode()))
print("mapped", flush=True)
sys.stdin.buffer.readline()
print(float(market.bars.sum()), market.content_hash, flush=True)
"""
    market = Market(extended(seed=8))
    total, digest, path = float(market.bars.sum()), market.content_hash, shared_path(market)
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child.stdin.write(pickle.dumps(market).hex() + "\n")
    child.stdin.flush()
    assert child.stdout.readline() == "mapped\n"
    del market
    gc.collect()
    assert not os.path.exists(path)
    output, _ = child.communicate("\n", timeout=60)
    assert output.split() == [repr(total), digest]


def test_a_feature_function_that_cannot_be_imported_does_not_keep_a_market_from_a_pickle():
    """Its tables are left out and made anew where the market is opened."""
    market = Market(markets.bars(300))
    frames, local = (parse_time_frame("1min"),), lambda bars: bars[["close"]].pct_change()
    market.tables(frames, (4,), frames[0], None)
    market.tables(frames, (4,), frames[0], local)
    _, (handle, facts) = market.__reduce__()
    assert [key[-1] for key, *_ in facts[-1]] == [None]
    assert pickle.loads(pickle.dumps(market)) is market
    assert {name.split()[0] for name, *_ in handle.entries if " " in name} == {"0"}
