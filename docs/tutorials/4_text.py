"""
Text with labels
================

Sentences in three languages, from which a Markov chain for each learns to tell them apart, and to
write; and words with a tag each, which a conditional random field learns to set. A few dozen
sentences suffice for both.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import torch

import likeness as lk

ENGLISH = """the old house stood by the river and nobody had lived there for years
we walked along the shore until the sun went down behind the hills
she opened the window and listened to the rain on the roof
there is a small shop at the corner where they sell bread and milk
my brother works in the city but he comes home every weekend
the children were playing in the garden when the storm began
he wrote a long letter to his friend and then he threw it away
in the morning the fields were white and the road was covered with snow
they say that the winter will be hard and that the spring will come late
nothing is as quiet as a library on a sunday afternoon
what would you do if you had all the time in the world
the train was late again and the people on the platform were tired"""
GERMAN = """das alte haus stand am fluss und niemand hatte dort seit jahren gewohnt
wir gingen am ufer entlang bis die sonne hinter den bergen unterging
sie machte das fenster auf und lauschte dem regen auf dem dach
an der ecke gibt es einen kleinen laden der brot und milch verkauft
mein bruder arbeitet in der stadt aber er kommt jedes wochenende nach hause
die kinder spielten im garten als das gewitter begann
er schrieb seinem freund einen langen brief und warf ihn dann weg
am morgen waren die felder weiss und die strasse war mit schnee bedeckt
man sagt dass der winter hart wird und dass der fruehling spaet kommt
nichts ist so still wie eine bibliothek an einem sonntag nachmittag
was wuerdest du tun wenn du alle zeit der welt haettest
der zug war wieder zu spaet und die leute auf dem bahnsteig waren muede"""
ITALIAN = """la vecchia casa stava vicino al fiume e nessuno ci abitava da anni
camminammo lungo la riva finche il sole tramonto dietro le colline
lei apri la finestra e ascolto la pioggia sul tetto
all angolo c e un piccolo negozio dove vendono pane e latte
mio fratello lavora in citta ma torna a casa ogni fine settimana
i bambini giocavano nel giardino quando comincio il temporale
scrisse una lunga lettera al suo amico e poi la butto via
la mattina i campi erano bianchi e la strada era coperta di neve
dicono che l inverno sara duro e che la primavera verra tardi
niente e silenzioso come una biblioteca la domenica pomeriggio
che cosa faresti se avessi tutto il tempo del mondo
il treno era di nuovo in ritardo e la gente sul binario era stanca"""
TEXTS = {"English": ENGLISH, "German": GERMAN, "Italian": ITALIAN}

lines = [line for text in TEXTS.values() for line in text.splitlines()]
language = np.repeat(list(TEXTS), 12)
test = np.arange(len(lines)) % 4 == 3
train = [line for line, held in zip(lines, test, strict=True) if not held]

# %%
# A chain for each language
# -------------------------
# ``discriminant`` takes any family as the density of each class: here a Markov chain over
# letters, in which each depends on the two before it. Fitting is counting.

model = lk.fit(
    "discriminant",
    train,
    given=language[~test],
    density={"family": "markov", "order": 2, "smoothing": 0.02},
    holdout=0.0,
    progress=False,
)
unseen = [line for line, held in zip(lines, test, strict=True) if held]
posterior = model.classify(unseen)
told = np.array(posterior.labels)[posterior.best]
print(
    f"{(told == language[test]).sum()} of {test.sum()} unseen sentences told right ({posterior.kind})"
)
assert (told == language[test]).mean() > 0.85

# %%
# How soon is a language recognised? p(language | the first letters), letter by letter:

sentence = unseen[4]
starts = [sentence[:k] for k in range(1, 31)]
steps = model.classify(starts).probabilities.numpy()

figure, plot = plt.subplots(figsize=(9, 2.8), layout="constrained")
for k, name in enumerate(posterior.labels):
    plot.plot(range(30), steps[:, k], "o-", ms=3, label=name)
plot.set_xticks(range(30), list(sentence[:30]))
plot.set_ylabel("p(language | letters so far)")
plot.legend(frameon=False)
plt.show()

# %%
# The same model writes. Nine sentences a language are few to learn spelling from, but the
# languages can be told:

for name in posterior.labels:
    drawn = model.sample(1, given=[name], seed=3, settings={"length": 60})
    print(f"{name}:", "".join(drawn.to_pandas().iloc[:, -2]))

# %%
# Tags
# ----
# A word a line, its tag behind it, an empty line between sentences: the format of the CoNLL
# tasks. Many of the names in the test sentences were never seen: the words around them tell what
# they are.

people = [
    "anna",
    "boris",
    "clara",
    "david",
    "elena",
    "fritz",
    "greta",
    "hugo",
    "irene",
    "jonas",
    "karin",
    "luis",
    "mara",
    "nils",
    "olga",
    "paul",
]
places = [
    "bern",
    "oslo",
    "lima",
    "cairo",
    "paris",
    "kyoto",
    "delhi",
    "quito",
    "turin",
    "basel",
    "tunis",
    "izmir",
    "perth",
    "minsk",
    "accra",
    "osaka",
]
frames = [
    "PER lives in LOC",
    "yesterday PER flew from LOC to LOC",
    "the mayor of LOC met PER and PER",
    "in LOC it rains said PER",
    "PER and PER work near LOC",
]


def tagged(sentences: int) -> str:
    """Sentences from the frames, in the format of CoNLL."""
    draw = np.random.default_rng(0)
    names = {"PER": people, "LOC": places}
    items = []
    for frame in draw.choice(frames, sentences):
        words = [(draw.choice(names[w]), w) if w in names else (w, "O") for w in frame.split()]
        items.append("\n".join(f"{word} {tag}" for word, tag in words))
    return "\n\n".join(items) + "\n"


with TemporaryDirectory() as folder:
    path = Path(folder) / "tags.conll"
    path.write_text(tagged(60))
    sentences = lk.load(path, test=0.4)
print(path.name, "-", sentences)
tagger = lk.fit("crf", sentences, holdout=0.0, progress=False)

# %%
# Tags of the test sentences, all hidden, as the most probable sequence; and as probabilities of
# each:

whole = sentences.test.batch
hidden = whole.hide(torch.ones(1, dtype=torch.bool))
best = tagger.mode(hidden).x
right = (best == whole.x)[whole.within]
print(f"{right.double().mean():.1%} of {len(right)} tags right")
assert right.double().mean() > 0.9

tags = sentences.test.space.variables[0].labels
words = sentences.test.given_space.columns[0].labels
likely = tagger.encode(hidden).mean
for k in range(int(whole.length[0])):
    word = words[int(whole.given.x[0, k, 0])]
    print(f"{word:10}", "  ".join(f"{t} {p:.2f}" for t, p in zip(tags, likely[0, k], strict=True)))

# %%
# From the shell, ``likeness tag runs/crf untagged.conll --out tagged.conll`` does the same to a
# file.
