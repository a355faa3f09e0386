"""
A table with missing entries
============================

178 wines, thirteen measurements of each, and the cultivar of the grape. We hide a fifth of the
measurements, as a laboratory that skips tests would, fit a Gaussian to what is left, and ask for
all that a table can be asked: imputations with honest intervals, the class of a wine that was
hardly measured, and which wines are strange.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_wine

import likeness as lk

whole = load_wine(as_frame=True).data
cultivar = pd.Series(load_wine().target_names[load_wine().target], name="cultivar")
whole.columns = [name.split("/")[0] for name in whole.columns]

rng = np.random.default_rng(0)
hidden = rng.random(whole.shape) < 0.2
table = whole.mask(hidden)
table.iloc[:5, :6].round(2)

# %%
# Fitting
# -------
# NaN is a missing entry, everywhere. It is integrated out: no row is dropped, no value is made
# up. With thirteen columns and 178 rows one Gaussian, whose covariance is shrunk a little, is as
# much as the data bear; the demo and ``likeness compare`` show how to let held-out rows decide.
# The measurements are rounded, so log p is the probability of a number's bin: a lower bound here,
# as ``print`` says.

model = lk.fit("gaussian", table, shrinkage=0.1, seed=0, progress=False)
print("per wine:", model.log_prob(table).mean())

# %%
# Imputation
# ----------
# ``complete`` draws what is missing *given what was observed in the same row*. Observed entries
# come back as they were. Many draws of each row are multiple imputation: their spread is what is
# not known.

draws = model.complete(table, n=200, seed=0)
low, median, high = draws.quantiles(0.05, 0.5, 0.95).numpy()

truth = whole.to_numpy()
covered = ((low <= truth) & (truth <= high))[hidden].mean()
scale = truth.std(0)
by_model = np.sqrt((((median - truth) / scale)[hidden] ** 2).mean())
by_means = np.sqrt(((np.nanmean(table.to_numpy(), 0) - truth) / scale)[hidden].var())
print(f"90 % intervals hold {covered:.0%} of the hidden values")
print(f"error, in standard deviations: {by_model:.2f} by the model, {by_means:.2f} by column means")
assert 0.8 < covered < 0.97
assert by_model < 0.85 * by_means

# %%
# Each hidden value beside its interval, for two measurements that others tell well:

figure, plots = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for plot, name in zip(plots, ("flavanoids", "alcohol"), strict=True):
    column = list(whole).index(name)
    rows = np.flatnonzero(hidden[:, column])
    rows = rows[np.argsort(truth[rows, column])]
    place = np.arange(len(rows))
    plot.vlines(place, low[rows, column], high[rows, column], color="tab:blue", alpha=0.4, lw=3)
    plot.plot(place, median[rows, column], "_", color="tab:blue", ms=6, label="imputed, 5 to 95 %")
    plot.plot(place, truth[rows, column], ".", color="black", ms=5, label="hidden value")
    plot.set(title=name, xlabel="wines whose value was hidden, in order", xticks=[])
plots[0].legend(frameon=False, loc="upper left")
plt.show()

# %%
# Downstream analyses take the imputed tables one by one, and pool their results:

first = draws.to_pandas().iloc[: len(table)]
print("alcohol of the first imputed table:", first["alcohol"].mean().round(3))
means = draws.x[:, :, list(whole).index("alcohol")].mean(1)
print(f"over 200 tables: {means.mean():.3f} ± {means.std():.3f} by imputation")

# %%
# Classes
# -------
# A model *given* the cultivar classifies by Bayes' rule. What was not measured is integrated out,
# so that a wine with two measurements gets an answer, too: a less certain one.

train, test = np.arange(len(table)) % 3 > 0, np.arange(len(table)) % 3 == 0
judge = lk.fit(
    "discriminant", table[train], given=cultivar[train].to_numpy(), shrinkage=0.1, progress=False
)
posterior = judge.classify(table[test])
best = np.array(posterior.labels)[posterior.best]
accuracy = (best == cultivar[test]).mean()
print(f"{accuracy:.0%} right, with a fifth of all measurements missing ({posterior.kind})")
assert accuracy > 0.9

few = table[test].copy()
few[[name for name in few if name not in ("alcohol", "color_intensity")]] = np.nan
unsure = judge.classify(few)
right = (np.array(unsure.labels)[unsure.best] == cultivar[test]).mean()
sure = posterior.probabilities.max(1).values.mean()
less = unsure.probabilities.max(1).values.mean()
print(f"{right:.0%} right by alcohol and colour alone")
print(f"mean probability of the best class: {sure:.2f}, and {less:.2f} by those two alone")
assert less < sure

# %%
# Strange wines
# -------------
# A p-value is the share of held-out wines that are at least as strange: the model kept their
# scores when it was fitted. A wine whose flavanoids and phenols do not go together is strange,
# although each of the two numbers is an ordinary one.

odd = whole.iloc[[0, 1, 2]].copy()
odd.loc[odd.index[2], "flavanoids"] = whole["flavanoids"].quantile(0.02)
odd.loc[odd.index[2], "total_phenols"] = whole["total_phenols"].quantile(0.98)
print("p-values:", model.p_value(odd).numpy().round(2))
print("by entry:", model.anomaly_map(odd)[2].numpy().round(1))
worst = model.anomaly_map(odd)[2].argsort(descending=True)[:2]
print("strangest entries of the third wine:", [list(whole)[i] for i in worst])
assert model.p_value(odd)[2] == model.p_value(odd).min()
