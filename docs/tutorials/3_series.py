"""
A time series
=============

Ten years of monthly readings of two stations that share a season and have levels of their own, in
noise, with a gap of a year in one of them. A linear dynamical system fills the gap and looks
three years ahead; a hidden Markov model finds the regimes of another series. Both answer exactly,
at any length and with anything missing.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import likeness as lk

rng = np.random.default_rng(5)
months = np.arange(156)
season = np.sin(2 * np.pi * months / 12)
level = np.zeros((156, 2))
for month in months[1:]:
    level[month] = 0.9 * level[month - 1] + rng.normal(0, 0.4, 2)
whole = np.column_stack([10 + 3 * season, 6 + 2 * np.roll(season, 2)]) + level
whole += rng.normal(0, 0.4, whole.shape)

table = pd.DataFrame(whole[:120].copy(), columns=["north", "south"])
table.loc[48:59, "north"] = np.nan
table.head(3).round(2)

# %%
# Fitting
# -------
# ``series=True`` says that the rows of the table are the steps of one series; a column's name
# would say which series each row belongs to. Four latent numbers leave room for a season (two)
# and for the levels of the two stations.

data = lk.load(table, series=True, test=0.0)
model = lk.fit("linear_dynamical", data, latents=4, passes=100, seed=0, holdout=0.0, progress=False)
print(model.log_prob(data.train).mean())

# %%
# A gap, and what comes next
# --------------------------
# ``complete`` draws what is missing given all months before and after; ``forecast`` draws what
# follows. Quantiles of the draws are intervals. The true values were kept aside:

filled = model.complete(data.train.batch, n=300, seed=0).quantiles(0.05, 0.5, 0.95)[:, 0].numpy()
ahead = model.forecast(data.train.batch, 36, n=300, seed=0).quantiles(0.05, 0.5, 0.95)[:, 0].numpy()

inside = (ahead[0] <= whole[120:]) & (whole[120:] <= ahead[2])
gap = (filled[0] <= whole[:120]) & (whole[:120] <= filled[2])
print(
    f"90 % intervals hold {gap[48:60, 0].mean():.0%} of the gap and {inside.mean():.0%} of the future"
)
assert gap[48:60, 0].mean() > 0.7
assert inside.mean() > 0.7

figure, plots = plt.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained")
for k, (plot, name) in enumerate(zip(plots, table, strict=True)):
    plot.plot(months[:120], table[name], color="black", lw=1, label="seen")
    plot.plot(months[120:], whole[120:, k], ".", color="black", ms=3, label="kept aside")
    plot.fill_between(
        months[120:], ahead[0, :, k], ahead[2, :, k], color="tab:blue", alpha=0.3, lw=0
    )
    plot.plot(months[120:], ahead[1, :, k], color="tab:blue", label="forecast, 5 to 95 %")
    plot.set_ylabel(name)
plots[0].plot(months[48:60], whole[48:60, 0], ".", color="black", ms=3)
plots[0].fill_between(
    months[48:60], filled[0, 48:60, 0], filled[2, 48:60, 0], color="tab:orange", alpha=0.4, lw=0
)
plots[0].plot(months[48:60], filled[1, 48:60, 0], color="tab:orange", label="gap, 5 to 95 %")
plots[0].set_ylim(2, 17)
plots[0].legend(frameon=False, ncols=4, loc="lower left", fontsize=8)
plots[1].set_xlabel("month")
plt.show()

# %%
# What the model found
# --------------------
# The eigenvalues of the latent step are its motions: a pair on the unit circle whose angle is a
# twelfth of a turn is the season.

turns = np.linalg.eigvals(model.step.numpy())
periods = [2 * np.pi / abs(np.angle(v)) for v in turns if abs(v.imag) > 1e-6]
print("periods, in months:", np.round(sorted(set(np.round(periods, 2))), 2))
assert min(abs(p - 12) for p in periods) < 0.5

# %%
# Regimes
# -------
# A machine is at rest, at work, or overheats; its sensor reads a noisy number. A hidden Markov
# model finds three states from the readings alone. ``encode`` answers with the distribution of
# the whole path of states: its ``mean`` is how likely each state is at each step, its ``mode``
# the most probable path.

states = np.zeros(300, dtype=int)
step = np.array([[0.97, 0.03, 0.0], [0.02, 0.95, 0.03], [0.1, 0.0, 0.9]])
for t in range(1, 300):
    states[t] = rng.choice(3, p=step[states[t - 1]])
readings = np.array([0.0, 2.0, 4.5])[states] + rng.normal(0, 0.8, 300)

series = lk.load(pd.DataFrame({"sensor": readings}), series=True, test=0.0)
regimes = lk.fit("hmm", series, states=3, seed=0, holdout=0.0, progress=False)
path = regimes.encode(series.train.batch).mode[0].long().numpy().ravel()
order = np.argsort([readings[path == k].mean() for k in range(3)])
found = np.argsort(order)[path]
print(f"{(found == states).mean():.1%} of the states found right")
assert (found == states).mean() > 0.9

figure, plot = plt.subplots(figsize=(9, 2.6), layout="constrained")
plot.plot(readings, color="0.7", lw=0.8, label="sensor")
plot.step(
    np.arange(300),
    np.array([0.0, 2.0, 4.5])[found],
    color="tab:blue",
    where="mid",
    label="state found",
)
plot.step(
    np.arange(300),
    np.array([0.0, 2.0, 4.5])[states],
    color="black",
    ls=":",
    where="mid",
    label="true state",
)
plot.set_xlabel("step")
plot.legend(frameon=False, ncols=3, loc="upper left", fontsize=8)
plot.set_ylim(-2.5, 8.5)
plt.show()
