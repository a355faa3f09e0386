"""
A model in five lines
=====================

Two moons, a flow, and what it draws beside what it learned from.
"""

import matplotlib.pyplot as plt

import likeness as lk

moons = lk.load("moons", n=2000)
model = lk.fit("flow", moons, layers=3, hidden=(64,), budget="400 steps", progress=False)
drawn = model.sample(1000, seed=0).x
truth = lk.world("moons")

# %%
# The truth is known here, so the model's mean log p can be held against it on fresh points:

fresh = truth.sample(2000, seed=1)
print("model:", model.log_prob(fresh).mean())
print("truth:", truth.log_prob(fresh).mean())
assert model.log_prob(fresh).mean().value < truth.log_prob(fresh).mean().value + 0.05

# %%
# Drawn points beside those that it learned from:

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), sharex=True, sharey=True)
left.scatter(*fresh.x[:1000].T, s=3, color="0.4")
left.set_title("data")
right.scatter(*drawn.T, s=3, color="tab:blue")
right.set_title("drawn by the model")
plt.show()
