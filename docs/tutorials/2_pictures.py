"""
Pictures
========

1,797 handwritten digits of 8 x 8 pixels and 17 grey levels. One net that tells each pixel from
those before it draws digits of any class, finishes half a digit, recognises digits by Bayes'
rule, and notices what is none. Its probabilities are exact, so they can be ranked, and counted in
bits.
"""

import matplotlib.pyplot as plt
import torch

import likeness as lk

digits = lk.load("digits", given="label", test=0.2, seed=0)
print(digits)

# %%
# Fitting
# -------
# ``given="label"`` makes it p(picture | digit). The baseline is one distribution for each pixel
# and digit, independent of all other pixels: what the net gains over it, it gains by modelling
# how pixels depend on each other.

baseline = lk.fit("independent", digits, progress=False)
model = lk.fit(
    "autoregressive",
    digits,
    hidden=(128,),
    components=5,
    batch=128,
    lr=1e-2,
    ema=0.99,
    budget="400 steps",
    seed=0,
    progress=False,
)
for name, one in (("independent pixels", baseline), ("autoregressive net", model)):
    log_prob = one.log_prob(digits.test)
    bits = log_prob.bits_per_dim.mean()
    print(f"{name}: {bits:.2f} bits a pixel ({log_prob.kind}), {one.count():,} parameters")
assert model.log_prob(digits.test).mean().value > baseline.log_prob(digits.test).mean().value + 10

# %%
# Drawing
# -------
# Real digits in the upper rows, drawn ones in the lower, a column for each class:

labels = [str(k) for k in range(10)]
drawn = model.sample(3, given=labels, seed=0).x[:, :, 0]
test = digits.test.rows(torch.arange(len(digits.test)))
of_class = [torch.nonzero(test.given.x[:, 0] == k)[:3, 0] for k in range(10)]

figure, plots = plt.subplots(6, 10, figsize=(8, 5), layout="constrained")
for k in range(10):
    real = test.x[of_class[k], 0]
    for row, picture in enumerate([*real, *drawn[:, k]]):
        plots[row, k].imshow(picture, cmap="gray_r", vmin=0, vmax=16)
        plots[row, k].set(xticks=[], yticks=[])
plots[1, 0].set_ylabel("real", fontsize=11)
plots[4, 0].set_ylabel("drawn", fontsize=11)
plt.show()

# %%
# Finishing half a picture
# ------------------------
# The lower half is hidden. The net's order is that of reading, so what it draws there given the
# upper half is exact; for other gaps it would take weighted particles, and report how many of
# them count.

rows = torch.stack([of_class[k][0] for k in (0, 3, 5, 7, 8)])
some = test.x[rows]
observed = torch.ones_like(some, dtype=torch.bool)
observed[:, :, 4:] = False
halves = lk.Batch(some, observed=observed, given=test.given[rows])
finished = model.complete(halves, n=4, seed=0)
print(finished.how, "-", finished.kind)

figure, plots = plt.subplots(5, 6, figsize=(5.5, 5), layout="constrained")
for row in range(5):
    shown = [some[row, 0], some[row, 0].masked_fill(~observed[row, 0], 0), *finished.x[:, row, 0]]
    for column, picture in enumerate(shown):
        plots[row, column].imshow(picture, cmap="gray_r", vmin=0, vmax=16)
        plots[row, column].set(xticks=[], yticks=[])
for column, title in enumerate(("real", "upper half", "finished", "again", "again", "again")):
    plots[0, column].set_title(title, fontsize=9)
plt.show()

# %%
# Recognising
# -----------
# p(digit | picture) by Bayes' rule, from ten values of log p. No classifier was trained.

posterior = model.classify(test)
right = (posterior.best == test.given.x[:, 0].long()).float().mean()
print(f"{right:.1%} of the test digits recognised ({posterior.kind})")
assert right > 0.85

# %%
# Noticing what is no digit
# -------------------------
# p-values are calibrated on held-out digits: of ordinary ones 5 % fall below 0.05. Inverted ones
# nearly all do, and so do those whose pixels are shuffled.

mix = torch.randperm(64, generator=torch.Generator().manual_seed(0))
kinds = {
    "test digits": test.x,
    "shuffled pixels": test.x.flatten(1)[:, mix].reshape(test.x.shape),
    "black for white": 16 - test.x,
}
for name, pictures in kinds.items():
    low = (model.p_value(lk.Batch(pictures, given=test.given)) < 0.05).float().mean()
    print(f"{name}: {low:.0%} have a p-value below 0.05")
