"""The loop over lanes: steps with autoreset, resets, and what each lane observes.

Every environment is this loop over the kernel's step: the scalar one with a single lane.
"""

from __future__ import annotations

from gym_trade.jit import jit
from gym_trade.kernel import reset_lane, roll_lane, step_lane
from gym_trade.observing import observe
from gym_trade.prefetch import prefetch
from gym_trade.rewards import write_inputs
from gym_trade.types import (
    CUSTOM,
    NEXT_STEP,
    ROLLOUT,
    SAME_STEP,
    Bool,
    Float32,
    Float64,
    Int64,
    Journal,
    MarketArrays,
    Outputs,
    Record,
    Windows,
)

# How many lanes ahead the kernel asks for the memory of a step, and how many lanes behind it copies
# the windows that it has asked for.
FAR_AHEAD, DELAY = 12, 4
FLOATS_A_LINE = 16
BIN_WIDTH, BINS_A_LINE, MOST_BINS = 4, 2, 64


@jit
def reset_lanes(
    mask: Bool,
    observe_all: bool,
    lanes: Record,
    rules: Record,
    market: MarketArrays,
    windows: Windows,
    observations: Float32,
    decisions: Int64,
    journal: Journal,
) -> None:
    """Begin the episode whose number stands in each lane that `mask` (bool (n,)) names.

    Writes those lanes' observations, or every lane's with `observe_all`; see `step_lanes` for the
    other arguments.
    """
    fills, marks = journal
    unrecorded = (fills[:0], marks[:0])
    for i in range(lanes.shape[0]):
        if mask[i]:
            recorded = i == rules[0].recorded_lane
            reset_lane(lanes[i], rules[0], market, journal if recorded else unrecorded)
            decisions[i] = lanes[i].decision
        if mask[i] or observe_all:
            observe(lanes[i], rules[0], windows, observations[i])


@jit
def refused_action(actions: Int64, levels: Float64, count: int) -> int:
    """The first lane whose action is out of range or whose level is NaN; -1 where there is none."""
    refused = False
    for i in range(actions.shape[0]):
        refused |= actions[i] < 0 or actions[i] >= count
    for i in range(levels.shape[0]):
        refused |= levels[i] != levels[i]
    if refused:
        for i in range(actions.shape[0]):
            if actions[i] < 0 or actions[i] >= count:
                return i
        for i in range(levels.shape[0]):
            if levels[i] != levels[i]:
                return i
    return -1


@jit
def look_far_ahead(lane: Record, rules: Record, market: MarketArrays, windows: Windows) -> None:
    """Ask for the bins and the window starts that a lane reads in its next step."""
    _, _, _, bins, _ = market
    starts, _, _ = windows
    decision = lane.decision + 1
    prefetch(bins, decision * BIN_WIDTH)
    if rules.steps_kind == ROLLOUT:
        for step in range(BINS_A_LINE, min(rules.episode_steps, MOST_BINS), BINS_A_LINE):
            prefetch(bins, (decision + step) * BIN_WIDTH)
    if starts.shape[1] > 0:
        prefetch(starts, decision * starts.shape[1])


@jit
def look_ahead(lane: Record, windows: Windows) -> None:
    """Ask for the windows that a lane is about to show."""
    starts, lengths, features = windows
    for frame in range(lengths.shape[0]):
        begin = starts[lane.decision, frame]
        for offset in range(0, lengths[frame] + FLOATS_A_LINE - 1, FLOATS_A_LINE):
            prefetch(features, begin + offset)


@jit
def advance_lane(
    i: int,
    lane: Record,
    rule: Record,
    choices: Record,
    market: MarketArrays,
    actions: Int64,
    levels: Float64,
    out: Outputs,
    journal: Journal,
) -> int:
    """Step lane `i`, or begin its next episode; see `step_lanes`. Returns 1 where it has ended."""
    _, _, _, rewards, terminated, truncated, inputs = out
    if lane.ended != 0 and rule.autoreset == NEXT_STEP:
        lane.episode += 1
        reset_lane(lane, rule, market, journal)
        rewards[i] = 0.0
        terminated[i] = truncated[i] = False
        if rule.reward == CUSTOM:
            write_inputs(lane, lane.equity, False, False, inputs[i, 0])
        return 0
    wanted = inputs[i if rule.reward == CUSTOM else 0]
    if rule.steps_kind == ROLLOUT:
        rewards[i] = roll_lane(lane, rule, choices, market, actions[i], journal, wanted)
        terminated[i], truncated[i] = True, False
        return 1
    action = actions[i] if rule.continuous == 0 else 0
    level = levels[i] if rule.continuous != 0 else 0.0
    terminated[i], truncated[i] = step_lane(
        lane, rule, choices, market, action, level, journal, wanted[0]
    )
    rewards[i] = lane.reward
    return lane.ended


@jit
def step_lanes(
    begin: int,
    end: int,
    lanes: Record,
    rules: Record,
    choices: Record,
    market: MarketArrays,
    windows: Windows,
    actions: Int64,
    levels: Float64,
    out: Outputs,
    journal: Journal,
) -> int:
    """Step the lanes ``begin <= i < end`` with autoreset, writing into the arrays of `out`.

    Where any lane's action is refused, also one of another share, nothing is stepped.

    Args:
        begin: First lane.
        end: Lane after the last.
        lanes: Structured (n,), `types.LANE_DTYPE`.
        rules: Structured (1,), `types.RULES_DTYPE`.
        choices: Structured (actions,), `types.CHOICE_DTYPE`.
        market: (bars, funding, bar_end, bins, ranges): bars and funding as in
            `accounting.advance`; `bar_end[d]` is the index after the last base bar of decision d
            and `bins[d]`, float64 (4,), the open, high, low and close of its base bars; ranges is
            int64 (markets, 2), each market's first decision that an episode may start at and its
            last mark.
        windows: See `observe`.
        actions: int64 (n,), indices of choices; (0,) where actions are continuous.
        levels: float64 (n,), continuous actions; (0,) where they are indices.
        out: (observations, final observations, decisions, rewards, terminated, truncated, inputs);
            final observations are written in SAME_STEP mode only, for ended lanes; inputs, float64
            (n, decision steps, inputs), is written for a custom reward only, else n = 1.
        journal: (fills, marks) of the recorded lane, see `journal`; both empty where none is.

    Returns:
        The number of lanes of this share that have ended with this step; or, where an action is
        refused, -1 less its lane.
    """
    observations, finals, decisions, _, _, _, _ = out
    rule = rules[0]
    refused = refused_action(actions, levels, choices.shape[0])
    if refused >= 0:
        return -1 - refused
    fills, marks = journal
    unrecorded = (fills[:0], marks[:0])
    n_ended = 0
    count = end - begin
    delay = DELAY if windows[1].shape[0] > 0 else 0
    for i in range(begin, end + delay):
        if i < end:
            ahead = i + FAR_AHEAD
            while ahead >= end:  # beyond the last lane come the first ones, for the next call
                ahead -= count
            look_far_ahead(lanes[ahead], rule, market, windows)
            written = journal if i == rule.recorded_lane else unrecorded
            n_ended += advance_lane(
                i, lanes[i], rule, choices, market, actions, levels, out, written
            )
            decisions[i] = lanes[i].decision
            look_ahead(lanes[i], windows)
        shown = i - delay
        if shown >= begin:
            # in SAME_STEP mode the facade reads an ended lane's metrics, then resets it
            final = lanes[shown].ended != 0 and rule.autoreset == SAME_STEP
            observe(lanes[shown], rule, windows, finals[shown] if final else observations[shown])
    return n_ended
