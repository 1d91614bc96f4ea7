"""backtesting.py, asked what our environments are asked: strategies, and a run of one of them."""

from __future__ import annotations

import pandas as pd
from backtesting import Backtest, Strategy

FULL = Strategy._FULL_EQUITY  # their name for all of the equity


class Brackets(Strategy):
    """What the actions of the bracket environment mean, in their words."""

    orders = actions = opens = sizes = fraction = replace = None  # set by Backtest.run

    def init(self):
        """Nothing to prepare: there are no indicators."""

    def next(self):
        """Place what is asked for at this close; the first one asked is that of their bar 1."""
        bar = len(self.data) - 1
        if bar > len(self.actions):
            return
        order = self.orders[self.actions[bar - 1]]
        if order == "close":
            self.position.close()
        if order in ("hold", "close"):
            return
        side, stop, target = order
        if self.position.size * side > 0:
            if self.replace:
                (trade,) = self.trades
                trade.sl = trade.entry_price * (1.0 + side * stop)
                trade.tp = trade.entry_price * (1.0 + side * target)
            return
        self.position.close()
        size = self.sizes[bar - 1] if self.sizes is not None else self.fraction
        price = self.opens[bar + 1]
        bracket = {"sl": price * (1.0 + side * stop), "tp": price * (1.0 + side * target)}
        (self.buy if side > 0 else self.sell)(size=size, **bracket)


class Quantities(Strategy):
    """Market orders of given signed quantities, by bar."""

    quantities = None

    def init(self):
        """Nothing to prepare."""

    def next(self):
        """Place this bar's order."""
        quantity = self.quantities.get(len(self.data) - 2, 0.0)
        if quantity:
            (self.buy if quantity > 0 else self.sell)(size=abs(quantity))


class Switch(Strategy):
    """All in at 1, out at 0, at the next open; the size is theirs."""

    actions = None

    def init(self):
        """Nothing to prepare."""

    def next(self):
        """Buy, sell or leave it."""
        bar = len(self.data) - 1
        if bar > len(self.actions):
            return
        if self.actions[bar - 1] and not self.position:
            self.buy()
        elif not self.actions[bar - 1]:
            self.position.close()


def first_bar(env, frame):
    """The base bar at whose close our first decision is taken."""
    return frame.index.get_loc(env.history()["timestamp"].iloc[0] - pd.Timedelta("1min"))


def theirs(env, frame, strategy, margin_factor=1.0, **parameters):
    """Their run from our first decision on: (equity after every bar, closed trades)."""
    data = frame.iloc[first_bar(env, frame) - 1 :]  # they begin at the second row
    if strategy is Brackets:
        parameters["opens"] = data["open"].to_numpy()
        parameters["replace"] = env.config.replace_brackets
    results = Backtest(
        data.rename(columns=str.capitalize), strategy, cash=env.config.initial_cash,
        commission=env.config.transaction_fee, margin=margin_factor / env.config.leverage,
    ).run(**parameters)  # fmt: skip
    trades = results["_trades"].sort_values(["ExitBar", "EntryBar"]).reset_index(drop=True)
    return results["_equity_curve"]["Equity"].to_numpy()[1:], trades
