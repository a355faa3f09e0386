"""How alike two sets of points are, how calibrated an answer is, how sure a number: pure functions of tensors."""
